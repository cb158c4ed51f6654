"""The losses against plain loops over videos, pairs and cells, written from the equations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ftcl_model.losses.backbone import backbone_losses
from ftcl_model.losses.contrast import Contrast
from ftcl_model.losses.official import OfficialContrast
from ftcl_model.losses.paper import PaperContrast
from ftcl_model.outputs import BACKGROUND, INSTANCE, BackboneOutput
from ftcl_model.settings import BackboneSettings, ContrastSettings

PAIRS, SNIPPETS, WIDTH = 4, 14, 6
FIRST_LENGTHS, SECOND_LENGTHS = (14, 9, 3, 12), (6, 14, 8, 2)
SAME = torch.tensor([True, False, True, False])
SETTINGS = ContrastSettings(
    projection=4, fsd_length=4, lcs_length=7, lcs_threshold=0.6, fsd_weight=0.7, lcs_weight=0.3
)


def scored_videos(seed: int, lengths: tuple[int, ...]) -> BackboneOutput:
    """What the contrasts read of a backbone's output; padding is NaN, which must not be seen."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    n = torch.tensor(lengths)
    mask = torch.arange(SNIPPETS) < n[:, None]
    embedding = rand(len(lengths), SNIPPETS, WIDTH) * (rand(len(lengths), SNIPPETS, WIDTH) < 0.7)
    embedding = embedding.masked_fill(~mask[..., None], torch.nan).requires_grad_()
    attention = rand(len(lengths), SNIPPETS, 3).mul(3).softmax(dim=-1)
    unread = torch.full((len(lengths), 1), torch.nan)
    return BackboneOutput(mask, n, embedding, attention, unread, unread, unread, unread)


def chosen(video: int, output: BackboneOutput, branch: int, first: int, last: int) -> list[Tensor]:
    """Embeddings of the ranks first..last by attention, in the order of time."""
    length = int(output.lengths[video])
    attention = output.attention[video, :length, branch].tolist()
    ranked = sorted(range(length), key=lambda t: -attention[t])[first:last]
    return [output.embedding[video, t] for t in sorted(ranked)]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-12)


def smooth_max(values: list[Tensor], gamma: float) -> Tensor:
    return gamma * torch.logsumexp(torch.stack(values) / gamma, dim=0)


def fsd(
    u: list[Tensor], v: list[Tensor], mu: Callable, g: Callable, h: Callable, gamma: float
) -> Tensor:
    """S[i, j] = mu + smax(S[i-1, j-1], h + S[i-1, j], g + S[i, j-1]), zero on the border."""
    zero = torch.zeros((), dtype=torch.float64)
    table = [[zero] * (len(v) + 1) for _ in range(len(u) + 1)]
    for i in range(1, len(u) + 1):
        for j in range(1, len(v) + 1):
            a, b = u[i - 1], v[j - 1]
            table[i][j] = mu(a, b) + smooth_max(
                [table[i - 1][j - 1], h(a, b) + table[i - 1][j], g(a, b) + table[i][j - 1]], gamma
            )
    return table[len(u)][len(v)]


def lcs(u: list[Tensor], v: list[Tensor], tau: float, gamma: float, width: float = 0.0) -> Tensor:
    """R[i, j] = R[i-1, j-1] + c where c > tau, else the (log-mean-exp) maximum of the others.

    A gate of some width mixes the two in the domain of exponentials.
    """
    zero = torch.zeros((), dtype=torch.float64)
    table = [[zero] * (len(v) + 1) for _ in range(len(u) + 1)]
    for i in range(1, len(u) + 1):
        for j in range(1, len(v) + 1):
            c = cosine(u[i - 1], v[j - 1])
            above, left = table[i - 1][j], table[i][j - 1]
            if width > 0:
                taken = torch.sigmoid((c - tau) / width)
                gaps = (torch.exp(above / gamma) + torch.exp(left / gamma)) / 2
                match = torch.exp((table[i - 1][j - 1] + c) / gamma)
                table[i][j] = gamma * torch.log(taken * match + (1 - taken) * gaps)
            elif c > tau:
                table[i][j] = table[i - 1][j - 1] + c
            elif gamma == 0:
                table[i][j] = above if above >= left else left
            else:
                table[i][j] = smooth_max([above, left], gamma) - gamma * math.log(2)
    return table[len(u)][len(v)]


