"""Every argument that does not fit is refused, in words that say which and why."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from types import ModuleType
from typing import Any

import pytest
import torch

MATCH = torch.zeros(4, 7, 9)
PAIR_LENGTHS = torch.tensor([1, 2, 3, 4])

EDIT_ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"match": [[1.0]]},
        TypeError,
        "edit_similarity: match must be a tensor, got list",
    ),
    (
        {"match": torch.zeros(3)},
        ValueError,
        "edit_similarity: match must have shape (..., n, m) with at most 18 dimensions, got (3,)",
    ),
    (
        {"match": torch.zeros(3, 3, dtype=torch.int64)},
        TypeError,
        "edit_similarity: match must be float16, bfloat16, float32 or float64, got int64",
    ),
    (
        {"match": torch.zeros(3, 3, dtype=torch.complex64)},
        TypeError,
        "edit_similarity: match must be float16, bfloat16, float32 or float64, got complex64",
    ),
    (
        {"match": torch.zeros([1] * 19)},
        ValueError,
        "edit_similarity: match must have shape (..., n, m) with at most 18 dimensions, got "
        f"{(1,) * 19}",
    ),
    (
        {"match": torch.zeros(3, 3).to_sparse()},
        TypeError,
        "edit_similarity: match must be a dense tensor, got layout torch.sparse_coo",
    ),
    (
        {"insert": 1e300},
        ValueError,
        "edit_similarity: insert must fit float32, got 1e+300",
    ),
    (
        {"delete": 10**39},
        ValueError,
        "edit_similarity: delete must fit float32, got 1e+39",
    ),
    (
        {"insert": -(10**5000)},
        ValueError,
        "edit_similarity: insert must fit float32, got a number beyond 1.8e308",
    ),
    (
        {"match": MATCH.double(), "gamma": Fraction(10**400)},
        ValueError,
        "edit_similarity: gamma must fit float64, got a number beyond 1.8e308",
    ),
    (
        {"lengths": (torch.ones(4, dtype=torch.int64, device="meta"), PAIR_LENGTHS)},
        ValueError,
        "edit_similarity: lengths[0] must have values, got a tensor on meta",
    ),
    (
        {"insert": torch.zeros(4, 7, 8)},
        ValueError,
        "edit_similarity: insert must broadcast to match's shape (4, 7, 9), got (4, 7, 8)",
    ),
    (
        {"delete": torch.zeros(2, 4, 7, 9)},
        ValueError,
        "edit_similarity: delete must broadcast to match's shape (4, 7, 9), got (2, 4, 7, 9)",
    ),
    (
        {"insert": torch.zeros(1, 9, dtype=torch.float64)},
        TypeError,
        "edit_similarity: insert must have match's dtype float32, got float64",
    ),
    (
        {"insert": torch.zeros(1, 9, dtype=torch.float16)},
        TypeError,
        "edit_similarity: insert must have match's dtype float32, got float16",
    ),
    (
        {"delete": torch.zeros(1, dtype=torch.int64)},
        TypeError,
        "edit_similarity: delete must have match's dtype float32, got int64",
    ),
    (
        {"match": MATCH.half(), "delete": torch.zeros(1, dtype=torch.bfloat16)},
        TypeError,
        "edit_similarity: delete must have match's dtype float16, got bfloat16",
    ),
    (
        {"insert": torch.zeros(1, 9, device="meta")},
        ValueError,
        "edit_similarity: insert must be on match's device cpu, got meta",
    ),
    (
        {"insert": "0.5"},
        TypeError,
        "edit_similarity: insert must be a number or a tensor, got str",
    ),
    (
        {"leading_gaps": "none"},
        ValueError,
        (
            "edit_similarity: leading_gaps must be 'free', 'paid' or 'forbidden', or two of these "
            "for x and y, got 'none'"
        ),
    ),
    (
        {"leading_gaps": "paid", "insert": torch.zeros(4, 7, 9)},
        ValueError,
        (
            "edit_similarity: leading_gaps='paid' in y needs an insert that does not vary along n, "
            "shape (..., 1, 9), or one with a row more for those gaps, shape (..., 8, 9); "
            "got (4, 7, 9)"
        ),
    ),
    (
        {"leading_gaps": "paid", "delete": torch.zeros(9)},
        ValueError,
        (
            "edit_similarity: leading_gaps='paid' in x needs a delete that does not vary along m, "
            "shape (..., 7, 1), or one with a column more for those gaps, shape (..., 7, 10); "
            "got (9,)"
        ),
    ),
    (
        {"gamma": -0.5},
        ValueError,
        "edit_similarity: gamma must be >= 0 and finite, got -0.5",
    ),
    (
        {"gamma": math.nan},
        ValueError,
        "edit_similarity: gamma must be >= 0 and finite, got nan",
    ),
    (
        {"gamma": math.inf},
        ValueError,
        "edit_similarity: gamma must be >= 0 and finite, got inf",
    ),
    (
        {"gamma": torch.tensor([0.5, 0.0, -0.25, 1.0])},
        ValueError,
        "edit_similarity: gamma must be >= 0 and finite, got -0.25",
    ),
    (
        {"gamma": torch.tensor(math.nan)},
        ValueError,
        "edit_similarity: gamma must be >= 0 and finite, got nan",
    ),
    (
        {"gamma": torch.tensor([0.5, 0.0, math.inf, 1.0])},
        ValueError,
        "edit_similarity: gamma must be >= 0 and finite, got inf",
    ),
    (
        {"gamma": torch.ones(3)},
        ValueError,
        (
            "edit_similarity: gamma must be a number or have shape () or one that broadcasts to "
            "match's batch shape (4,), got (3,)"
        ),
    ),
    (
        {"gamma": torch.ones(4, dtype=torch.float64)},
        TypeError,
        "edit_similarity: gamma must have match's dtype float32, got float64",
    ),
    (
        {"gamma": None},
        TypeError,
        "edit_similarity: gamma must be a number or a tensor, got NoneType",
    ),
    (
        {"lengths": PAIR_LENGTHS},
        TypeError,
        (
            "edit_similarity: lengths must be a pair (n_lengths, m_lengths), each an integer "
            "tensor or list, an integer or None, got Tensor"
        ),
    ),
    (
        {"lengths": (PAIR_LENGTHS, "3")},
        TypeError,
        (
            "edit_similarity: lengths[1] must be an integer tensor or list, an integer or None, "
            "got str"
        ),
    ),
    (
        {"lengths": (PAIR_LENGTHS.float(), PAIR_LENGTHS)},
        TypeError,
        "edit_similarity: lengths[0] must be of integers, got float32",
    ),
    (
        {"lengths": (PAIR_LENGTHS, PAIR_LENGTHS > 1)},
        TypeError,
        "edit_similarity: lengths[1] must be of integers, got bool",
    ),
    (
        {"lengths": (PAIR_LENGTHS[:3], PAIR_LENGTHS)},
        ValueError,
        (
            "edit_similarity: lengths[0] must have match's batch shape (4,) or one that "
            "broadcasts to it, got (3,)"
        ),
    ),
    (
        {"lengths": (2 * PAIR_LENGTHS, PAIR_LENGTHS)},
        ValueError,
        "edit_similarity: lengths[0] must be in 0..7, got 8",
    ),
    (
        {"lengths": (PAIR_LENGTHS, PAIR_LENGTHS - 2)},
        ValueError,
        "edit_similarity: lengths[1] must be in 0..9, got -1",
    ),
    (
        {"match": torch.zeros(9, 7, 9), "insert": torch.zeros(9)},
        ValueError,
        (
            "edit_similarity: insert has match's batch shape (9,): one number for each pair has "
            "shape (9, 1, 1), numbers that all 9 pairs share have shape (1, 1, 9)"
        ),
    ),
    (
        {"match": torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(4, 3)])},
        TypeError,
        (
            "edit_similarity: match must be a dense tensor, got a nested one; pad it "
            "(torch.nested.to_padded_tensor) and give its lengths"
        ),
    ),
]

LCS_ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"similarity": torch.zeros(3)},
        ValueError,
        "lcs: similarity must have shape (..., n, m) with at most 18 dimensions, got (3,)",
    ),
    (
        {"similarity": torch.zeros(3, 3, dtype=torch.int32)},
        TypeError,
        "lcs: similarity must be float16, bfloat16, float32 or float64, got int32",
    ),
    (
        {"threshold": torch.zeros(7, 1)},
        ValueError,
        (
            "lcs: threshold must be a number or have shape () or one that broadcasts to "
            "similarity's batch shape (4,), got (7, 1)"
        ),
    ),
    (
        {"threshold": torch.zeros(4, dtype=torch.float64)},
        TypeError,
        "lcs: threshold must have similarity's dtype float32, got float64",
    ),
    ({"gamma": -1}, ValueError, "lcs: gamma must be >= 0 and finite, got -1"),
    ({"gate_width": -0.5}, ValueError, "lcs: gate_width must be 0 or >= 1.2e-38, got -0.5"),
    ({"gate_width": math.nan}, ValueError, "lcs: gate_width must be 0 or >= 1.2e-38, got nan"),
    ({"gate_width": 10**39}, ValueError, f"lcs: gate_width must fit float32, got {10**39}"),
    (
        {"gate_width": 10**400},
        ValueError,
        "lcs: gate_width must fit float32, got a number beyond 1.8e308",
    ),
    (
        {"gate_width": torch.tensor(0.5)},
        TypeError,
        "lcs: gate_width must be a number, got Tensor",
    ),
    (
        {"lengths": (PAIR_LENGTHS, PAIR_LENGTHS + 6)},
        ValueError,
        "lcs: lengths[1] must be in 0..9, got 10",
    ),
]


@pytest.mark.host
@pytest.mark.parametrize(
    ("changes", "error", "message"), EDIT_ERRORS, ids=[case[2][17:60] for case in EDIT_ERRORS]
)
def test_edit_similarity(
    implementation: ModuleType, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {"match": MATCH, "insert": -1.0, "delete": -1.0} | changes
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        implementation.edit_similarity(**arguments)


@pytest.mark.host
@pytest.mark.parametrize(
    ("changes", "error", "message"), LCS_ERRORS, ids=[case[2][5:50] for case in LCS_ERRORS]
)
def test_lcs(
    implementation: ModuleType, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {"similarity": MATCH, "threshold": 0.5} | changes
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        implementation.lcs(**arguments)


@pytest.mark.host
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"cost": torch.zeros(3)},
            ValueError,
            "soft_dtw: cost must have shape (..., n, m) with at most 18 dimensions, got (3,)",
        ),
        (
            {"cost": torch.zeros(3, 3, dtype=torch.int32)},
            TypeError,
            "soft_dtw: cost must be float16, bfloat16, float32 or float64, got int32",
        ),
        ({"gamma": -1}, ValueError, "soft_dtw: gamma must be >= 0 and finite, got -1"),
        (
            {"lengths": (PAIR_LENGTHS, PAIR_LENGTHS + 6)},
            ValueError,
            "soft_dtw: lengths[1] must be in 0..9, got 10",
        ),
    ],
)
def test_soft_dtw(
    implementation: ModuleType, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        implementation.soft_dtw(**({"cost": MATCH} | changes))


@pytest.mark.host
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3), 1.0, 1.0), "edit_distance: substitute must have shape (..., n, m)"),
        (
            (MATCH, torch.zeros(7, 9), 1.0),
            "edit_distance: leading_gaps='paid' in y needs an insert that does not vary",
        ),
        (
            (MATCH, 1.0, torch.zeros(6, 1)),
            "edit_distance: delete must broadcast to substitute's shape (4, 7, 9), got (6, 1)",
        ),
    ],
)
def test_edit_distance_speaks_of_its_own_arguments(
    implementation: ModuleType, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        implementation.edit_distance(*arguments)
