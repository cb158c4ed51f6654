"""The ops of torch.ops.softdp, by their schemas; tests/softdp/test_ops.py writes this."""

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
@_op
def affine(match: Tensor, open_delete: Tensor, extend_delete: Tensor, open_insert: Tensor,
    extend_insert: Tensor, gamma: Tensor, border: Tensor | None, n_lengths: Tensor | None,
    m_lengths: Tensor | None, band: Tensor | None, leading_gaps: int, trailing_gaps: int,
    keep_weights: bool, keep_border: bool) -> tuple[Tensor, Tensor, Tensor]: ...
@_op
def affine_backward(score_gradient: Tensor, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, match: Tensor, open_delete: Tensor, extend_delete: Tensor,
    open_insert: Tensor, extend_insert: Tensor, gamma: Tensor, border: Tensor | None,
    n_lengths: Tensor | None, m_lengths: Tensor | None, band: Tensor | None, leading_gaps: int,
    trailing_gaps: int, wanted: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
    Tensor]: ...
@_op
def affine_tangent(score_gradient: Tensor | None, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, match_tangent: Tensor, open_delete_tangent: Tensor,
    extend_delete_tangent: Tensor, open_insert_tangent: Tensor, extend_insert_tangent: Tensor,
    gamma_tangent: Tensor, border_tangent: Tensor | None, match: Tensor, open_delete: Tensor,
    extend_delete: Tensor, open_insert: Tensor, extend_insert: Tensor, gamma: Tensor,
    border: Tensor | None, n_lengths: Tensor | None, m_lengths: Tensor | None, band: Tensor | None,
    leading_gaps: int, trailing_gaps: int, wanted: int, keep_border: bool) -> tuple[Tensor, Tensor,
    Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]: ...
@_op
def cuda_architectures() -> str: ...
@_op
def drop_dtw(cost: Tensor, drop_x: Tensor, drop_y: Tensor, gamma: Tensor, border: Tensor | None,
    n_lengths: Tensor | None, m_lengths: Tensor | None, band: Tensor | None, one_to_many: bool,
    many_to_one: bool, keep_weights: bool, keep_border: bool) -> tuple[Tensor, Tensor, Tensor]: ...
@_op
def drop_dtw_backward(score_gradient: Tensor, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, cost: Tensor, drop_x: Tensor, drop_y: Tensor,
    gamma: Tensor, border: Tensor | None, n_lengths: Tensor | None, m_lengths: Tensor | None,
    band: Tensor | None, one_to_many: bool, many_to_one: bool, wanted: int) -> tuple[Tensor, Tensor,
    Tensor, Tensor, Tensor]: ...
@_op
def drop_dtw_tangent(score_gradient: Tensor | None, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, cost_tangent: Tensor, drop_x_tangent: Tensor,
    drop_y_tangent: Tensor, gamma_tangent: Tensor, border_tangent: Tensor | None, cost: Tensor,
    drop_x: Tensor, drop_y: Tensor, gamma: Tensor, border: Tensor | None, n_lengths: Tensor | None,
    m_lengths: Tensor | None, band: Tensor | None, one_to_many: bool, many_to_one: bool,
    wanted: int, keep_border: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
    Tensor]: ...
@_op
def edit(match: Tensor, insert: Tensor, delete: Tensor, gamma: Tensor, border: Tensor | None,
    n_lengths: Tensor | None, m_lengths: Tensor | None, band: Tensor | None, leading_gaps: int,
    trailing_gaps: int, minimise: bool, keep_weights: bool, keep_border: bool) -> tuple[Tensor,
    Tensor, Tensor]: ...
@_op
def edit_backward(score_gradient: Tensor, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, match: Tensor, insert: Tensor, delete: Tensor,
    gamma: Tensor, border: Tensor | None, n_lengths: Tensor | None, m_lengths: Tensor | None,
    band: Tensor | None, leading_gaps: int, trailing_gaps: int, minimise: bool,
    wanted: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]: ...
@_op
def edit_tangent(score_gradient: Tensor | None, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, match_tangent: Tensor, insert_tangent: Tensor,
    delete_tangent: Tensor, gamma_tangent: Tensor, border_tangent: Tensor | None, match: Tensor,
    insert: Tensor, delete: Tensor, gamma: Tensor, border: Tensor | None, n_lengths: Tensor | None,
    m_lengths: Tensor | None, band: Tensor | None, leading_gaps: int, trailing_gaps: int,
    minimise: bool, wanted: int, keep_border: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor,
    Tensor, Tensor]: ...
@_op
def lcs(similarity: Tensor, threshold: Tensor, gamma: Tensor, border: Tensor | None,
    n_lengths: Tensor | None, m_lengths: Tensor | None, band: Tensor | None, gate_width: float,
    keep_weights: bool, keep_border: bool) -> tuple[Tensor, Tensor, Tensor]: ...