def paper_by_loops(
    contrast: PaperContrast, first: BackboneOutput, second: BackboneOutput
) -> dict[str, Tensor]:
    settings = contrast.settings

    def activated(f: nn.Linear, activation: Callable) -> Callable:
        return lambda a, b: activation(cosine(f(a), f(b)))

    mu = activated(contrast.f_mu, nn.functional.softplus)
    g = activated(contrast.f_g, nn.functional.logsigmoid)
    h = activated(contrast.f_h, nn.functional.logsigmoid)
    ranking, entropies = [], []
    for pair in range(PAIRS):
        count = settings.fsd_length
        u, background_u = (chosen(pair, first, b, 0, count) for b in (INSTANCE, BACKGROUND))
        v, background_v = (chosen(pair, second, b, 0, count) for b in (INSTANCE, BACKGROUND))
        if SAME[pair]:
            positive = fsd(u, v, mu, g, h, settings.gamma)
            for a, b in ((u, background_v), (background_u, v)):
                x = fsd(a, b, mu, g, h, settings.gamma) - positive
                ranking.append(torch.log(1 + torch.exp(x / settings.eta)))
        a = chosen(pair, first, INSTANCE, 0, settings.lcs_length)
        b = chosen(pair, second, INSTANCE, 0, settings.lcs_length)
        r = lcs(a, b, settings.lcs_threshold, settings.gamma, settings.lcs_gate_width)
        r = r / min(len(a), len(b))
        share = 0.01 + 0.98 * r
        entropies.append(-torch.log(share if SAME[pair] else 1 - share))
    return {
        "fsd": settings.fsd_weight * torch.stack(ranking).sum() / SAME.sum(),
        "lcs": settings.lcs_weight * torch.stack(entropies).mean(),
    }


def official_by_loops(
    contrast: OfficialContrast, first: BackboneOutput, second: BackboneOutput
) -> dict[str, Tensor]:
    settings = contrast.settings
    half = settings.projection // 2

    def potential(part: slice) -> Callable:
        return lambda a, b: cosine(contrast.project(a)[part], contrast.project(b)[part])

    m, g = potential(slice(None, half)), potential(slice(half, None))
    scores: dict[str, dict[bool, list[Tensor]]] = {
        "fsd": {True: [], False: []}, "lcs": {True: [], False: []}
    }  # fmt: skip
    for pair in range(PAIRS):
        same, count = bool(SAME[pair]), settings.fsd_length
        u = chosen(pair, first, INSTANCE, 0, count)
        v = chosen(pair, second, INSTANCE, *((0, count) if same else (count, 2 * count)))
        if v:  # a video of no more than `count` snippets has no background
            scores["fsd"][same].append(fsd(u, v, m, g, g, settings.gamma))
        a = chosen(pair, first, INSTANCE, 0, settings.lcs_length)
        b = chosen(pair, second, INSTANCE, 0, settings.lcs_length)
        scores["lcs"][same].append(lcs(a, b, settings.lcs_threshold, 0.0))
    weights = {"fsd": settings.fsd_weight, "lcs": settings.lcs_weight}
    return {
        name: weights[name] * (sum(by[False]) / len(by[False]) - sum(by[True]) / len(by[True]))
        for name, by in scores.items()
    }


