from __future__ import annotations

import pytest
import torch
from torch import nn

from ftcl_model.model.moving_average import MovingAverage


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("scale", torch.zeros(()))


def moved(model: Scaled, step: int) -> Scaled:
    with torch.no_grad():
        model.layer.weight += step
        model.scale.fill_(step)
    return model


def test_weights_are_averaged_and_buffers_follow() -> None:
    model = Scaled()
    average = MovingAverage(model, 0.75)
    expected = model.layer.weight.detach().clone()
    for step in (1, 2, 3):
        average.update(moved(model, step))
        expected = 0.75 * expected + 0.25 * model.layer.weight.detach()
    torch.testing.assert_close(average.model.layer.weight, expected)
    assert average.model.scale == 3
    assert torch.equal(average.model.layer.bias, model.layer.bias)


def test_the_average_is_an_own_copy_that_is_not_trained() -> None:
    model = Scaled().train()
    average = MovingAverage(model, 0.99)
    assert not average.model.training
    assert model.training
    assert not any(weight.requires_grad for weight in average.model.parameters())
    assert all(weight.requires_grad for weight in model.parameters())
    before = average.model.layer.weight.clone()
    moved(model, 1)
    assert torch.equal(average.model.layer.weight, before)


def test_it_goes_on_exactly_from_its_state() -> None:
    torch.manual_seed(0)
    model = Scaled()
    average = MovingAverage(model, 0.9)
    average.update(moved(model, 1))
    restored = MovingAverage(Scaled(), 0.9)
    restored.load_state_dict({name: value.clone() for name, value in average.state_dict().items()})
    moved(model, 2)
    average.update(model)
    restored.update(model)
    for name, value in average.state_dict().items():
        assert torch.equal(restored.state_dict()[name], value)
    assert restored.model.scale == 2


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_outside_its_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got"):
        MovingAverage(Scaled(), decay)
