#pragma once

#include "../recurrence/families/affine.h"
#include "family_op.h"

namespace softdp {

// Of three states, so that border and border_out are (batch..., 3, m + 1 + n), and a score is made of border_out. An
// `open` is what the first step of a gap is worth, an `extend` what each further one is. Gaps at the ends: as edit's.
struct AffineOp {
  static constexpr const char* kName = "affine";
  static constexpr std::array kTables{"match", "open_delete", "extend_delete", "open_insert", "extend_insert"};
  static constexpr std::array<const char*, 0> kParameters{};
  static constexpr std::array kOptions{"leading_gaps", "trailing_gaps"};
  using Options = OptionTypes<std::int64_t, std::int64_t>;

  template <class F>
  static auto with_family(const Inputs& inputs, std::int64_t leading_gaps, std::int64_t trailing_gaps, const F& f) {
    const Ends ends = ends_of(leading_gaps, trailing_gaps);
    check_leading(inputs, ends, {3, 4}, {1, 2});
    return f(AffineEdit{}, ends);
  }
};

}  // namespace softdp
