from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

import softdp
from ftcl_model.config.config import config_from_mapping
from ftcl_model.losses.aligned import (
    SnippetTargets,
    aligned_losses,
    expected_alignment,
    snippet_targets,
)
from ftcl_model.model.backbone import Backbone
from ftcl_model.outputs import BackboneOutput, halves
from ftcl_model.settings import AlignedSettings, BackboneSettings
from ftcl_model.training.stages import (
    StageTraining,
    contrast_pairs,
    needed_pairs,
    new_average,
    new_model,
)
from tests.ftcl_model.tiny_folder import CLASSES as NAMES
from tests.ftcl_model.tiny_folder import CONFIG, open_tiny_split, write_tiny_folder

SETTINGS = AlignedSettings()
CLASSES, LENGTHS = 3, torch.tensor([9, 6, 7, 9])


def said(features: Tensor, lengths: Tensor = LENGTHS) -> BackboneOutput:
    """What a small random network says of videos with these features (videos, snippets, 5)."""
    torch.manual_seed(0)
    settings = BackboneSettings(width=8, attention_warmup=0)
    return Backbone(5, CLASSES, settings).eval()(features, lengths)


@pytest.fixture
def output() -> BackboneOutput:
    torch.manual_seed(1)
    return said(torch.randn(4, 9, 5))


def test_the_alignment_is_the_share_of_the_matches_in_a_soft_lcs(output: BackboneOutput) -> None:
    first, second = halves(output)
    expected = expected_alignment(first, second, SETTINGS)
    assert expected.shape == (2, 9, 9)
    for pair, (n, m) in enumerate([(9, 7), (6, 9)]):
        e1, e2 = first.embedding[pair, :n], second.embedding[pair, :m]
        similarity = torch.nn.functional.cosine_similarity(
            (e1 - e1.mean(dim=0))[:, None], (e2 - e2.mean(dim=0))[None], dim=-1
        ).double()
        # As softdp.lcs documents its potentials, written out and recurred in plain torch.
        gate = ((similarity - 0.3) / 0.1).sigmoid()
        match = (similarity + 0.05 * gate.log()).detach().requires_grad_()
        gap = 0.05 * ((1 - gate).log() - torch.tensor(2.0).log()).detach()
        score = softdp.reference.edit_similarity(match, gap, gap, gamma=0.05, leading_gaps="free")
        (alignment,) = torch.autograd.grad(score, match)
        torch.testing.assert_close(
            score, softdp.reference.lcs(similarity, 0.3, gamma=0.05, gate_width=0.1)
        )
        torch.testing.assert_close(expected[pair, :n, :m].double(), alignment, rtol=0, atol=1e-4)
    outside = ~(first.mask[:, :, None] & second.mask[:, None])
    assert (expected[outside] == 0).all()
    assert expected.sum(dim=2).max() < 1 + 1e-5
    assert expected.sum() > 1


def test_a_video_is_aligned_with_its_own_slower_self() -> None:
    # Snippets that differ in every direction: each matches one of its three copies.
    embedding = torch.zeros(2, 18, 6)
    embedding[0, :6] = torch.eye(6)
    embedding[1] = torch.eye(6).repeat_interleave(3, dim=0)
    both = said(torch.randn(2, 18, 5), torch.tensor([6, 18]))._replace(embedding=embedding)
    expected = expected_alignment(*halves(both), SETTINGS)[0, :6]
    on_the_diagonal = torch.arange(18) // 3 == torch.arange(6)[:, None]
    matched = expected.masked_fill(~on_the_diagonal, 0.0).sum(dim=1)
    torch.testing.assert_close(matched, torch.ones(6), rtol=0, atol=0.01)
    assert expected[~on_the_diagonal].sum() < 0.05


def test_targets_come_from_the_other_video_and_name_only_its_classes(
    output: BackboneOutput,
) -> None:
    labels = torch.tensor([[1.0, 1, 0], [0, 0, 1]]).repeat(2, 1)
    targets = snippet_targets(output, labels, replace(SETTINGS, own_share=0.0))
    expected = expected_alignment(*halves(output), SETTINGS)
    attention = 1 - output.attention[..., 2]
    logits = output.class_logits[..., :3].exp()
    for video, other, alignment in ((0, 2, expected[0]), (3, 1, expected[1].T)):
        for snippet in range(int(LENGTHS[video])):
            weights = alignment[snippet]
            torch.testing.assert_close(targets.weight[video, snippet], weights.sum().clamp(max=1))
            if weights.sum() < 1e-4:
                continue
            weights = weights / weights.sum()
            action = (weights * attention[other]).sum()
            torch.testing.assert_close(targets.action[video, snippet], action)
            which = logits[other] * labels[other]
            which = which / which.sum(dim=1, keepdim=True) * attention[other, :, None]
            classes = torch.cat([(weights[:, None] * which).sum(dim=0), 1 - action[None]])
            torch.testing.assert_close(targets.classes[video, snippet], classes)
    assert (targets.weight[~output.mask] == 0).all()
    assert not any(values.requires_grad for values in targets)


