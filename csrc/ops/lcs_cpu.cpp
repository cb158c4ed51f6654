#include <torch/csrc/stable/library.h>

#include "../recurrence/lcs.h"
#include "cpu.h"

namespace softdp::cpu {
namespace {

Call<Lcs> lcs_call(const Tensor& similarity, const Tensor& threshold, const Tensor& gamma,
                   const std::optional<Tensor>& n_lengths, const std::optional<Tensor>& m_lengths, double gate_width) {
  STD_TORCH_CHECK(gate_width >= 0, "softdp::lcs: gate_width must be at least 0, got ", gate_width);
  return {"softdp::lcs", {gate_width},      {{"similarity", similarity}}, {{"threshold", threshold}}, gamma, n_lengths,
          m_lengths,     LeadingGaps::kFree};
}

std::tuple<Tensor, Tensor> lcs(Tensor similarity, Tensor threshold, Tensor gamma, std::optional<Tensor> n_lengths,
                               std::optional<Tensor> m_lengths, double gate_width, bool keep_weights) {
  return forward(lcs_call(similarity, threshold, gamma, n_lengths, m_lengths, gate_width), keep_weights);
}

std::tuple<Tensor, Tensor, Tensor> lcs_backward(Tensor score_gradient, Tensor score, Tensor weights, Tensor similarity,
                                                Tensor threshold, Tensor gamma, std::optional<Tensor> n_lengths,
                                                std::optional<Tensor> m_lengths, double gate_width, int64_t wanted) {
  const auto gradients = backward(lcs_call(similarity, threshold, gamma, n_lengths, m_lengths, gate_width),
                                  score_gradient, score, weights, wanted);
  return {gradients[0], gradients[1], gradients[2]};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(softdp, CPU, m) {
  m.impl("lcs", TORCH_BOX(&lcs));
  m.impl("lcs_backward", TORCH_BOX(&lcs_backward));
}

}  // namespace softdp::cpu
