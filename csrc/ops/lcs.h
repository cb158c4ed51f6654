#pragma once

#include "../recurrence/families/lcs.h"
#include "family_op.h"

namespace softdp {

struct LcsOp {
  static constexpr const char* kName = "lcs";
  static constexpr std::array kTables{"similarity"};
  static constexpr std::array kParameters{"threshold"};
  static constexpr std::array kOptions{"gate_width"};
  using Options = OptionTypes<double>;

  template <class F>
  static auto with_family(const Inputs&, double gate_width, const F& f) {
    constexpr double smallest = std::numeric_limits<float>::min();
    SOFTDP_CHECK(gate_width == 0 || gate_width >= smallest, "gate_width must be 0 or >= ", smallest, ", got ",
                 gate_width);
    return gate_width > 0 ? f(Lcs<true>{gate_width}, Ends{}) : f(Lcs<false>{}, Ends{});
  }
};

}  // namespace softdp
