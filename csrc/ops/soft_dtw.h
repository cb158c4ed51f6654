#pragma once

#include "../recurrence/families/soft_dtw.h"
#include "family_op.h"

namespace softdp {

struct SoftDtwOp {
  static constexpr const char* kName = "soft_dtw";
  static constexpr std::array kTables{"cost"};
  static constexpr std::array<const char*, 0> kParameters{};
  static constexpr std::array<const char*, 0> kOptions{};
  using Options = OptionTypes<>;

  template <class F>
  static auto with_family(const Inputs&, const F& f) {
    return f(SoftDtw{}, Ends{Gaps::kForbidden, Gaps::kForbidden});
  }
};

}  // namespace softdp
