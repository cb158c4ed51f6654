// The ops of torch.ops.softdp, for every device.
#include <torch/csrc/stable/library.h>

// Of each family an op and its backward. What has a gradient comes first: tables, parameters, gamma, the border that
// the sweep begins from; then the lengths, then options. The backward takes the outputs and their gradients before
// these, and returns the gradients in the same order; bit k of `wanted` asks for the k-th.
//
// And the tangent of both, along a direction that is given beside the inputs: how the score and the border change
// (without keep_border it is empty), then how the gradients do.
//
// leading_gaps: a + 3 b for x and y, each 0 free, 1 paid, 2 forbidden; trailing_gaps: a + 2 b, each 1 paid, 0 not.
STABLE_TORCH_LIBRARY(softdp, m) {
  m.def(
      "edit(Tensor match, Tensor insert, Tensor delete, Tensor gamma, Tensor? border, Tensor? n_lengths, "
      "Tensor? m_lengths, Tensor? band, int leading_gaps, int trailing_gaps, bool minimise, bool keep_weights, bool "
      "keep_border) "
      "-> (Tensor score, Tensor weights, Tensor border)");
  m.def(
      "edit_backward(Tensor score_gradient, Tensor? border_gradient, Tensor score, Tensor weights, Tensor border_out, "
      "Tensor match, Tensor insert, Tensor delete, Tensor gamma, Tensor? border, Tensor? n_lengths, Tensor? m_lengths, "
      "Tensor? band, "
      "int leading_gaps, int trailing_gaps, bool minimise, int wanted) "
      "-> (Tensor match, Tensor insert, Tensor delete, Tensor gamma, Tensor border)");
  m.def(
      "edit_tangent(Tensor? score_gradient, Tensor? border_gradient, Tensor score, Tensor weights, Tensor "
      "border_out, Tensor match_tangent, Tensor insert_tangent, Tensor delete_tangent, Tensor gamma_tangent, "
      "Tensor? border_tangent, Tensor match, Tensor insert, Tensor delete, Tensor gamma, Tensor? border, Tensor? "
      "n_lengths, Tensor? m_lengths, Tensor? band, int leading_gaps, int trailing_gaps, bool minimise, int wanted, "
      "bool keep_border) -> (Tensor score, Tensor border_out, Tensor match, Tensor insert, Tensor delete, Tensor "
      "gamma, Tensor border)");
  // Of three states, so that border and border_out are (batch..., 3, m + 1 + n), and a score is made of border_out. An
  // `open` is what the first step of a gap is worth, an `extend` what each further one is.
  m.def(
      "affine(Tensor match, Tensor open_delete, Tensor extend_delete, Tensor open_insert, Tensor extend_insert, Tensor "
      "gamma, Tensor? border, Tensor? n_lengths, Tensor? m_lengths, Tensor? band, int leading_gaps, int trailing_gaps, "
      "bool keep_weights, bool keep_border) -> (Tensor score, Tensor weights, Tensor border)");
  m.def(
      "affine_backward(Tensor score_gradient, Tensor? border_gradient, Tensor score, Tensor weights, Tensor "
      "border_out, "
      "Tensor match, Tensor open_delete, Tensor extend_delete, Tensor open_insert, Tensor extend_insert, Tensor gamma, "
      "Tensor? border, Tensor? n_lengths, Tensor? m_lengths, Tensor? band, int leading_gaps, int trailing_gaps, int "
      "wanted) -> (Tensor match, Tensor open_delete, Tensor extend_delete, Tensor open_insert, Tensor extend_insert, "
      "Tensor gamma, Tensor border)");
  m.def(
      "affine_tangent(Tensor? score_gradient, Tensor? border_gradient, Tensor score, Tensor weights, Tensor "
      "border_out, "
      "Tensor match_tangent, Tensor open_delete_tangent, Tensor extend_delete_tangent, Tensor open_insert_tangent, "
      "Tensor extend_insert_tangent, Tensor gamma_tangent, Tensor? border_tangent, Tensor match, Tensor open_delete, "
      "Tensor extend_delete, Tensor open_insert, Tensor extend_insert, Tensor gamma, Tensor? border, Tensor? "
      "n_lengths, "
      "Tensor? m_lengths, Tensor? band, int leading_gaps, int trailing_gaps, int wanted, bool keep_border) -> (Tensor "
      "score, Tensor border_out, Tensor match, Tensor open_delete, Tensor extend_delete, Tensor open_insert, Tensor "
      "extend_insert, Tensor gamma, Tensor border)");
  m.def(
      "lcs(Tensor similarity, Tensor threshold, Tensor gamma, Tensor? border, Tensor? n_lengths, Tensor? m_lengths, "
      "Tensor? band, "
      "float gate_width, bool keep_weights, bool keep_border) -> (Tensor score, Tensor weights, Tensor border)");
  m.def(
      "lcs_backward(Tensor score_gradient, Tensor? border_gradient, Tensor score, Tensor weights, Tensor border_out, "
      "Tensor similarity, Tensor threshold, Tensor gamma, Tensor? border, Tensor? n_lengths, Tensor? m_lengths, "
      "Tensor? band, "
      "float gate_width, int wanted) -> (Tensor similarity, Tensor threshold, Tensor gamma, Tensor border)");
  m.def(
      "lcs_tangent(Tensor? score_gradient, Tensor? border_gradient, Tensor score, Tensor weights, Tensor "
      "border_out, Tensor similarity_tangent, Tensor threshold_tangent, Tensor gamma_tangent, Tensor? "
      "border_tangent, Tensor similarity, Tensor threshold, Tensor gamma, Tensor? border, Tensor? n_lengths, "
      "Tensor? m_lengths, Tensor? band, float gate_width, int wanted, bool keep_border) -> (Tensor score, Tensor "
      "border_out, Tensor similarity, Tensor threshold, Tensor gamma, Tensor border)");
  m.def(
      "soft_dtw(Tensor cost, Tensor gamma, Tensor? border, Tensor? n_lengths, Tensor? m_lengths, Tensor? band, bool "
      "keep_weights, "
      "bool keep_border) -> (Tensor score, Tensor weights, Tensor border)");
  m.def(
      "soft_dtw_backward(Tensor score_gradient, Tensor? border_gradient, Tensor score, Tensor weights, "
      "Tensor border_out, Tensor cost, Tensor gamma, Tensor? border, Tensor? n_lengths, Tensor? m_lengths, Tensor? "
      "band, int wanted) "
      "-> (Tensor cost, Tensor gamma, Tensor border)");
  m.def(
      "soft_dtw_tangent(Tensor? score_gradient, Tensor? border_gradient, Tensor score, Tensor weights, Tensor "
      "border_out, Tensor cost_tangent, Tensor gamma_tangent, Tensor? border_tangent, Tensor cost, Tensor gamma, "
      "Tensor? border, Tensor? n_lengths, Tensor? m_lengths, Tensor? band, int wanted, bool keep_border) -> "
      "(Tensor score, Tensor border_out, Tensor cost, Tensor gamma, Tensor border)");
  // Paths back from cells (row, column, state; counted from 1, as those of the border are 0; none: -1), or from the
  // last one, to where they begin, by the weights of any family whose cells have so many states. first: its first
  // table, of which the shape, the dtype and the device count. score: of all paths of a pair, which has none where that
  // is the score of no path, or no number. Without seeds along the arcs of largest weight, in ties match, delete,
  // insert; with one for each pair, along arcs drawn by their weights.
  m.def(
      "walk(Tensor weights, Tensor first, Tensor? n_lengths, Tensor? m_lengths, Tensor? band, Tensor score, Tensor? "
      "cells, int paths, int states, int leading_gaps, bool minimise, Tensor? seeds) -> (Tensor pairs, Tensor arcs, "
      "Tensor lengths)");
}
