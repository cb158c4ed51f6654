#include "../recurrence/soft_dtw.h"

#include <torch/csrc/stable/library.h>

#include "cpu.h"

namespace softdp::cpu {
namespace {

Call<SoftDtw> soft_dtw_call(const Tensor& cost, const Tensor& gamma, const std::optional<Tensor>& n_lengths,
                            const std::optional<Tensor>& m_lengths) {
  return {"softdp::soft_dtw", {}, {{"cost", cost}}, {}, gamma, n_lengths, m_lengths, LeadingGaps::kForbidden};
}

std::tuple<Tensor, Tensor> soft_dtw(Tensor cost, Tensor gamma, std::optional<Tensor> n_lengths,
                                    std::optional<Tensor> m_lengths, bool keep_weights) {
  return forward(soft_dtw_call(cost, gamma, n_lengths, m_lengths), keep_weights);
}

std::tuple<Tensor, Tensor> soft_dtw_backward(Tensor score_gradient, Tensor score, Tensor weights, Tensor cost,
                                             Tensor gamma, std::optional<Tensor> n_lengths,
                                             std::optional<Tensor> m_lengths, int64_t wanted) {
  const auto gradients =
      backward(soft_dtw_call(cost, gamma, n_lengths, m_lengths), score_gradient, score, weights, wanted);
  return {gradients[0], gradients[1]};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(softdp, CPU, m) {
  m.impl("soft_dtw", TORCH_BOX(&soft_dtw));
  m.impl("soft_dtw_backward", TORCH_BOX(&soft_dtw_backward));
}

}  // namespace softdp::cpu
