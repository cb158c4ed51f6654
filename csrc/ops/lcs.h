#pragma once

#include <torch/csrc/stable/library.h>

#include "../recurrence/families/lcs.h"
#include "call.h"

namespace softdp {

// f with the call of the family that the gate's width asks for.
template <class F>
auto with_lcs(const Tensor& similarity, const Tensor& threshold, const Tensor& gamma,
              const std::optional<Tensor>& border, const std::optional<Tensor>& n_lengths,
              const std::optional<Tensor>& m_lengths, const std::optional<Tensor>& band, double gate_width,
              const F& f) {
  constexpr double smallest = std::numeric_limits<float>::min();
  SOFTDP_CHECK(gate_width == 0 || gate_width >= smallest, "gate_width must be 0 or >= ", smallest, ", got ",
               gate_width);
  const auto call = [&](auto family) {
    return f(Call<decltype(family)>{family,
                                    {{"similarity", similarity}},
                                    {{"threshold", threshold}},
                                    gamma,
                                    border,
                                    n_lengths,
                                    m_lengths,
                                    band,
                                    {}});
  };
  return gate_width > 0 ? call(Lcs<true>{gate_width}) : call(Lcs<false>{});
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor> lcs(Tensor similarity, Tensor threshold, Tensor gamma, std::optional<Tensor> border,
                                       std::optional<Tensor> n_lengths, std::optional<Tensor> m_lengths,
                                       std::optional<Tensor> band, double gate_width, bool keep_weights,
                                       bool keep_border) {
  return as_op("softdp::lcs", [&] {
    return with_lcs(similarity, threshold, gamma, border, n_lengths, m_lengths, band, gate_width,
                    [&](auto call) { return forward<Device>(std::move(call), keep_weights, keep_border); });
  });
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor, Tensor> lcs_backward(Tensor score_gradient, std::optional<Tensor> border_gradient,
                                                        Tensor score, Tensor weights, Tensor border_out,
                                                        Tensor similarity, Tensor threshold, Tensor gamma,
                                                        std::optional<Tensor> border, std::optional<Tensor> n_lengths,
                                                        std::optional<Tensor> m_lengths, std::optional<Tensor> band,
                                                        double gate_width, int64_t wanted) {
  return as_op("softdp::lcs_backward", [&] {
    return with_lcs(similarity, threshold, gamma, border, n_lengths, m_lengths, band, gate_width, [&](auto call) {
      return tuple_of<4>(
          backward<Device>(std::move(call), score_gradient, border_gradient, score, weights, border_out, wanted));
    });
  });
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> lcs_tangent(
    std::optional<Tensor> score_gradient, std::optional<Tensor> border_gradient, Tensor score, Tensor weights,
    Tensor border_out, Tensor similarity_tangent, Tensor threshold_tangent, Tensor gamma_tangent,
    std::optional<Tensor> border_tangent, Tensor similarity, Tensor threshold, Tensor gamma,
    std::optional<Tensor> border, std::optional<Tensor> n_lengths, std::optional<Tensor> m_lengths,
    std::optional<Tensor> band, double gate_width, int64_t wanted, bool keep_border) {
  return as_op("softdp::lcs_tangent", [&] {
    return with_lcs(similarity, threshold, gamma, border, n_lengths, m_lengths, band, gate_width, [&](auto call) {
      return tuple_of<6>(
          tangent<Device>(std::move(call), {{similarity_tangent}, {threshold_tangent}, gamma_tangent, border_tangent},
                          score_gradient, border_gradient, score, weights, border_out, wanted, keep_border));
    });
  });
}

template <class Device>
void implement_lcs(torch::stable::detail::StableLibrary& library) {
  library.impl("lcs", TORCH_BOX(&lcs<Device>));
  library.impl("lcs_backward", TORCH_BOX(&lcs_backward<Device>));
  library.impl("lcs_tangent", TORCH_BOX(&lcs_tangent<Device>));
}

}  // namespace softdp
