#pragma once

#include "../recurrence/families/drop_dtw.h"
#include "family_op.h"

namespace softdp {

// Of two states: the border is (batch..., 2, m + 1 + n).
struct DropDtwOp {
  static constexpr const char* kName = "drop_dtw";
  static constexpr std::array kTables{"cost", "drop_x", "drop_y"};
  static constexpr std::array<const char*, 0> kParameters{};
  static constexpr std::array kOptions{"one_to_many", "many_to_one"};
  using Options = OptionTypes<bool, bool>;

  template <class F>
  static auto with_family(const Inputs& inputs, bool one_to_many, bool many_to_one, const F& f) {
    const Ends ends{Gaps::kPaid, Gaps::kPaid};
    check_leading(inputs, ends, {2}, {1});
    return f(DropDtw{one_to_many, many_to_one}, ends);
  }
};

}  // namespace softdp
