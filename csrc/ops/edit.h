#pragma once

#include "../recurrence/families/edit.h"
#include "family_op.h"

namespace softdp {

// leading_gaps: a + 3 b for x and y, each 0 free, 1 paid, 2 forbidden; trailing_gaps: a + 2 b, each 1 paid, 0 not.
struct EditOp {
  static constexpr const char* kName = "edit";
  static constexpr std::array kTables{"match", "insert", "delete"};
  static constexpr std::array<const char*, 0> kParameters{};
  static constexpr std::array kOptions{"leading_gaps", "trailing_gaps", "minimise"};
  using Options = OptionTypes<std::int64_t, std::int64_t, bool>;

  template <class F>
  static auto with_family(const Inputs& inputs, std::int64_t leading_gaps, std::int64_t trailing_gaps, bool minimise,
                          const F& f) {
    const Ends ends = ends_of(leading_gaps, trailing_gaps);
    check_leading(inputs, ends, {1}, {2});
    return f(Edit{minimise}, ends);
  }
};

}  // namespace softdp
