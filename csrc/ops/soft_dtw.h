#pragma once

#include <torch/csrc/stable/library.h>

#include "../recurrence/soft_dtw.h"
#include "call.h"

namespace softdp {

inline Call<SoftDtw> soft_dtw_call(const Tensor& cost, const Tensor& gamma, const std::optional<Tensor>& n_lengths,
                                   const std::optional<Tensor>& m_lengths) {
  return {{}, {{"cost", cost}}, {}, gamma, n_lengths, m_lengths, LeadingGaps::kForbidden};
}

template <class Device>
std::tuple<Tensor, Tensor> soft_dtw(Tensor cost, Tensor gamma, std::optional<Tensor> n_lengths,
                                    std::optional<Tensor> m_lengths, bool keep_weights) {
  return as_op("softdp::soft_dtw",
               [&] { return forward<Device>(soft_dtw_call(cost, gamma, n_lengths, m_lengths), keep_weights); });
}

template <class Device>
std::tuple<Tensor, Tensor> soft_dtw_backward(Tensor score_gradient, Tensor score, Tensor weights, Tensor cost,
                                             Tensor gamma, std::optional<Tensor> n_lengths,
                                             std::optional<Tensor> m_lengths, int64_t wanted) {
  const auto gradients = as_op("softdp::soft_dtw_backward", [&] {
    return backward<Device>(soft_dtw_call(cost, gamma, n_lengths, m_lengths), score_gradient, score, weights, wanted);
  });
  return {gradients[0], gradients[1]};
}

template <class Device>
void implement_soft_dtw(torch::stable::detail::StableLibrary& library) {
  library.impl("soft_dtw", TORCH_BOX(&soft_dtw<Device>));
  library.impl("soft_dtw_backward", TORCH_BOX(&soft_dtw_backward<Device>));
}

}  // namespace softdp
