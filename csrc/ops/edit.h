#pragma once

#include <torch/csrc/stable/library.h>

#include "../recurrence/families/edit.h"
#include "call.h"

namespace softdp {

inline Call<Edit> edit_call(const Tensor& match, const Tensor& insert, const Tensor& remove, const Tensor& gamma,
                            const std::optional<Tensor>& border, const std::optional<Tensor>& n_lengths,
                            const std::optional<Tensor>& m_lengths, const std::optional<Tensor>& band,
                            std::int64_t leading_gaps, std::int64_t trailing_gaps, bool minimise) {
  Call<Edit> call{{minimise},
                  {{"match", match}, {"insert", insert}, {"delete", remove}},
                  {},
                  gamma,
                  border,
                  n_lengths,
                  m_lengths,
                  band,
                  ends_of(leading_gaps, trailing_gaps)};
  const bool varies = insert.dim() > 1 && insert.size(-2) != 1;
  const bool delete_varies = remove.dim() > 0 && remove.size(-1) != 1;
  SOFTDP_CHECK(border || ((call.ends.leading_y != Gaps::kPaid || !varies) &&
                          (call.ends.leading_x != Gaps::kPaid || !delete_varies)),
               "paid leading gaps need an insert that does not vary along n and a delete that does "
               "not vary along m, or a border");
  return call;
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor> edit(Tensor match, Tensor insert, Tensor remove, Tensor gamma,
                                        std::optional<Tensor> border, std::optional<Tensor> n_lengths,
                                        std::optional<Tensor> m_lengths, std::optional<Tensor> band,
                                        int64_t leading_gaps, int64_t trailing_gaps, bool minimise, bool keep_weights,
                                        bool keep_border) {
  return as_op("softdp::edit", [&] {
    return forward<Device>(edit_call(match, insert, remove, gamma, border, n_lengths, m_lengths, band, leading_gaps,
                                     trailing_gaps, minimise),
                           keep_weights, keep_border);
  });
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> edit_backward(
    Tensor score_gradient, std::optional<Tensor> border_gradient, Tensor score, Tensor weights, Tensor border_out,
    Tensor match, Tensor insert, Tensor remove, Tensor gamma, std::optional<Tensor> border,
    std::optional<Tensor> n_lengths, std::optional<Tensor> m_lengths, std::optional<Tensor> band, int64_t leading_gaps,
    int64_t trailing_gaps, bool minimise, int64_t wanted) {
  return as_op("softdp::edit_backward", [&] {
    return tuple_of<5>(backward<Device>(edit_call(match, insert, remove, gamma, border, n_lengths, m_lengths, band,
                                                  leading_gaps, trailing_gaps, minimise),
                                        score_gradient, border_gradient, score, weights, border_out, wanted));
  });
}

template <class Device>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> edit_tangent(
    std::optional<Tensor> score_gradient, std::optional<Tensor> border_gradient, Tensor score, Tensor weights,
    Tensor border_out, Tensor match_tangent, Tensor insert_tangent, Tensor remove_tangent, Tensor gamma_tangent,
    std::optional<Tensor> border_tangent, Tensor match, Tensor insert, Tensor remove, Tensor gamma,
    std::optional<Tensor> border, std::optional<Tensor> n_lengths, std::optional<Tensor> m_lengths,
    std::optional<Tensor> band, int64_t leading_gaps, int64_t trailing_gaps, bool minimise, int64_t wanted,
    bool keep_border) {
  return as_op("softdp::edit_tangent", [&] {
    return tuple_of<7>(
        tangent<Device>(edit_call(match, insert, remove, gamma, border, n_lengths, m_lengths, band, leading_gaps,
                                  trailing_gaps, minimise),
                        {{match_tangent, insert_tangent, remove_tangent}, {}, gamma_tangent, border_tangent},
                        score_gradient, border_gradient, score, weights, border_out, wanted, keep_border));
  });
}

template <class Device>
void implement_edit(torch::stable::detail::StableLibrary& library) {
  library.impl("edit", TORCH_BOX(&edit<Device>));
  library.impl("edit_backward", TORCH_BOX(&edit_backward<Device>));
  library.impl("edit_tangent", TORCH_BOX(&edit_tangent<Device>));
}

}  // namespace softdp
