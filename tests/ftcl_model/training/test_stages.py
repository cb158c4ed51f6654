from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import softdp
from ftcl_model.config.config import Config
from ftcl_model.data.features import FeatureSplit
from ftcl_model.model.ftcl import FTCL
from ftcl_model.training.planning import plan_training
from ftcl_model.training.stages import (
    History,
    StageName,
    StageTraining,
    contrast_pairs,
    learning_rate_scale,
    new_average,
    new_model,
    train_stage,
)
from tests.ftcl_model.model.test_ftcl import VARIANTS, batch, check_contrast_gradients
from tests.ftcl_model.tiny_folder import CLASSES, open_tiny_split, write_tiny_folder
from tests.ftcl_model.whole_stages import train_backbone, train_contrast


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> FeatureSplit:
    return open_tiny_split(write_tiny_folder(tmp_path_factory.mktemp("tiny") / "data"), "train")


def brief(config: Config, **changes: object) -> Config:
    return replace(config, training=replace(config.training, **changes))


def trained(config: Config, split: FeatureSplit, seed: int) -> tuple[FTCL, History, History]:
    model = new_model(config, CLASSES, seed=seed)
    first = train_backbone(model, split, seed=seed)
    second = train_contrast(model, split, seed=seed, iteration=first.iteration)
    return model, first, second


def weights_of(model: FTCL) -> torch.Tensor:
    return torch.cat([value.flatten() for value in model.state_dict().values()])


