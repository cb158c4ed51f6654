"""The registered ops: schemas, fake kernels, autograd and autocast."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from softdp.families import FAMILIES
from tests.softdp.support import gradients, normal

LENGTHS = (torch.tensor([4, 0, 3]), torch.tensor([5, 2, 1]))


def edit_arguments(
    device: torch.device, dtype: torch.dtype = torch.float64, ragged: bool = False
) -> tuple[Any, ...]:
    """Tables, gamma, border, lengths, leading_gaps, trailing_gaps, minimise, what to keep."""
    tables = (normal(3, 4, 5, seed=1), normal(1, 5, seed=2), normal(3, 4, 1, seed=3))
    compute = torch.promote_types(dtype, torch.float32)
    gamma = torch.full((3,), 0.5, dtype=compute)
    leaves = [table.to(device, dtype).requires_grad_() for table in tables]
    lengths = [length.to(device) if ragged else None for length in LENGTHS]
    return (
        *leaves,
        gamma.to(device).requires_grad_(),
        None,
        *lengths,
        None,
        4,
        3,
        False,
        True,
        False,
    )


def lcs_arguments(
    device: torch.device, dtype: torch.dtype = torch.float64, ragged: bool = False
) -> tuple[Any, ...]:
    """similarity, threshold, gamma, border, n_lengths, m_lengths, gate_width, what to keep."""
    compute = torch.promote_types(dtype, torch.float32)
    numbers = [torch.full((3,), value, dtype=compute, device=device) for value in (0.2, 0.5)]
    similarity = normal(3, 4, 5, seed=1).to(device, dtype).requires_grad_()
    lengths = [length.to(device) if ragged else None for length in LENGTHS]
    numbers = [number.requires_grad_() for number in numbers]
    return (similarity, *numbers, border(device), *lengths, None, 0.3, True, True)


def soft_dtw_arguments(
    device: torch.device, dtype: torch.dtype = torch.float64, ragged: bool = False
) -> tuple[Any, ...]:
    """cost, gamma, border, n_lengths, m_lengths, what to keep."""
    gamma = torch.full((3,), 0.5, dtype=torch.promote_types(dtype, torch.float32), device=device)
    cost = normal(3, 4, 5, seed=1).to(device, dtype).requires_grad_()
    lengths = [length.to(device) if ragged else None for length in LENGTHS]
    return (cost, gamma.requires_grad_(), border(device), *lengths, None, True, True)


def affine_arguments(
    device: torch.device, dtype: torch.dtype = torch.float64, ragged: bool = False
) -> tuple[Any, ...]:
    """Tables, gamma, border, lengths, leading_gaps, trailing_gaps, what to keep."""
    shapes = (3, 4, 5), (4, 1), (), (3, 1, 5), (3, 1, 1)
    tables = [normal(*shape, seed=k).to(device, dtype) for k, shape in enumerate(shapes)]
    gamma = torch.full((3,), 0.5, dtype=torch.promote_types(dtype, torch.float32), device=device)
    lengths = [length.to(device) if ragged else None for length in LENGTHS]
    leaves = [tensor.requires_grad_() for tensor in (*tables, gamma, border(device, 3))]
    return (*leaves, *lengths, None, 4, 3, True, True)


def local_arguments(
    device: torch.device, dtype: torch.dtype = torch.float64, ragged: bool = False
) -> tuple[Any, ...]:
    """Tables, gamma, border, lengths, what to keep."""
    tables = affine_arguments(device, dtype)[:6]
    lengths = [length.to(device) if ragged else None for length in LENGTHS]
    return (*tables, border(device, 5), *lengths, None, True, True)


def border(device: torch.device, *states: int) -> Tensor:
    """Of three tables of 4 x 5."""
    return normal(3, *states, 5 + 1 + 4, seed=4).to(device).requires_grad_()


def drop_dtw_arguments(
    device: torch.device, dtype: torch.dtype = torch.float64, ragged: bool = False
) -> tuple[Any, ...]:
    """cost, drop_x, drop_y, gamma, border, lengths, one_to_many, many_to_one, what to keep."""
    shapes = (3, 4, 5), (4, 1), (3, 1, 5)
    tables = [normal(*shape, seed=k).to(device, dtype) for k, shape in enumerate(shapes)]
    gamma = torch.full((3,), 0.5, dtype=torch.promote_types(dtype, torch.float32), device=device)
    lengths = [length.to(device) if ragged else None for length in LENGTHS]
    leaves = [tensor.requires_grad_() for tensor in (*tables, gamma, border(device, 2))]
    return (*leaves, *lengths, None, True, False, True, True)


ARGUMENTS = {
    "affine": affine_arguments,
    "drop_dtw": drop_dtw_arguments,
    "edit": edit_arguments,
    "lcs": lcs_arguments,
    "local": local_arguments,
    "monotonic": soft_dtw_arguments,
    "soft_dtw": soft_dtw_arguments,
}
DIFFERENTIABLE = {name: family.differentiable for name, family in FAMILIES.items()}


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_opcheck(
    compiled: ModuleType, device: torch.device, name: str, dtype: torch.dtype, ragged: bool
) -> None:
    arguments = ARGUMENTS[name](device, dtype, ragged)
    torch.library.opcheck(getattr(torch.ops.softdp, name), arguments)


@pytest.mark.parametrize("wanted", [0b1111111, 0b0000101])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_opcheck_of_backward(
    compiled: ModuleType, device: torch.device, name: str, wanted: int
) -> None:
    wanted &= (1 << DIFFERENTIABLE[name]) - 1
    with torch.no_grad():
        *arguments, _, keep_border = ARGUMENTS[name](device)
        outputs = getattr(torch.ops.softdp, name)(*arguments, True, keep_border)
        score, _, border_out = outputs
        upstream = torch.ones_like(score), torch.ones_like(border_out) if keep_border else None
        torch.library.opcheck(
            getattr(torch.ops.softdp, f"{name}_backward"),
            (*upstream, *outputs, *detached(arguments), wanted),
            test_utils=("test_schema", "test_faketensor"),
        )


def detached(arguments: list[Any]) -> list[Any]:
    return [item.detach() if isinstance(item, Tensor) else item for item in arguments]


def test_the_ops_differentiate_as_the_functions_do(
    compiled: ModuleType, device: torch.device
) -> None:
    edit = edit_arguments(device)
    score, *_ = torch.ops.softdp.edit(*edit)
    wanted = compiled.edit_similarity(*edit[:3], gamma=edit[3], leading_gaps="paid")
    assert score.equal(wanted)
    torch.testing.assert_close(gradients(score, edit[:4]), gradients(wanted, edit[:4]))

    lcs = lcs_arguments(device)
    score, *_ = torch.ops.softdp.lcs(*lcs[:3], None, *lcs[4:])
    wanted = compiled.lcs(*lcs[:2], gamma=lcs[2], gate_width=0.3)
    assert score.equal(wanted)
    torch.testing.assert_close(gradients(score, lcs[:3]), gradients(wanted, lcs[:3]))

    dtw = soft_dtw_arguments(device)
    score, *_ = torch.ops.softdp.soft_dtw(*dtw[:2], None, *dtw[3:])
    wanted = compiled.soft_dtw(dtw[0], gamma=dtw[1])
    assert score.equal(wanted)
    torch.testing.assert_close(gradients(score, dtw[:2]), gradients(wanted, dtw[:2]))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_without_kept_weights_an_op_says_why_it_has_no_gradient(
    compiled: ModuleType, device: torch.device, name: str
) -> None:
    arguments = ARGUMENTS[name](device)
    score, weights, edge = getattr(torch.ops.softdp, name)(*arguments[:-2], False, arguments[-1])
    assert weights.numel() == 0
    with pytest.raises(RuntimeError, match="keep_weights=True"):
        (edge if name in ("affine", "local") else score).sum().backward()


def test_ops_under_autocast_compute_in_float32(compiled: ModuleType, device: torch.device) -> None:
    arguments = edit_arguments(device, torch.bfloat16)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        score, *_ = torch.ops.softdp.edit(*arguments)
    wanted, *_ = torch.ops.softdp.edit(*(table.float() for table in arguments[:3]), *arguments[3:])
    assert score.dtype == torch.float32
    assert score.equal(wanted)
    for gradient, leaf in zip(gradients(score, arguments[:4]), arguments[:4], strict=True):
        assert gradient.dtype == leaf.dtype


@pytest.mark.host
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({0: torch.zeros(3, dtype=torch.float64)}, "must have shape"),
        ({0: torch.zeros(3, 4, 5, dtype=torch.int64)}, "must be float16, bfloat16, float32"),
        ({1: torch.zeros(4, dtype=torch.float64)}, "insert must broadcast"),
        ({1: torch.zeros(5)}, "insert must have the dtype"),
        ({3: torch.tensor(-1.0, dtype=torch.float64)}, "gamma must be"),
        ({3: torch.ones(2, dtype=torch.float64)}, "gamma must be"),
        ({5: torch.tensor([5, 0, 0]), 6: torch.tensor([0, 0, 0])}, "n_lengths must be in 0..4"),
        ({5: torch.tensor([1, 0, 0])}, "lengths must be given for both"),
        ({4: torch.zeros(3, 9)}, "border must be float64"),
        ({4: torch.zeros(3, 9, dtype=torch.float64)}, r"of shape \(\.\.\., m \+ 1 \+ n\)"),
        ({8: 9}, "leading_gaps must be"),
        ({9: 4}, "trailing_gaps must be"),
        ({2: torch.zeros(3, 4, 5, dtype=torch.float64)}, "paid leading gaps need"),
    ],
)
def test_the_op_refuses_what_would_read_out_of_bounds(
    compiled: ModuleType, changes: dict[int, Any], message: str
) -> None:
    arguments = list(edit_arguments(torch.device("cpu")))
    for place, value in changes.items():
        arguments[place] = value
    with pytest.raises(RuntimeError, match=message):
        torch.ops.softdp.edit(*arguments)


@pytest.mark.host
@pytest.mark.parametrize("name", ARGUMENTS)
def test_tensors_with_and_without_values_do_not_mix(compiled: ModuleType, name: str) -> None:
    # The dispatcher takes the kernel of meta: outputs would be memory that nobody has written.
    op, backward = (getattr(torch.ops.softdp, name + suffix) for suffix in ("", "_backward"))
    arguments = detached(list(ARGUMENTS[name](torch.device("cpu"), ragged=True)))
    output = op(*arguments)
    first = getattr(torch.ops.softdp, name).default._schema.arguments[0].name
    message = rf"softdp::{name}(_backward)?: all tensors must be on {first}'s device \w+, got \w+"
    score = output[0]
    for call, given in (
        (op, arguments),
        (backward, [score, None, *output, *arguments[:-2], -1]),
    ):
        for place, item in enumerate(given):
            if isinstance(item, Tensor):
                mixed = [*given[:place], item.to("meta"), *given[place + 1 :]]
                with pytest.raises(RuntimeError, match=message):
                    call(*mixed)


@pytest.mark.host
def test_meta_tensors_have_shapes(compiled: ModuleType) -> None:
    match = torch.empty(2, 3, 4, 5, device="meta", dtype=torch.float16, requires_grad=True)
    score = compiled.edit_similarity(match, -1.0, -1.0)
    assert (score.shape, score.dtype, score.device.type) == ((2, 3), torch.float32, "meta")
    (gradient,) = gradients(score, [match])
    assert (gradient.shape, gradient.dtype) == (match.shape, torch.float16)


@pytest.mark.host
def test_a_device_without_kernels_is_refused(compiled: ModuleType) -> None:
    from softdp._extension import require_kernels

    with pytest.raises(RuntimeError, match=r"^lcs: no kernels for device mps, only for cpu"):
        require_kernels("lcs", torch.device("mps"))


@pytest.mark.parametrize("shape", [(5, 7), (1, 33), (70, 1), (0, 4), (4, 0), (9, 127), (9, 128)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_fake_weights_have_the_size_of_the_real_ones(
    compiled: ModuleType, device: torch.device, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    for batch in (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 40):
        match = torch.zeros(batch, *shape, dtype=dtype, device=device)
        number = match.new_zeros(())
        options = (number, number, number, None, None, None, None, 0, 3, False, True, True)
        _, weights, border_out = torch.ops.softdp.edit(match, *options)
        with FakeTensorMode() as mode:
            fake = [
                mode.from_tensor(option) if isinstance(option, Tensor) else option
                for option in (match, *options)
            ]
            _, fake_weights, fake_border = torch.ops.softdp.edit(*fake)
        assert fake_weights.shape == weights.shape
        assert fake_weights.dtype == weights.dtype
        assert fake_border.shape == border_out.shape


@pytest.mark.host
def test_states_that_no_family_has_are_refused(compiled: ModuleType) -> None:
    for states in (0, -1, 4, 2**62):
        with pytest.raises(RuntimeError, match=f"no family has cells of {states} states$"):
            torch.ops.softdp.weights_numel(2, 3, 4, states, False, False)


@pytest.mark.host
@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("size", [-1, -(2**63), 2**62, 2**63 - 1])
def test_sizes_that_no_table_has_are_refused(compiled: ModuleType, place: int, size: int) -> None:
    sizes = [2, 3, 4]
    assert torch.ops.softdp.weights_numel(*sizes, 1, False, False) > 0
    sizes[place] = size
    for wide in (False, True):
        for cuda in (False, True):
            with pytest.raises(RuntimeError, match=f"^softdp::weights_numel: pairs, n .* {size}$"):
                torch.ops.softdp.weights_numel(*sizes, 3, wide, cuda)
