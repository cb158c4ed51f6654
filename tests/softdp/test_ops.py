"""softdp/_ops.pyi, the types of the ops, against the schemas that are registered.

    python tests/softdp/test_ops.py > softdp/_ops.pyi

writes it anew where a schema has changed.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

import softdp
from softdp import _ops

pytestmark = pytest.mark.host

HEAD = '''"""The ops of torch.ops.softdp, by their schemas; tests/softdp/test_ops.py writes this."""

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

from torch import Tensor

_P = ParamSpec("_P")
_R = TypeVar("_R", covariant=True)

class _Op(Generic[_P, _R]):
    default: Callable[_P, _R]
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...

def _op(signature: Callable[_P, _R]) -> _Op[_P, _R]: ...

# fmt: off
'''
TYPES = {"Tensor": "Tensor", "Optional[Tensor]": "Tensor | None", "int": "int", "bool": "bool"}
TYPES |= {"float": "float", "str": "str"}
# Of the CUDA library alone, which not every build has.
CUDA_ALONE = "def cuda_architectures() -> str: ..."


def registered() -> list[str]:
    """The names of the ops that the CPU library defines; minkowski's are torch's custom ops."""
    names = (name.partition("::") for name in torch._C._dispatch_get_all_op_names())
    ops = sorted(name for namespace, _, name in names if namespace == "softdp")
    return [name for name in ops if not name.startswith(("minkowski", "cuda_"))]


def stub(name: str) -> str:
    schema: Any = getattr(torch.ops.softdp, name).default._schema
    arguments = (f"{each.name}: {TYPES[str(each.type)]}" for each in schema.arguments)
    returns = [TYPES[str(each.type)] for each in schema.returns]
    told = returns[0] if len(returns) == 1 else f"tuple[{', '.join(returns)}]"
    whole = (each.replace(" ", "~") for each in arguments)  # what no line is broken in
    text = f"def~{name}({', '.join(whole)})~->~{told}:~..."
    lines = textwrap.fill(text, 100, subsequent_indent="    ", break_on_hyphens=False)
    return lines.replace("~", " ")


def stubs() -> str:
    ops = sorted([*map(stub, registered()), CUDA_ALONE])
    return HEAD + "".join(f"@_op\n{op}\n" for op in ops)


def test_the_types_are_those_of_the_schemas() -> None:
    assert Path(softdp.__file__).with_name("_ops.pyi").read_text() == stubs()
    assert _ops.walk is torch.ops.softdp.walk


if __name__ == "__main__":
    print(stubs(), end="")
