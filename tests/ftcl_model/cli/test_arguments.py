from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest
import torch

from ftcl_model.cli import arguments
from ftcl_model.cli.main import main
from ftcl_model.comparison.variants import COMPARED


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (arguments.seed, "0", 0),
        (arguments.seed, "1000000000000000000", 10**18),
        (arguments.count, "1", 1),
        (arguments.thresholds, "0.5,0.1,0.5", (0.1, 0.5)),
        (arguments.thresholds, "1", (1.0,)),
        (arguments.variants, "both,fsd", {name: COMPARED[name] for name in ("both", "fsd")}),
        (arguments.device, "cpu", torch.device("cpu")),
    ],
)
def test_words_and_what_they_stand_for(
    kind: Callable[[str], object], text: str, value: object
) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (arguments.seed, "-1", "expected a whole number of 0 or more, got '-1'"),
        (arguments.seed, "1.5", "expected a whole number of 0 or more"),
        (arguments.seed, "1" + 30 * "0", "expected at most 1000000000000000000, got"),
        (arguments.count, "0", "expected a whole number of 1 or more"),
        (arguments.count, "", "expected a whole number of 1 or more"),
        (arguments.thresholds, "0,0.5", r"expected numbers in \(0, 1\], as in 0.1,0.2, got"),
        (arguments.thresholds, "nan", r"expected numbers in \(0, 1\]"),
        (arguments.thresholds, "a", r"expected numbers in \(0, 1\]"),
        (arguments.thresholds, "", r"expected numbers in \(0, 1\]"),
        (arguments.variants, "both,", "expected different names of backbone, fsd"),
        (arguments.device, "gpu", "cannot compute on 'gpu': "),
        (arguments.device, "meta", "cannot compute on 'meta': "),
    ],
)
def test_words_that_stand_for_nothing(
    kind: Callable[[str], object], text: str, message: str
) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message) as refusal:
        kind(text)
    assert "\n" not in str(refusal.value)


def test_the_usual_device_can_be_computed_on() -> None:
    assert torch.zeros(1, device=arguments.default_device()).tolist() == [0.0]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--variants", "backbone,fds", "expected different names of backbone, fsd, lcs"),
        ("--variants", "both,both", "got 'both'"),
        ("--seeds", "0", "expected a whole number of 1 or more, got '0'"),
        ("--jobs", "two", "expected a whole number of 1 or more, got 'two'"),
        ("--seeds", "1" + 5000 * "0", "expected at most 1000000, got '1000"),
    ],
)
def test_options_are_refused(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "--config", "c", "--data", "d", "--output", "o", option, value])
    assert message in capsys.readouterr().err
