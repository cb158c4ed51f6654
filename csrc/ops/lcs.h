#pragma once

#include <torch/csrc/stable/library.h>

#include "../recurrence/lcs.h"
#include "call.h"

namespace softdp {

// f with the call of the family that the gate's width asks for.
template <class F>
auto with_lcs(const Tensor& similarity, const Tensor& threshold, const Tensor& gamma,
              const std::optional<Tensor>& n_lengths, const std::optional<Tensor>& m_lengths, double gate_width,
              const F& f) {
  constexpr double smallest = std::numeric_limits<float>::min();
  SOFTDP_CHECK(gate_width == 0 || gate_width >= smallest, "gate_width must be 0 or >= ", smallest, ", got ",
               gate_width);
  const auto call = [&](auto family) {
    return f(Call<decltype(family)>{family,
                                    {{"similarity", similarity}},
                                    {{"threshold", threshold}},
                                    gamma,
                                    n_lengths,
                                    m_lengths,
                                    LeadingGaps::kFree});
  };
  return gate_width > 0 ? call(Lcs<true>{gate_width}) : call(Lcs<false>{});
}

template <class Device>
std::tuple<Tensor, Tensor> lcs(Tensor similarity, Tensor threshold, Tensor gamma, std::optional<Tensor> n_lengths,
                               std::optional<Tensor> m_lengths, double gate_width, bool keep_weights) {
  return as_op("softdp::lcs", [&] {
    return with_lcs(similarity, threshold, gamma, n_lengths, m_lengths, gate_width,
                    [&](auto call) { return forward<Device>(std::move(call), keep_weights); });
  });
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor> lcs_backward(Tensor score_gradient, Tensor score, Tensor weights, Tensor similarity,
                                                Tensor threshold, Tensor gamma, std::optional<Tensor> n_lengths,
                                                std::optional<Tensor> m_lengths, double gate_width, int64_t wanted) {
  const auto gradients = as_op("softdp::lcs_backward", [&] {
    return with_lcs(similarity, threshold, gamma, n_lengths, m_lengths, gate_width, [&](auto call) {
      return backward<Device>(std::move(call), score_gradient, score, weights, wanted);
    });
  });
  return {gradients[0], gradients[1], gradients[2]};
}

template <class Device>
void implement_lcs(torch::stable::detail::StableLibrary& library) {
  library.impl("lcs", TORCH_BOX(&lcs<Device>));
  library.impl("lcs_backward", TORCH_BOX(&lcs_backward<Device>));
}

}  // namespace softdp
