#pragma once

#include <torch/csrc/stable/library.h>

#include "../recurrence/families/affine.h"
#include "call.h"

namespace softdp {

inline Call<AffineEdit> affine_call(const Tensor& match, const Tensor& open_remove, const Tensor& extend_remove,
                                    const Tensor& open_insert, const Tensor& extend_insert, const Tensor& gamma,
                                    const std::optional<Tensor>& border, const std::optional<Tensor>& n_lengths,
                                    const std::optional<Tensor>& m_lengths, const std::optional<Tensor>& band,
                                    std::int64_t leading_gaps, std::int64_t trailing_gaps) {
  Call<AffineEdit> call{{},
                        {{"match", match},
                         {"open_delete", open_remove},
                         {"extend_delete", extend_remove},
                         {"open_insert", open_insert},
                         {"extend_insert", extend_insert}},
                        {},
                        gamma,
                        border,
                        n_lengths,
                        m_lengths,
                        band,
                        ends_of(leading_gaps, trailing_gaps)};
  const auto varies = [](const Tensor& gap, std::int64_t dim) { return gap.dim() >= dim && gap.size(-dim) != 1; };
  const bool down = varies(open_remove, 1) || varies(extend_remove, 1);
  const bool across = varies(open_insert, 2) || varies(extend_insert, 2);
  SOFTDP_CHECK(
      border || ((call.ends.leading_y != Gaps::kPaid || !across) && (call.ends.leading_x != Gaps::kPaid || !down)),
      "paid leading gaps need inserts that do not vary along n and deletes that do not vary along m, or a "
      "border");
  return call;
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor> affine(Tensor match, Tensor open_remove, Tensor extend_remove, Tensor open_insert,
                                          Tensor extend_insert, Tensor gamma, std::optional<Tensor> border,
                                          std::optional<Tensor> n_lengths, std::optional<Tensor> m_lengths,
                                          std::optional<Tensor> band, int64_t leading_gaps, int64_t trailing_gaps,
                                          bool keep_weights, bool keep_border) {
  return as_op("softdp::affine", [&] {
    return forward<Device>(affine_call(match, open_remove, extend_remove, open_insert, extend_insert, gamma, border,
                                       n_lengths, m_lengths, band, leading_gaps, trailing_gaps),
                           keep_weights, keep_border);
  });
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> affine_backward(
    Tensor score_gradient, std::optional<Tensor> border_gradient, Tensor score, Tensor weights, Tensor border_out,
    Tensor match, Tensor open_remove, Tensor extend_remove, Tensor open_insert, Tensor extend_insert, Tensor gamma,
    std::optional<Tensor> border, std::optional<Tensor> n_lengths, std::optional<Tensor> m_lengths,
    std::optional<Tensor> band, int64_t leading_gaps, int64_t trailing_gaps, int64_t wanted) {
  return as_op("softdp::affine_backward", [&] {
    return tuple_of<7>(
        backward<Device>(affine_call(match, open_remove, extend_remove, open_insert, extend_insert, gamma, border,
                                     n_lengths, m_lengths, band, leading_gaps, trailing_gaps),
                         score_gradient, border_gradient, score, weights, border_out, wanted));
  });
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> affine_tangent(
    std::optional<Tensor> score_gradient, std::optional<Tensor> border_gradient, Tensor score, Tensor weights,
    Tensor border_out, Tensor match_tangent, Tensor open_remove_tangent, Tensor extend_remove_tangent,
    Tensor open_insert_tangent, Tensor extend_insert_tangent, Tensor gamma_tangent,
    std::optional<Tensor> border_tangent, Tensor match, Tensor open_remove, Tensor extend_remove, Tensor open_insert,
    Tensor extend_insert, Tensor gamma, std::optional<Tensor> border, std::optional<Tensor> n_lengths,
    std::optional<Tensor> m_lengths, std::optional<Tensor> band, int64_t leading_gaps, int64_t trailing_gaps,
    int64_t wanted, bool keep_border) {
  return as_op("softdp::affine_tangent", [&] {
    return tuple_of<9>(tangent<Device>(
        affine_call(match, open_remove, extend_remove, open_insert, extend_insert, gamma, border, n_lengths, m_lengths,
                    band, leading_gaps, trailing_gaps),
        {{match_tangent, open_remove_tangent, extend_remove_tangent, open_insert_tangent, extend_insert_tangent},
         {},
         gamma_tangent,
         border_tangent},
        score_gradient, border_gradient, score, weights, border_out, wanted, keep_border));
  });
}

template <class Device>
void implement_affine(torch::stable::detail::StableLibrary& library) {
  library.impl("affine", TORCH_BOX(&affine<Device>));
  library.impl("affine_backward", TORCH_BOX(&affine_backward<Device>));
  library.impl("affine_tangent", TORCH_BOX(&affine_tangent<Device>));
}

}  // namespace softdp