def test_neighbours_are_the_most_similar_snippets_in_whatever_order(
    output: BackboneOutput,
) -> None:
    labels = torch.tensor([[1.0, 1, 0], [0, 0, 1]]).repeat(2, 1)
    targets = snippet_targets(output, labels, replace(SETTINGS, source="neighbours"))
    action = 1 - output.attention[..., 2]
    centred = [
        output.embedding[video, :length] - output.embedding[video, :length].mean(dim=0)
        for video, length in enumerate(LENGTHS.tolist())
    ]
    for video, other in ((0, 2), (1, 3), (2, 0), (3, 1)):
        similarity = torch.nn.functional.cosine_similarity(
            centred[video][:, None], centred[other][None], dim=-1
        )
        for snippet, row in enumerate(similarity):
            gate = ((row.max() - 0.3) / 0.1).sigmoid()
            told = ((row / 0.1).softmax(dim=0) * action[other, : len(row)]).sum()
            torch.testing.assert_close(targets.weight[video, snippet], gate)
            torch.testing.assert_close(targets.action[video, snippet], told)
    assert (targets.weight[~output.mask] == 0).all()
    # Another order of the other video's snippets changes nothing.
    turned = output._replace(
        embedding=output.embedding.flip(1), attention=output.attention.flip(1),
        class_logits=output.class_logits.flip(1),
    )  # fmt: skip
    mixed = BackboneOutput(
        *(torch.stack([of[0], back[3]]) for of, back in zip(output, turned, strict=True))
    )
    straight = BackboneOutput(*(of[[0, 3]] for of in output))
    settings = replace(SETTINGS, source="neighbours")
    for ours, theirs in zip(
        snippet_targets(mixed, labels[:2], settings),
        snippet_targets(straight, labels[:2], settings),
        strict=True,
    ):
        torch.testing.assert_close(ours[0], theirs[0])


def test_a_video_that_teaches_itself_is_aligned_with_itself_whatever_the_other(
    output: BackboneOutput,
) -> None:
    labels = torch.tensor([[1.0, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0]])
    targets = snippet_targets(output, labels, replace(SETTINGS, source="self"))
    for video in range(4):
        twice = BackboneOutput(*(of[[video, video]] for of in output))
        pair = snippet_targets(twice, labels[[video, video]], SETTINGS)
        for ours, theirs in zip(targets, pair, strict=True):
            torch.testing.assert_close(ours[video], theirs[0])


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_the_class_target_is_a_mean_with_the_snippets_own_class_scores(
    output: BackboneOutput, share: float
) -> None:
    labels = torch.tensor([[1.0, 1, 0], [0, 0, 1]]).repeat(2, 1)
    carried = snippet_targets(output, labels, replace(SETTINGS, own_share=0.0))
    targets = snippet_targets(output, labels, replace(SETTINGS, own_share=share))
    for video, snippet in torch.nonzero(carried.weight > 0.01).tolist():
        named = torch.cat([labels[video] > 0, torch.tensor([True])])
        own = output.class_logits[video, snippet].softmax(dim=0)
        mean = carried.classes[video, snippet] ** (1 - share) * own**share * named
        torch.testing.assert_close(targets.classes[video, snippet], mean / mean.sum())
    torch.testing.assert_close(targets.action, carried.action)
    torch.testing.assert_close(targets.weight, carried.weight)


def test_neither_opinion_rules_a_class_out_alone(output: BackboneOutput) -> None:
    labels = torch.tensor([[1.0, 1, 0], [0, 1, 1]]).repeat(2, 1)
    # So sure that the other classes have a probability of zero.
    sure = output._replace(class_logits=1000 * output.class_logits)
    targets = snippet_targets(sure, labels, SETTINGS)
    named = torch.cat([labels, torch.ones(4, 1)], dim=1)[:, None].expand_as(targets.classes)
    assert (targets.classes[named > 0] > 1e-5).all()
    assert (targets.classes[named == 0] == 0).all()
    torch.testing.assert_close(targets.classes.sum(dim=-1), torch.ones(4, 9))


def test_the_losses_are_weighted_cross_entropies_over_the_snippets(output: BackboneOutput) -> None:
    torch.manual_seed(2)
    targets = SnippetTargets(
        torch.rand(4, 9, 4).softmax(dim=-1), torch.rand(4, 9), torch.rand(4, 9)
    )
    logits = torch.randn(4, 9, 4)
    losses = aligned_losses(output, logits, targets, SETTINGS)
    assert losses.keys() == {"aligned_classes", "aligned_attention"}
    classes, attention = torch.zeros(()), torch.zeros(())
    for video, length in enumerate(LENGTHS.tolist()):
        for t in range(length):
            q, a, w = (values[video, t] for values in targets)
            p = 1 - output.attention[video, t, 2]
            classes -= w * (q * logits[video, t].log_softmax(dim=0)).sum() / length / 4
            attention -= w * (a * p.log() + (1 - a) * (1 - p).log()) / length / 4
    torch.testing.assert_close(losses["aligned_classes"], 10 * classes)
    torch.testing.assert_close(losses["aligned_attention"], 3 * attention)


