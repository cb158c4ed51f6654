#pragma once

#include "../recurrence/families/monotonic.h"
#include "family_op.h"

namespace softdp {

struct MonotonicOp {
  static constexpr const char* kName = "monotonic";
  static constexpr std::array kTables{"log_p"};
  static constexpr std::array<const char*, 0> kParameters{};
  static constexpr std::array<const char*, 0> kOptions{};
  using Options = OptionTypes<>;

  template <class F>
  static auto with_family(const Inputs&, const F& f) {
    return f(Monotonic{}, Ends{Gaps::kForbidden, Gaps::kForbidden});
  }
};

}  // namespace softdp