@_op
def lcs_backward(score_gradient: Tensor, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, similarity: Tensor, threshold: Tensor, gamma: Tensor,
    border: Tensor | None, n_lengths: Tensor | None, m_lengths: Tensor | None, band: Tensor | None,
    gate_width: float, wanted: int) -> tuple[Tensor, Tensor, Tensor, Tensor]: ...
@_op
def lcs_tangent(score_gradient: Tensor | None, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, similarity_tangent: Tensor, threshold_tangent: Tensor,
    gamma_tangent: Tensor, border_tangent: Tensor | None, similarity: Tensor, threshold: Tensor,
    gamma: Tensor, border: Tensor | None, n_lengths: Tensor | None, m_lengths: Tensor | None,
    band: Tensor | None, gate_width: float, wanted: int, keep_border: bool) -> tuple[Tensor, Tensor,
    Tensor, Tensor, Tensor, Tensor]: ...
@_op
def local(match: Tensor, open_delete: Tensor, extend_delete: Tensor, open_insert: Tensor,
    extend_insert: Tensor, gamma: Tensor, border: Tensor | None, n_lengths: Tensor | None,
    m_lengths: Tensor | None, band: Tensor | None, keep_weights: bool,
    keep_border: bool) -> tuple[Tensor, Tensor, Tensor]: ...
@_op
def local_backward(score_gradient: Tensor, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, match: Tensor, open_delete: Tensor, extend_delete: Tensor,
    open_insert: Tensor, extend_insert: Tensor, gamma: Tensor, border: Tensor | None,
    n_lengths: Tensor | None, m_lengths: Tensor | None, band: Tensor | None,
    wanted: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]: ...
@_op
def local_tangent(score_gradient: Tensor | None, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, match_tangent: Tensor, open_delete_tangent: Tensor,
    extend_delete_tangent: Tensor, open_insert_tangent: Tensor, extend_insert_tangent: Tensor,
    gamma_tangent: Tensor, border_tangent: Tensor | None, match: Tensor, open_delete: Tensor,
    extend_delete: Tensor, open_insert: Tensor, extend_insert: Tensor, gamma: Tensor,
    border: Tensor | None, n_lengths: Tensor | None, m_lengths: Tensor | None, band: Tensor | None,
    wanted: int, keep_border: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
    Tensor, Tensor]: ...
@_op
def monotonic(log_p: Tensor, gamma: Tensor, border: Tensor | None, n_lengths: Tensor | None,
    m_lengths: Tensor | None, band: Tensor | None, keep_weights: bool,
    keep_border: bool) -> tuple[Tensor, Tensor, Tensor]: ...
@_op
def monotonic_backward(score_gradient: Tensor, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, log_p: Tensor, gamma: Tensor, border: Tensor | None,
    n_lengths: Tensor | None, m_lengths: Tensor | None, band: Tensor | None,
    wanted: int) -> tuple[Tensor, Tensor, Tensor]: ...
@_op
def monotonic_tangent(score_gradient: Tensor | None, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, log_p_tangent: Tensor, gamma_tangent: Tensor,
    border_tangent: Tensor | None, log_p: Tensor, gamma: Tensor, border: Tensor | None,
    n_lengths: Tensor | None, m_lengths: Tensor | None, band: Tensor | None, wanted: int,
    keep_border: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]: ...
@_op
def soft_dtw(cost: Tensor, gamma: Tensor, border: Tensor | None, n_lengths: Tensor | None,
    m_lengths: Tensor | None, band: Tensor | None, keep_weights: bool,
    keep_border: bool) -> tuple[Tensor, Tensor, Tensor]: ...
@_op
def soft_dtw_backward(score_gradient: Tensor, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, cost: Tensor, gamma: Tensor, border: Tensor | None,
    n_lengths: Tensor | None, m_lengths: Tensor | None, band: Tensor | None,
    wanted: int) -> tuple[Tensor, Tensor, Tensor]: ...
@_op
def soft_dtw_tangent(score_gradient: Tensor | None, border_gradient: Tensor | None, score: Tensor,
    weights: Tensor, border_out: Tensor, cost_tangent: Tensor, gamma_tangent: Tensor,
    border_tangent: Tensor | None, cost: Tensor, gamma: Tensor, border: Tensor | None,
    n_lengths: Tensor | None, m_lengths: Tensor | None, band: Tensor | None, wanted: int,
    keep_border: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]: ...
@_op
def walk(weights: Tensor, first: Tensor, n_lengths: Tensor | None, m_lengths: Tensor | None,
    band: Tensor | None, score: Tensor, cells: Tensor | None, paths: int, states: int,
    leading_gaps: int, minimise: bool, seeds: Tensor | None) -> tuple[Tensor, Tensor, Tensor]: ...
@_op
def weights_numel(pairs: int, n: int, m: int, states: int, wide: bool, cuda: bool) -> int: ...