def gradients(losses: dict[str, Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(sum(losses.values()), inputs)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("variant", "by_loops", "gate_width"),
    [
        (PaperContrast, paper_by_loops, 0.0),
        (PaperContrast, paper_by_loops, 0.1),
        (OfficialContrast, official_by_loops, 0.1),
    ],
)
def test_the_contrasts_are_those_of_plain_loops(
    seed: int, variant: type[nn.Module], by_loops: Callable, gate_width: float
) -> None:
    torch.manual_seed(seed)
    contrast = variant(WIDTH, replace(SETTINGS, lcs_gate_width=gate_width)).double()
    first, second = scored_videos(seed, FIRST_LENGTHS), scored_videos(seed + 50, SECOND_LENGTHS)
    losses, expected = contrast.compare(first, second, SAME), by_loops(contrast, first, second)
    assert losses.keys() == expected.keys() == {"fsd", "lcs"}
    for name in losses:
        torch.testing.assert_close(losses[name], expected[name], rtol=1e-9, atol=1e-12)
    inputs = (first.embedding, second.embedding, *contrast.parameters())
    for got, want in zip(gradients(losses, *inputs), gradients(expected, *inputs), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-10)


def test_the_ranking_pulls_actions_together_and_pushes_backgrounds_away() -> None:
    torch.manual_seed(0)
    contrast = PaperContrast(WIDTH, SETTINGS).double()
    first, second = scored_videos(0, FIRST_LENGTHS), scored_videos(1, SECOND_LENGTHS)
    parameters = list(contrast.parameters())
    before = contrast.compare(first, second, SAME)["fsd"]
    with torch.no_grad():
        for parameter, slope in zip(
            parameters, torch.autograd.grad(before, parameters), strict=True
        ):
            parameter -= 0.01 * slope
    assert contrast.compare(first, second, SAME)["fsd"] < before


@pytest.mark.parametrize("variant", [PaperContrast, OfficialContrast])
@pytest.mark.parametrize("same", [True, False])
def test_a_batch_of_one_kind_has_finite_losses(variant: type[nn.Module], same: bool) -> None:
    torch.manual_seed(0)
    contrast = variant(WIDTH, SETTINGS).double()
    first, second = scored_videos(0, FIRST_LENGTHS), scored_videos(1, SECOND_LENGTHS)
    losses = contrast.compare(first, second, torch.full((PAIRS,), same))
    assert all(loss.isfinite() for loss in losses.values())
    if variant is PaperContrast and not same:
        assert losses["fsd"] == 0  # only pairs of one class are ranked


def test_where_nothing_matches_the_paper_lcs_moves_the_embedding_and_the_official_does_not() -> (
    None
):
    first, second = scored_videos(0, FIRST_LENGTHS), scored_videos(1, SECOND_LENGTHS)
    inputs = (first.embedding, second.embedding)

    def slopes(contrast: Contrast) -> float:
        loss = contrast.double().compare(first, second, SAME)["lcs"]
        parts = torch.autograd.grad(loss, inputs)
        return sum(part.nan_to_num().abs().sum().item() for part in parts)

    # All but the threshold, which no cosine passes, is the default.
    hopeless = ContrastSettings(fsd_weight=0.0, lcs_threshold=1.01)
    assert slopes(OfficialContrast(WIDTH, hopeless)) == 0
    assert slopes(PaperContrast(WIDTH, replace(hopeless, lcs_gate_width=0.0))) == 0
    assert slopes(PaperContrast(WIDTH, hopeless)) > 1e-3


def test_an_official_pair_without_a_background_does_not_count() -> None:
    torch.manual_seed(0)
    contrast = OfficialContrast(WIDTH, SETTINGS).double()
    first, second = scored_videos(0, FIRST_LENGTHS), scored_videos(1, SECOND_LENGTHS)
    # The last pair is of different classes, and its second video has two snippets.
    with_it = contrast.compare(first, second, SAME)["fsd"]
    rest = (BackboneOutput(*(part[:3] for part in video)) for video in (first, second))
    torch.testing.assert_close(contrast.compare(*rest, SAME[:3])["fsd"], with_it)


@pytest.mark.parametrize("variant", [PaperContrast, OfficialContrast])
def test_a_weight_of_zero_leaves_a_term_out(variant: type[nn.Module]) -> None:
    settings = ContrastSettings(projection=4, fsd_weight=0.0, lcs_weight=0.5)
    contrast = variant(WIDTH, settings).double()
    first, second = scored_videos(0, FIRST_LENGTHS), scored_videos(1, SECOND_LENGTHS)
    assert contrast.compare(first, second, SAME).keys() == {"lcs"}


def test_the_backbone_losses_are_those_of_plain_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths, classes, width = [5, 3], 2, 4
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    n = torch.tensor(lengths)
    attention, instance_scores = randn(2, 5, 3).softmax(-1), randn(2, 5, classes + 1).softmax(-1)
    log_scores, features = randn(2, 3, classes + 1).log_softmax(-1), 30 * randn(2, 3, width)
    output = BackboneOutput(
        torch.arange(5) < n[:, None], n, randn(2, 5, width), attention, randn(2, 5, classes + 1),
        instance_scores, log_scores, features,
    )  # fmt: skip
    settings = BackboneSettings(
        instance_weight=5.0,
        guide_weight=0.3,
        norm_weight=0.2,
        norm_margin=10.0,
        sparsity_weight=0.1,
    )
    expected = dict.fromkeys(
        ("instance", "context", "background", "guide", "norm", "sparsity"), 0.0
    )
    for video in range(2):
        names = [c for c in range(classes) if labels[video, c] == 1]
        for name, branch, targets in (
            ("instance", 0, names), ("context", 1, [*names, classes]), ("background", 2, [classes])
        ):  # fmt: skip
            for target in targets:
                expected[name] -= log_scores[video, branch, target].item() / len(targets) / 2
        for t in range(lengths[video]):
            action = 1 - instance_scores[video, t, classes].item()
            expected["guide"] += abs(action - attention[video, t, 0].item()) / 2
            # The mean is over the videos and the two branches.
            expected["sparsity"] += sum(attention[video, t, :2].tolist()) / 4
        a, b, c = (features[video, branch].norm().item() for branch in range(3))
        expected["norm"] += (max(10 - a + b, 0) + max(10 - b + c, 0) + c) ** 2 / 2
    weights = {"instance": 5.0, "guide": 0.3, "norm": 0.2, "sparsity": 0.1}
    losses = backbone_losses(output, labels, settings)
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(weights.get(name, 1.0) * value, rel=1e-10)


def test_the_guide_teaches_the_scores_and_not_the_attention() -> None:
    attention = torch.rand(1, 4, 3).softmax(-1).requires_grad_()
    logits = torch.rand(1, 4, 3).requires_grad_()
    output = BackboneOutput(
        torch.ones(1, 4, dtype=torch.bool), torch.tensor([4]), torch.rand(1, 4, 2), attention,
        logits, logits.softmax(-1), torch.rand(1, 3, 3), torch.rand(1, 3, 2),
    )  # fmt: skip
    guide = backbone_losses(output, torch.ones(1, 2), BackboneSettings())["guide"]
    slopes = torch.autograd.grad(guide, (attention, logits), allow_unused=True)
    assert slopes[0] is None
    assert (slopes[1] != 0).any()
