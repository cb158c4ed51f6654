"""Training in two stages: the backbone on single videos, then the contrasts on pairs of videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ftcl_model.config import Config
from ftcl_model.features import FeatureSplit
from ftcl_model.losses import Losses
from ftcl_model.model import FTCL
from ftcl_model.pairs import Batch, Pairs, draw_pairs, find_pairs, pair_batches, video_batches

# What a seed is used for enters the draws, so that none repeats another's.
_PURPOSES = {"weights": 0, "backbone": 1, "contrast": 2}


class History(NamedTuple):
    """A finished stage.

    iteration: the number of training steps the model has had, earlier stages included.
    epochs: the mean of each term of the loss, and of their sum under "total", in each epoch.
    """

    iteration: int
    epochs: tuple[dict[str, float], ...]


def new_model(config: Config, classes: tuple[str, ...], *, seed: int) -> FTCL:
    """An untrained model; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_torch_seed(seed, "weights"))
        return FTCL(config, classes)


def train_backbone(
    model: FTCL, split: FeatureSplit, *, seed: int, iteration: int = 0, progress: bool = True
) -> History:
    """First stage: ACM-Net's loss on single videos, for `backbone_epochs`.

    Args:
        model: trained in place, on the device where it is.
        split: the training videos.
        seed: of the order of the videos, the choice of their snippets and the dropout. The same
            seed gives the same weights.
        iteration: the number of steps the model has had.
        progress: show a progress bar.

    Raises:
        FloatingPointError: a term of the loss, or a gradient, is NaN or infinite; it is named.
    """
    settings, snippets = model.config.training, model.config.dataset.snippets

    def batches(rng: np.random.Generator) -> Iterator[Batch]:
        return video_batches(split, settings.batch_size, snippets, rng)

    return _train(
        model, model.video_losses, batches, settings.backbone_epochs,
        stage="backbone", seed=seed, iteration=iteration, progress=progress,
    )  # fmt: skip


def train_contrast(
    model: FTCL, split: FeatureSplit, *, seed: int, iteration: int, progress: bool = True
) -> History:
    """Second stage: ACM-Net's loss and the contrasts on pairs, for `contrast_epochs`.

    Pairs are drawn afresh in every epoch. Arguments and errors are those of `train_backbone`.

    Raises:
        ValueError: the split lacks the pairs that are contrasted, see `contrast_pairs`.
    """
    settings, snippets = model.config.training, model.config.dataset.snippets
    pairs = contrast_pairs(model.config, split)

    def batches(rng: np.random.Generator) -> Iterator[Batch]:
        drawn = draw_pairs(pairs, settings.pairs_per_epoch, rng)
        return pair_batches(split, drawn, settings.batch_size, snippets, rng)

    return _train(
        model, model.pair_losses, batches, settings.contrast_epochs,
        stage="contrast", seed=seed, iteration=iteration, progress=progress,
    )  # fmt: skip


def contrast_pairs(config: Config, split: FeatureSplit) -> Pairs:
    """The pairs of the second stage.

    Raises:
        ValueError: no two videos have equal label sets; or all share a class, while a loss pushes
            videos of different classes apart and would pull all together without them.
    """
    pairs = find_pairs(split.labels)
    where = f"{split.paths[0].parent}: "
    if len(pairs.positive) == 0:
        raise ValueError(
            f"{where}no two training videos have equal label sets, so there is nothing to contrast "
            "(training.contrast_epochs: 0 trains the backbone alone)"
        )
    contrast = config.contrast
    ranks = config.variant == "official" and contrast.fsd_weight > 0
    if len(pairs.negative) == 0 and (ranks or contrast.lcs_weight > 0):
        raise ValueError(
            f"{where}no two training videos are without a common class, which the contrast needs "
            "(contrast.lcs_weight: 0 leaves that to FSD under `variant: paper`, "
            "training.contrast_epochs: 0 trains the backbone alone)"
        )
    return pairs


def check_training(config: Config, split: FeatureSplit) -> None:
    """Refuse before it starts a training of both stages that could not end well.

    Raises:
        ValueError: the split lacks the pairs that are contrasted, or the attention would not be
            fully faded in when the training ends.
    """
    settings = config.training
    steps = settings.backbone_epochs * -(-len(split) // settings.batch_size)
    if settings.contrast_epochs:
        pairs = contrast_pairs(config, split)
        drawn = len(draw_pairs(pairs, settings.pairs_per_epoch, np.random.default_rng(0)))
        steps += settings.contrast_epochs * -(-drawn // settings.batch_size)
    warmup = config.backbone.attention_warmup
    if 2 * warmup > steps:
        raise ValueError(
            f"backbone.attention_warmup must be at most half of the training's {steps} steps, so "
            f"that the attention is faded in when it ends, got {warmup}"
        )


def _train(
    model: FTCL,
    losses_of: Callable[[Tensor, Tensor, Tensor], Losses],
    batches: Callable[[np.random.Generator], Iterator[Batch]],
    epochs: int,
    *,
    stage: str,
    seed: int,
    iteration: int,
    progress: bool,
) -> History:
    settings = model.config.training
    device = next(model.parameters()).device
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    history = []
    model.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_torch_seed(seed, stage))
        bar = tqdm(range(epochs), stage, unit="epoch", mininterval=1.0, disable=not progress)
        for epoch in bar:
            steps = []
            for batch in batches(np.random.default_rng([seed, _PURPOSES[stage], epoch])):
                model.backbone.warm_attention(iteration)
                losses = losses_of(*batch.to(device))
                steps.append(_step(model, optimizer, losses, iteration))
                iteration += 1
            history.append({name: float(np.mean([s[name] for s in steps])) for name in steps[0]})
            bar.set_postfix(loss=f"{history[-1]['total']:.3f}", refresh=False)
    # The next step's scale, so that what follows the training sees the attention it ended with.
    model.backbone.warm_attention(iteration)
    model.eval()
    return History(iteration, tuple(history))


def _step(
    model: FTCL, optimizer: torch.optim.Optimizer, losses: Losses, iteration: int
) -> dict[str, float]:
    """One update; the values of the terms, fetched from the device together."""
    total = torch.stack(list(losses.values())).sum()
    values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
    for name, value in values.items():
        if not np.isfinite(value):
            raise FloatingPointError(f"training: the loss {name} is {value} in step {iteration}")
    optimizer.zero_grad()
    total.backward()
    # A finite loss can have a NaN gradient, which would end up in every weight.
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if not torch.nn.utils.get_total_norm(gradients.values()).isfinite():
        broken = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
        raise FloatingPointError(
            f"training: the gradient of {', '.join(broken)} is not finite in step {iteration}"
        )
    optimizer.step()
    return values | {"total": sum(values.values())}


def _torch_seed(seed: int, purpose: str) -> int:
    return int(np.random.SeedSequence([seed, _PURPOSES[purpose]]).generate_state(1)[0])
