// The ops of torch.ops.softdp, for every device, and the Python module that carries the facts of this build.
#include <pybind11/pybind11.h>
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(softdp, m) {
  m.def(
      "edit(Tensor match, Tensor insert, Tensor delete, Tensor gamma, Tensor? n_lengths, Tensor? m_lengths, "
      "str leading_gaps, bool minimise, bool keep_weights) -> (Tensor score, Tensor weights)");
  m.def(
      "edit_backward(Tensor score_gradient, Tensor score, Tensor weights, Tensor match, Tensor insert, Tensor delete, "
      "Tensor gamma, Tensor? n_lengths, Tensor? m_lengths, str leading_gaps, bool minimise, int wanted) "
      "-> (Tensor match, Tensor insert, Tensor delete, Tensor gamma)");
  m.def(
      "lcs(Tensor similarity, Tensor threshold, Tensor gamma, Tensor? n_lengths, Tensor? m_lengths, "
      "float gate_width, bool keep_weights) -> (Tensor score, Tensor weights)");
  m.def(
      "lcs_backward(Tensor score_gradient, Tensor score, Tensor weights, Tensor similarity, Tensor threshold, "
      "Tensor gamma, Tensor? n_lengths, Tensor? m_lengths, float gate_width, int wanted) "
      "-> (Tensor similarity, Tensor gamma, Tensor threshold)");
}

PYBIND11_MODULE(_C, m) {
  m.attr("torch_version") = SOFTDP_TORCH_VERSION;
  m.attr("compiler") = __VERSION__;
}