@pytest.mark.parametrize("term", ["class", "attention"])
def test_a_term_of_weight_zero_is_left_out(output: BackboneOutput, term: str) -> None:
    settings = replace(SETTINGS, **{f"{term}_weight": 0.0})
    targets = SnippetTargets(torch.rand(4, 9, 4), torch.rand(4, 9), torch.rand(4, 9))
    losses = aligned_losses(output, output.class_logits, targets, settings)
    assert losses.keys() == {"aligned_attention" if term == "class" else "aligned_classes"}


def test_a_saturated_attention_has_a_finite_loss_and_gradient(output: BackboneOutput) -> None:
    attention = torch.tensor([0.0, 0.0, 1.0]).expand(4, 9, 3).clone().requires_grad_()
    targets = SnippetTargets(torch.rand(4, 9, 4), torch.ones(4, 9), torch.ones(4, 9))
    losses = aligned_losses(
        output._replace(attention=attention), output.class_logits, targets, SETTINGS
    )
    losses["aligned_attention"].backward()
    assert losses["aligned_attention"].isfinite()
    assert attention.grad is not None
    assert attention.grad.isfinite().all()


TINY = yaml.safe_load(CONFIG.replace("1e-2", "0.01")) | {"variant": "aligned"}
TINY["training"] |= {"moving_average": 0.9, "pairs_per_epoch": None}


def test_the_variant_trains_with_its_moving_average_for_a_teacher(tmp_path: Path) -> None:
    split = open_tiny_split(write_tiny_folder(tmp_path / "data"), "train")
    config = config_from_mapping(TINY, "tiny")
    model = new_model(config, NAMES, seed=0)
    average = new_average(model)
    first = StageTraining(model, split, "backbone", seed=0, average=average)
    for _ in range(10):
        first.train_epoch()
    second = StageTraining(
        model, split, "contrast", seed=0, iteration=first.iteration, average=average
    )
    assert second.steps == 3  # every video comes first once, in batches of 4 pairs
    heard = []
    assert average is not None
    average.model.register_forward_hook(lambda module, given, output: heard.append((given, output)))
    before = model.backbone.attend.weight.clone()
    for _ in range(2):
        second.train_epoch()
    assert len(heard) == 6
    for (features, lengths), output in heard:
        assert features.shape[0] == len(lengths) == 8
        assert not output.class_logits.requires_grad
        assert not torch.equal(output.attention[0, :, 0], output.attention[0, :, 1])
    assert second.history[0].keys() > {"instance", "aligned_classes", "aligned_attention"}
    assert all(epoch["aligned_classes"] > 0 for epoch in second.history)
    assert not torch.equal(model.backbone.attend.weight, before)


@pytest.mark.parametrize("source", ["alignment", "neighbours", "self"])
def test_only_what_teaches_itself_needs_no_video_of_the_same_classes(
    tmp_path: Path, source: str
) -> None:
    split = open_tiny_split(write_tiny_folder(tmp_path / "data"), "train")
    labels = torch.eye(3)
    labels[2, 0] = 1
    three = replace(split, names=split.names[:3], paths=split.paths[:3], labels=labels.numpy())
    config = config_from_mapping(TINY | {"aligned": {"source": source}}, "tiny")
    if source != "self":
        assert needed_pairs(config) == ("positive",)
        with pytest.raises(ValueError, match="no two training videos have equal label sets"):
            contrast_pairs(config, three)
        return
    assert needed_pairs(config) == ()
    pairs = contrast_pairs(config, three).draw(30, np.random.default_rng(0))
    assert (pairs[:, 0] != pairs[:, 1]).all()
    model = new_model(config, NAMES, seed=0)
    training = StageTraining(model, three, "contrast", seed=0, average=new_average(model))
    training.train_epoch()
    assert training.history[0]["aligned_classes"] > 0


def test_without_a_moving_average_there_is_no_teacher() -> None:
    content = TINY | {"training": TINY["training"] | {"moving_average": 0.0}}
    with pytest.raises(ValueError, match="moving_average must be positive under `variant: aligned"):
        config_from_mapping(content, "tiny")


def test_the_targets_reach_the_class_scores_and_the_attention() -> None:
    torch.manual_seed(0)
    model = new_model(config_from_mapping(TINY, "tiny"), NAMES, seed=0)
    model.backbone.warm_attention(1000)
    torch.nn.init.normal_(model.backbone.attend.weight)
    features, lengths = torch.randn(4, 20, 12), torch.tensor([20, 13, 18, 20])
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 1]]).repeat(2, 1)
    teacher = model.eval()(features, lengths)
    losses = model.train().pair_losses(features, lengths, labels, teacher)

    def slope(term: str, weight: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(
            losses[term], weight, retain_graph=True, allow_unused=True
        )
        return torch.zeros(()) if gradient is None else gradient.abs().max()

    classify, attend = model.backbone.classify.weight, model.backbone.attend.weight
    assert slope("aligned_classes", classify) > 1e-4
    assert slope("aligned_classes", attend) == 0
    assert slope("aligned_attention", attend) > 1e-4
    assert slope("aligned_attention", classify) == 0
