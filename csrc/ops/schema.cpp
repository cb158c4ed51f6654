// The ops of torch.ops.softdp, for every device, and the Python module that carries the facts of this build.
#include <pybind11/pybind11.h>
#include <torch/csrc/stable/library.h>

// leading_gaps counts LeadingGaps of csrc/wavefront/table.h: 0 free, 1 paid, 2 forbidden.
//
// Of each family an op and its backward: tables, parameters and gamma come first, then the lengths, then options. The
// backward returns the gradients of the tables, of gamma and of the parameters; bit k of `wanted` asks for the k-th.
STABLE_TORCH_LIBRARY(softdp, m) {
  m.def(
      "edit(Tensor match, Tensor insert, Tensor delete, Tensor gamma, Tensor? n_lengths, Tensor? m_lengths, "
      "int leading_gaps, bool minimise, bool keep_weights) -> (Tensor score, Tensor weights)");
  m.def(
      "edit_backward(Tensor score_gradient, Tensor score, Tensor weights, Tensor match, Tensor insert, Tensor delete, "
      "Tensor gamma, Tensor? n_lengths, Tensor? m_lengths, int leading_gaps, bool minimise, int wanted) "
      "-> (Tensor match, Tensor insert, Tensor delete, Tensor gamma)");
  m.def(
      "lcs(Tensor similarity, Tensor threshold, Tensor gamma, Tensor? n_lengths, Tensor? m_lengths, "
      "float gate_width, bool keep_weights) -> (Tensor score, Tensor weights)");
  m.def(
      "lcs_backward(Tensor score_gradient, Tensor score, Tensor weights, Tensor similarity, Tensor threshold, "
      "Tensor gamma, Tensor? n_lengths, Tensor? m_lengths, float gate_width, int wanted) "
      "-> (Tensor similarity, Tensor gamma, Tensor threshold)");
  m.def(
      "soft_dtw(Tensor cost, Tensor gamma, Tensor? n_lengths, Tensor? m_lengths, bool keep_weights) "
      "-> (Tensor score, Tensor weights)");
  m.def(
      "soft_dtw_backward(Tensor score_gradient, Tensor score, Tensor weights, Tensor cost, Tensor gamma, "
      "Tensor? n_lengths, Tensor? m_lengths, int wanted) -> (Tensor cost, Tensor gamma)");
}

PYBIND11_MODULE(_C, m) {
  m.attr("torch_version") = SOFTDP_TORCH_VERSION;
  m.attr("compiler") = __VERSION__;
}
