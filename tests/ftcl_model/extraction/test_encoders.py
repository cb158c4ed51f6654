from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from ftcl_model.errors import InputError
from ftcl_model.extraction import encoders
from ftcl_model.extraction.encoders import (
    Encoder,
    MeanOverFrames,
    feature_width,
    load_encoder,
    weights_digest,
)


def installed(name: str) -> ModuleType:
    """A library that may be missing, or be built for another torch."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{name} cannot be imported: {error}")


@pytest.mark.parametrize(("name", "width", "size"), [("s3d", 1024, 224), ("r3d_18", 512, 64)])
def test_torchvision(name: str, width: int, size: int) -> None:
    """The features are what the network's own classifier is given."""
    models = installed("torchvision.models")
    encoder = load_encoder(f"torchvision:{name}", "none", seed=3)
    assert (encoder.weights, encoder.model.training) == ("none", False)
    preset = models.get_model_weights(name).DEFAULT.transforms()
    assert encoder.size == preset.crop_size[0]
    assert encoder.mean == tuple(preset.mean)
    assert feature_width(encoder, 16, size) == width

    torch.manual_seed(3)
    whole = models.get_model(name).eval()
    clip = torch.rand(1, 3, 16, size, size)
    with torch.inference_mode():
        features = encoder.model(clip)
        if name == "r3d_18":
            expected = whole.fc(features)
        else:
            expected = whole.classifier(features[..., None, None, None]).flatten(1)
        torch.testing.assert_close(whole(clip), expected, rtol=1e-4, atol=1e-4)


def test_torchvision_refuses_what_it_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    installed("torchvision.models")
    with pytest.raises(ValueError, match=r"torchvision:s4d: expected one of mc3_18, .*s3d"):
        load_encoder("torchvision:s4d")
    expected = r"the weights default, none or one of KINETICS400_V1, got 'imagenet'"
    with pytest.raises(ValueError, match=expected):
        load_encoder("torchvision:s3d", "imagenet")
    encoder = load_encoder("torchvision:s3d", "none")
    with pytest.raises(ValueError, match=r"takes no snippet of 16 frames of 64 x 64 \(input im"):
        feature_width(encoder, 16, 64)

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", "none")
    with pytest.raises(OSError, match=r"torchvision:s3d: its weights cannot be fetched \(no rou"):
        load_encoder("torchvision:s3d")


def test_timm() -> None:
    timm = installed("timm")
    encoder = load_encoder("timm:resnet18", "none")
    data = timm.data.resolve_model_data_config(timm.create_model("resnet18"))
    assert (encoder.size, encoder.mean) == (data["input_size"][-1], tuple(data["mean"]))
    assert feature_width(encoder, 3, 64) == 512
    with pytest.raises(ValueError, match=r"timm:resnet_of_none: Unknown model"):
        load_encoder("timm:resnet_of_none", "none")


@pytest.mark.parametrize("random", [False, True])
def test_transformers(tmp_path: Path, random: bool) -> None:
    transformers: Any = installed("transformers")
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=16,
    )  # fmt: skip
    model = transformers.ViTModel(config).eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_processor_type": "ViTImageProcessor", "image_mean": [0.1, 0.2, 0.3], '
        '"image_std": [0.5, 0.5, 0.5]}'
    )
    encoder = load_encoder(f"transformers:{tmp_path}", "none" if random else "default")
    assert (encoder.size, encoder.mean) == (32, (0.1, 0.2, 0.3))
    clips = torch.rand(2, 3, 4, 32, 32)
    with torch.inference_mode():
        features = encoder.model(clips)
        expected = model(pixel_values=clips[1].transpose(0, 1)).pooler_output.mean(dim=0)
    assert features.shape == (2, 24)
    assert torch.allclose(features[1], expected, atol=1e-5) is not random


def test_a_library_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(encoders.importlib, "import_module", broken)
    expected = r"torchvision cannot be imported beside torch .* \(operator torchvision::nms does"
    with pytest.raises(InputError, match=expected):
        load_encoder("torchvision:s3d", "none")

    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'timm'", name="timm")

    monkeypatch.setattr(encoders.importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=r"timm is not installed: pip install timm"):
        load_encoder("timm:resnet18", "none")


def test_the_mean_over_frames() -> None:
    class Colours(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

    clips = torch.rand(2, 3, 5, 8, 8)
    torch.testing.assert_close(MeanOverFrames(Colours())(clips), clips.mean(dim=(2, 3, 4)))


def test_features_of_another_shape_are_refused() -> None:
    for shape, said in (((1, 8, 2), r"\(1, 8, 2\)"), ((2, 8), r"\(2, 8\)")):

        class Odd(nn.Module):
            def forward(self, clips: torch.Tensor, shape: Any = shape) -> torch.Tensor:
                return torch.zeros(shape)

        with pytest.raises(ValueError, match=rf"expected features \(1, width\) .* got {said}"):
            feature_width(Encoder(Odd()), 4, 16)


def test_digests_tell_weights_apart() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    digest = weights_digest(model)
    assert len(digest) == 16
    assert weights_digest(model.eval()) == digest
    with torch.no_grad():
        value = model[0].weight[0, 0]
        value.copy_(torch.nextafter(value, torch.tensor(9.0)))
    assert weights_digest(model) != digest
