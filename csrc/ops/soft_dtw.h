#pragma once

#include <torch/csrc/stable/library.h>

#include "../recurrence/families/soft_dtw.h"
#include "call.h"

namespace softdp {

inline Call<SoftDtw> soft_dtw_call(const Tensor& cost, const Tensor& gamma, const std::optional<Tensor>& border,
                                   const std::optional<Tensor>& n_lengths, const std::optional<Tensor>& m_lengths,
                                   const std::optional<Tensor>& band) {
  return {{}, {{"cost", cost}}, {}, gamma, border, n_lengths, m_lengths, band, {Gaps::kForbidden, Gaps::kForbidden}};
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor> soft_dtw(Tensor cost, Tensor gamma, std::optional<Tensor> border,
                                            std::optional<Tensor> n_lengths, std::optional<Tensor> m_lengths,
                                            std::optional<Tensor> band, bool keep_weights, bool keep_border) {
  return as_op("softdp::soft_dtw", [&] {
    return forward<Device>(soft_dtw_call(cost, gamma, border, n_lengths, m_lengths, band), keep_weights, keep_border);
  });
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor> soft_dtw_backward(Tensor score_gradient, std::optional<Tensor> border_gradient,
                                                     Tensor score, Tensor weights, Tensor border_out, Tensor cost,
                                                     Tensor gamma, std::optional<Tensor> border,
                                                     std::optional<Tensor> n_lengths, std::optional<Tensor> m_lengths,
                                                     std::optional<Tensor> band, int64_t wanted) {
  return as_op("softdp::soft_dtw_backward", [&] {
    return tuple_of<3>(backward<Device>(soft_dtw_call(cost, gamma, border, n_lengths, m_lengths, band), score_gradient,
                                        border_gradient, score, weights, border_out, wanted));
  });
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> soft_dtw_tangent(
    std::optional<Tensor> score_gradient, std::optional<Tensor> border_gradient, Tensor score, Tensor weights,
    Tensor border_out, Tensor cost_tangent, Tensor gamma_tangent, std::optional<Tensor> border_tangent, Tensor cost,
    Tensor gamma, std::optional<Tensor> border, std::optional<Tensor> n_lengths, std::optional<Tensor> m_lengths,
    std::optional<Tensor> band, int64_t wanted, bool keep_border) {
  return as_op("softdp::soft_dtw_tangent", [&] {
    return tuple_of<5>(tangent<Device>(soft_dtw_call(cost, gamma, border, n_lengths, m_lengths, band),
                                       {{cost_tangent}, {}, gamma_tangent, border_tangent}, score_gradient,
                                       border_gradient, score, weights, border_out, wanted, keep_border));
  });
}

template <class Device>
void implement_soft_dtw(torch::stable::detail::StableLibrary& library) {
  library.impl("soft_dtw", TORCH_BOX(&soft_dtw<Device>));
  library.impl("soft_dtw_backward", TORCH_BOX(&soft_dtw_backward<Device>));
  library.impl("soft_dtw_tangent", TORCH_BOX(&soft_dtw_tangent<Device>));
}

}  // namespace softdp
