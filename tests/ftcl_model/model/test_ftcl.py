from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
import torch
import yaml

from ftcl_model.config.config import Config, config_from_mapping
from ftcl_model.model.ftcl import FTCL, load_checkpoint, save_checkpoint
from ftcl_model.sealed import save_sealed
from ftcl_model.training.stages import new_model
from tests.ftcl_model.tiny_folder import CLASSES, CONFIG, OFFICIAL

VARIANTS = {
    variant: config_from_mapping(yaml.safe_load(text.replace("1e-2", "0.01")), "tiny")
    for variant, text in (("paper", CONFIG), ("official", OFFICIAL))
}


def batch(pairs: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs of videos of one class and of two by turns; the first videos, then the second ones."""
    torch.manual_seed(1)
    first = torch.arange(pairs) % 3
    second = (first + torch.arange(pairs) % 2) % 3
    labels = torch.eye(3)[torch.cat([first, second])]
    return torch.randn(2 * pairs, 20, 12), torch.randint(8, 21, (2 * pairs,)), labels


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_a_checkpoint_brings_back_the_model(tmp_path: Path, variant: str) -> None:
    model = new_model(VARIANTS[variant], CLASSES, seed=3).eval()
    model.backbone.attention_scale.fill_(0.25)
    path = tmp_path / "model.pt"
    save_checkpoint(path, model, 17)
    loaded = load_checkpoint(path)
    assert loaded.iteration == 17
    assert loaded.model.config == VARIANTS[variant]
    assert loaded.model.classes == CLASSES
    assert not loaded.model.training
    assert loaded.model.state_dict().keys() == model.state_dict().keys()
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
    features, lengths, _ = batch(1)
    assert torch.equal(
        loaded.model(features, lengths).attention, model(features, lengths).attention
    )


def test_a_checkpoint_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, new_model(VARIANTS["paper"], CLASSES, seed=0), 1)
    before = path.read_bytes()

    def interrupted(content: object, target: io.BytesIO) -> None:
        target.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, new_model(VARIANTS["paper"], CLASSES, seed=1), 2)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt"]


def broken_checkpoint(directory: Path, **changes: object) -> Path:
    path = directory / "model.pt"
    save_checkpoint(path, new_model(VARIANTS["paper"], CLASSES, seed=0), 1)
    save_sealed(path, torch.load(path, weights_only=True) | changes)
    return path


def test_refused_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.pt: the checkpoint is missing"):
        load_checkpoint(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(ValueError, match=r"text\.pt: damaged or not a checkpoint"):
        load_checkpoint(tmp_path / "text.pt")
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt: damaged or not a checkpoint"):
        load_checkpoint(tmp_path / "other.pt")
    save_sealed(tmp_path / "state.pt", {"state": {}})
    with pytest.raises(ValueError, match=r"state\.pt: not the checkpoint of a model"):
        load_checkpoint(tmp_path / "state.pt")
    with pytest.raises(ValueError, match="expected a checkpoint, which is a regular file"):
        load_checkpoint(tmp_path)


def test_weights_must_fit_exactly(tmp_path: Path) -> None:
    weights = new_model(VARIANTS["paper"], CLASSES, seed=0).state_dict()
    lacking = {name: value for name, value in weights.items() if name != "contrast.f_mu.bias"}
    with pytest.raises(ValueError, match=r"(?s)model\.pt.*Missing key.*contrast\.f_mu\.bias"):
        load_checkpoint(broken_checkpoint(tmp_path, weights=lacking))
    with pytest.raises(ValueError, match=r"(?s)model\.pt.*Unexpected key.*another"):
        load_checkpoint(broken_checkpoint(tmp_path, weights=weights | {"another": torch.ones(1)}))
    with pytest.raises(ValueError, match=r"(?s)model\.pt.*size mismatch.*backbone\.classify"):
        load_checkpoint(broken_checkpoint(tmp_path, classes=("Jump", "Run")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "expected a checkpoint of format 1, got 2"),
        ({"classes": 3}, "classes: expected a list of different texts, got 3"),
        ({"classes": ["Jump", 1, "Turn"]}, "classes: expected a list of different texts"),
        ({"iteration": "many"}, "iteration: expected a count of steps, got 'many'"),
        ({"config": [1]}, "the file: expected a mapping"),
        ({"classes": ["Jump", "Turn", "Turn"]}, "classes: expected a list of different texts"),
        ({"weights": [1.0]}, "weights: expected tensors"),
        ({"weights": {"backbone.embed.bias": 1.0}}, "weights: expected tensors"),
        ({"weights": {"backbone.embed.bias": torch.ones(16, dtype=torch.int64)}}, "weights: exp"),
        ({"weights": {1: torch.ones(16)}}, "weights: expected tensors"),
        ({"weights": {}}, "Missing key"),
    ],
)
def test_a_checkpoint_of_wrong_types_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=rf"model\.pt: .*{message}") as refusal:
        load_checkpoint(broken_checkpoint(tmp_path, **changes))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    model = new_model(VARIANTS["paper"], CLASSES, seed=0)
    torch.nn.init.constant_(model.backbone.classify.bias, value)
    save_checkpoint(tmp_path / "model.pt", model, 1)
    message = r"model\.pt: the weight backbone\.classify\.bias is NaN or infinite"
    with pytest.raises(ValueError, match=message):
        load_checkpoint(tmp_path / "model.pt")


def test_an_unknown_setting_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    config = dataclasses.asdict(VARIANTS["paper"])
    with pytest.raises(ValueError, match=r"model\.pt: later: unknown key"):
        load_checkpoint(broken_checkpoint(tmp_path, config=config | {"later": 1}))


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_pairs_are_the_first_half_of_a_batch_with_the_second(variant: str) -> None:
    config: Config = VARIANTS[variant]
    model = new_model(config, CLASSES, seed=0).eval()
    features, lengths, labels = batch(3)
    both = model.pair_losses(features, lengths, labels)
    assert both.keys() >= {"instance", "context", "background", "fsd", "lcs"}
    # The terms of single videos are those of the same videos outside pairs.
    single = model.video_losses(features, lengths, labels)
    for name, value in single.items():
        torch.testing.assert_close(both[name], value)
    # Labels of videos 0..5 are 0 1 2 0 2 2: the pairs (0, 3) and (2, 5) are positive.
    first = model(features[:3], lengths[:3])
    second = model(features[3:], lengths[3:])
    contrast = model.contrast.compare(first, second, torch.tensor([True, False, True]))
    for name, value in contrast.items():
        torch.testing.assert_close(both[name], value)


MAPS = {
    "paper": ("contrast.f_mu.weight", "contrast.f_g.weight", "contrast.f_h.weight"),
    "official": ("contrast.project.weight",),
}


def check_contrast_gradients(model: FTCL, losses: dict[str, torch.Tensor], variant: str) -> None:
    """Both contrasts move the embedding, and FSD its maps."""
    parameters = dict(model.named_parameters())
    for term, names in (("fsd", ("backbone.embed.weight", *MAPS[variant])),
                        ("lcs", ("backbone.embed.weight",))):  # fmt: skip
        slopes = torch.autograd.grad(
            losses[term], [parameters[name] for name in names], retain_graph=True
        )
        for name, slope in zip(names, slopes, strict=True):
            assert slope.abs().max() > 1e-7, (term, name)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_gradients_reach_every_parameter(variant: str) -> None:
    model = new_model(VARIANTS[variant], CLASSES, seed=0).train()
    model.backbone.attention_scale.fill_(1.0)
    # Distinct attentions, else action and background would be the same snippets.
    torch.nn.init.normal_(model.backbone.attend.weight)
    losses = model.pair_losses(*batch(4))
    check_contrast_gradients(model, losses, variant)
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("key", ["config", "classes", "iteration", "weights"])
def test_a_checkpoint_lacks_nothing(tmp_path: Path, key: str) -> None:
    path = broken_checkpoint(tmp_path)
    content = torch.load(path, weights_only=True)
    del content[key]
    save_sealed(path, content)
    with pytest.raises(ValueError, match=rf"model\.pt: {key}: expected a value, got none"):
        load_checkpoint(path)