@pytest.mark.parametrize("variant", ["paper", "official"])
@pytest.mark.parametrize("losses_of", ["video_losses", "pair_losses"])
def test_a_step_lowers_the_loss(variant: str, losses_of: str) -> None:
    model = new_model(VARIANTS[variant], CLASSES, seed=0).eval()  # no dropout, one fixed batch
    model.backbone.attention_scale.fill_(1.0)
    # Distinct attentions: among equal ones the choice of the snippets would hang on rounding.
    torch.nn.init.normal_(model.backbone.attend.weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def losses() -> dict[str, torch.Tensor]:
        return getattr(model, losses_of)(*batch(4))

    def total() -> torch.Tensor:
        return torch.stack(list(losses().values())).sum()

    if losses_of == "pair_losses":
        check_contrast_gradients(model, losses(), variant)
    before = total()
    before.backward()
    optimizer.step()
    assert total() < before


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_training_lowers_the_loss_and_counts_its_steps(variant: str, split: FeatureSplit) -> None:
    config = brief(VARIANTS[variant], backbone_epochs=15, contrast_epochs=2)
    model, first, second = trained(config, split, seed=0)
    assert first.iteration == 15 * 3  # 12 videos in batches of 4
    assert second.iteration == first.iteration + 2 * 2  # 8 pairs in batches of 4
    assert first.epochs[-1]["total"] < 0.8 * first.epochs[0]["total"]
    assert [len(first.epochs), len(second.epochs)] == [15, 2]
    terms = {"instance", "context", "background", "guide", "norm", "sparsity", "total"}
    assert first.epochs[0].keys() == terms
    assert second.epochs[0].keys() == terms | {"fsd", "lcs"}
    for epoch in second.epochs:
        assert sum(v for k, v in epoch.items() if k != "total") == pytest.approx(epoch["total"])
    assert not model.training


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_the_same_seed_gives_the_same_weights(variant: str, split: FeatureSplit) -> None:
    config = brief(VARIANTS[variant], backbone_epochs=2, contrast_epochs=1)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    models = [trained(config, split, seed)[0] for seed in (5, 5, 6)]
    assert torch.equal(torch.get_rng_state(), before)  # the caller's generator is left alone
    assert torch.equal(weights_of(models[0]), weights_of(models[1]))
    assert not torch.equal(weights_of(models[0]), weights_of(models[2]))


def test_the_attention_waits_for_the_class_scores(split: FeatureSplit) -> None:
    # Ten steps of warm-up, three steps an epoch: still uniform after three epochs.
    config = brief(VARIANTS["paper"], backbone_epochs=3)
    model = new_model(config, CLASSES, seed=0)
    classify = model.backbone.classify.weight.clone()
    train_backbone(model, split, seed=0)
    assert (model.backbone.attend.weight == 0).all()
    assert model.backbone.attention_scale == 0
    assert not torch.equal(model.backbone.classify.weight, classify)

    model = new_model(brief(config, backbone_epochs=5), CLASSES, seed=0)
    train_backbone(model, split, seed=0)
    assert (model.backbone.attend.weight != 0).any()
    assert model.backbone.attention_scale.item() == pytest.approx(0.5)  # 15 steps done

    model = new_model(brief(config, backbone_epochs=7), CLASSES, seed=0)
    train_backbone(model, split, seed=0)
    assert model.backbone.attention_scale == 1


def test_the_second_stage_goes_on_where_the_first_ended(split: FeatureSplit) -> None:
    config = brief(VARIANTS["paper"], backbone_epochs=7, contrast_epochs=1)
    model, _, _ = trained(config, split, seed=0)
    assert model.backbone.attention_scale == 1


def test_a_loss_that_is_not_finite_is_named(split: FeatureSplit) -> None:
    config = brief(VARIANTS["paper"], backbone_epochs=1, contrast_epochs=1)
    model = new_model(config, CLASSES, seed=0)
    torch.nn.init.constant_(model.contrast.f_mu.weight, torch.nan)
    with pytest.raises(FloatingPointError, match="the loss fsd is nan in step 40"):
        train_contrast(model, split, seed=0, iteration=40)


def test_a_gradient_that_is_not_finite_is_named_before_it_reaches_the_weights(
    split: FeatureSplit,
) -> None:
    model = new_model(brief(VARIANTS["paper"], backbone_epochs=1), CLASSES, seed=0)
    before = weights_of(model)
    model.backbone.classify.bias.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(FloatingPointError, match=r"gradient of backbone\.classify\.bias is not"):
        train_backbone(model, split, seed=0)
    assert torch.equal(weights_of(model), before)


def test_without_two_equal_label_sets_there_is_nothing_to_contrast(split: FeatureSplit) -> None:
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    alone = replace(split, names=split.names[:3], paths=split.paths[:3], labels=labels)
    with pytest.raises(ValueError, match="no two training videos have equal label sets"):
        contrast_pairs(VARIANTS["paper"], alone)


def weighing(variant: str, fsd: float, lcs: float) -> Config:
    config = VARIANTS[variant]
    return replace(config, contrast=replace(config.contrast, fsd_weight=fsd, lcs_weight=lcs))


@pytest.mark.parametrize(
    ("variant", "fsd", "lcs", "needed"),
    [
        ("paper", 1.0, 1.0, True),
        ("paper", 1.0, 0.0, False),  # compares within pairs of one class
        ("official", 1.0, 0.0, True),
        ("official", 0.0, 1.0, True),
    ],
)
def test_losses_that_push_apart_need_two_videos_without_a_common_class(
    split: FeatureSplit, variant: str, fsd: float, lcs: float, needed: bool
) -> None:
    alike = replace(split, labels=np.repeat(np.array([[1, 0, 0]], np.float32), 12, axis=0))
    config = weighing(variant, fsd, lcs)
    if needed:
        with pytest.raises(ValueError, match=r"train: no two .* without a common class"):
            contrast_pairs(config, alike)
    else:
        assert len(contrast_pairs(config, alike).positive) == 66


@pytest.mark.parametrize(
    ("epochs", "pairs", "steps"),
    [((5, 2), 8, 5 * 3 + 2 * 2), ((6, 0), 8, 6 * 3), ((0, 3), None, 3 * 3)],  # batches of 4
)
def test_the_attention_must_be_faded_in_before_the_training_ends(
    split: FeatureSplit, epochs: tuple[int, int], pairs: int | None, steps: int
) -> None:
    config = brief(
        VARIANTS["paper"], backbone_epochs=epochs[0], contrast_epochs=epochs[1],
        pairs_per_epoch=pairs,
    )  # fmt: skip

    def warming(steps: int | None) -> Config:
        return replace(config, backbone=replace(config.backbone, attention_warmup=steps))

    plan_training(warming(steps // 2), split, 0)
    with pytest.raises(
        ValueError, match=rf"attention_warmup must be at most half of the training's {steps} steps"
    ):
        plan_training(warming(steps // 2 + 1), split, 0)

    plan = plan_training(warming(None), split, 0)
    assert plan.config == warming(steps // 2)
    half = (
        f"backbone.attention_warmup is {steps // 2} instead of 80, half of the training's {steps}"
    )
    assert plan.adapted == f"{half} steps"


def test_a_long_training_has_the_usual_warm_up(split: FeatureSplit) -> None:
    config = brief(VARIANTS["paper"], backbone_epochs=54, contrast_epochs=0)  # 162 steps
    config = replace(config, backbone=replace(config.backbone, attention_warmup=None))
    plan = plan_training(config, split, 0)
    assert plan.config.backbone.attention_warmup == 80
    assert plan.adapted == ""
    model = new_model(config, CLASSES, seed=0)
    model.backbone.warm_attention(120)
    assert model.backbone.attention_scale == 0.5


def test_the_videos_that_are_set_apart_do_not_make_steps(split: FeatureSplit) -> None:
    config = brief(VARIANTS["paper"], backbone_epochs=6, contrast_epochs=0, batch_size=1)
    config = replace(
        config,
        backbone=replace(config.backbone, attention_warmup=None),
        validation=replace(config.validation, share=0.25),
    )
    plan = plan_training(config, split, 0)
    assert plan.validation is not None
    assert len(plan.training) + len(plan.validation) == len(split) == 12
    assert plan.config.backbone.attention_warmup == 3 * len(plan.training)


def test_the_official_attention_starts_at_once(split: FeatureSplit) -> None:
    config = brief(VARIANTS["official"], backbone_epochs=1, contrast_epochs=0)
    plan_training(config, split, 0)
    assert config.backbone.attention_warmup == 0


def stage_of(split: FeatureSplit, stage: StageName, **changes: object) -> StageTraining:
    config = brief(VARIANTS["paper"], backbone_epochs=7, **changes)
    model = new_model(config, CLASSES, seed=0)
    return StageTraining(model, split, stage, seed=0, average=new_average(model))


def test_the_cosine_falls_from_the_learning_rate_to_nothing(split: FeatureSplit) -> None:
    training = stage_of(split, "backbone", schedule="cosine", learning_rate=0.01)
    rates: list[float] = []
    train_stage(
        training,
        progress=False,
        after_step=lambda _: rates.append(
            training.state_dict()["optimizer"]["param_groups"][0]["lr"]
        ),
    )
    expected = 0.01 * (1 + np.cos(np.pi * np.arange(21) / 21)) / 2  # 7 epochs of 3 steps
    assert rates == pytest.approx(expected)
    assert learning_rate_scale("cosine", 1.0) == 0
    assert learning_rate_scale("constant", 0.7) == 1


def test_gradients_are_clipped_together(split: FeatureSplit) -> None:
    def norm(**changes: object) -> float:
        training = stage_of(split, "contrast", **changes)
        training.train_epoch()
        gradients = [p.grad for p in training.model.parameters() if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients).item()

    assert norm() > 0.2
    assert norm(gradient_clip=0.1) == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)]
)
def test_the_backbone_computes_in_low_precision_and_the_programs_in_float32(
    split: FeatureSplit, precision: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[torch.dtype]] = {"embed": set(), "edit_similarity": set(), "lcs": set()}
    for name in ("edit_similarity", "lcs"):
        program = getattr(softdp, name)

        def watched(*tables: torch.Tensor, _name: str = name, _program=program, **settings: object):
            seen[_name] |= {table.dtype for table in tables if isinstance(table, torch.Tensor)}
            return _program(*tables, **settings)

        monkeypatch.setattr(softdp, name, watched)
    training = stage_of(split, "contrast", precision=precision)
    training.model.backbone.embed.register_forward_hook(
        lambda module, inputs, output: seen["embed"].add(output.dtype)
    )
    training.train_epoch()
    full = stage_of(split, "contrast")
    full.train_epoch()
    assert seen == {"embed": {dtype}, "edit_similarity": {torch.float32}, "lcs": {torch.float32}}
    assert {weight.dtype for weight in training.model.parameters()} == {torch.float32}
    assert training.history[0] == pytest.approx(full.history[0], rel=0.02, abs=0.02)
    assert training.history[0] != full.history[0]


def test_a_float16_gradient_that_is_never_finite_is_named_when_no_scale_helps(
    split: FeatureSplit,
) -> None:
    training = stage_of(split, "backbone", precision="float16")
    before = weights_of(training.model)
    training.model.backbone.classify.bias.register_hook(lambda gradient: gradient * torch.nan)
    training.train_epoch()  # the scaler lowers its scale and skips the steps
    assert torch.equal(weights_of(training.model), before)
    with pytest.raises(FloatingPointError, match=r"gradient of backbone\.classify\.bias is not"):
        train_stage(training, progress=False)


def test_the_moving_average_follows_the_weights_and_the_attention(split: FeatureSplit) -> None:
    training = stage_of(split, "backbone", moving_average=0.8)
    expected = training.model.backbone.classify.weight.detach().clone()

    def follow(_: dict[str, float]) -> None:
        expected.mul_(0.8).add_(training.model.backbone.classify.weight.detach(), alpha=0.2)

    train_stage(training, progress=False, after_step=follow)
    average = training.evaluated
    assert average is not training.model
    torch.testing.assert_close(average.backbone.classify.weight.detach(), expected)
    assert average.backbone.attention_scale == training.model.backbone.attention_scale == 1
    assert not average.training


def test_every_process_needs_an_item_of_each_batch(
    split: FeatureSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftcl_model.training.stages.processes", lambda: 5)
    with pytest.raises(ValueError, match="each of the 5 processes, got a batch of 4 in the backb"):
        stage_of(split, "backbone")


def test_the_dropout_is_the_seeds_and_differs_by_epoch(split: FeatureSplit) -> None:
    def seeds_of(seed: int, stage: StageName) -> list[int]:
        torch.manual_seed(np.random.default_rng().integers(2**31))  # the caller's does not count
        config = brief(VARIANTS["paper"], backbone_epochs=2, contrast_epochs=2)
        training = StageTraining(new_model(config, CLASSES, seed=0), split, stage, seed=seed)
        found: list[int] = []
        train_stage(
            training, progress=False, after_step=lambda _: found.append(torch.initial_seed())
        )
        return sorted(set(found))

    drawn = [seeds_of(0, "backbone"), seeds_of(0, "contrast"), seeds_of(1, "backbone")]
    assert [len(some) for some in drawn] == [2, 2, 2]
    assert len({seed for some in drawn for seed in some}) == 6
    assert seeds_of(0, "backbone") == drawn[0]
