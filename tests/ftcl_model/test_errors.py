from __future__ import annotations

import errno

import pytest

from ftcl_model.errors import InputError, refused_in_one_line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("a.yaml: expected a number,\ngot 'x'"), r"a.yaml: expected a number,\ngot 'x'"),
        (OSError(errno.ENOSPC, "No space left on device", "out.json"),
         "out.json: No space left on device"),
        (OSError("no name"), "no name"),
        (ModuleNotFoundError("wandb is not installed"), "wandb is not installed"),
        (FloatingPointError("training: the loss fsd is nan"), "training: the loss fsd is nan"),
    ],
)  # fmt: skip
def test_what_a_user_can_mend_is_one_line(error: Exception, said: str) -> None:
    with pytest.raises(SystemExit) as end, refused_in_one_line():
        raise error
    assert end.value.code == f"ftcl_model: {said}"
    assert end.value.__cause__ is error


@pytest.mark.parametrize("kind", [ValueError, TypeError, KeyError, RuntimeError, ImportError])
def test_a_mistake_of_the_program_keeps_its_traceback(kind: type[Exception]) -> None:
    with pytest.raises(kind), refused_in_one_line():
        raise kind("a bug")


def test_an_input_error_is_a_value_error() -> None:
    assert issubclass(InputError, ValueError)
