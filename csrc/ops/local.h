#pragma once

#include "../recurrence/families/affine.h"
#include "family_op.h"

namespace softdp {

// Of five states, of which the last, paths that have ended in a row, has what a score is made of in the last column of
// border_out, (batch..., 5, m + 1 + n). Its tables are affine's.
struct LocalOp {
  static constexpr const char* kName = "local";
  static constexpr std::array kTables{"match", "open_delete", "extend_delete", "open_insert", "extend_insert"};
  static constexpr std::array<const char*, 0> kParameters{};
  static constexpr std::array<const char*, 0> kOptions{};
  using Options = OptionTypes<>;

  template <class F>
  static auto with_family(const Inputs&, const F& f) {
    return f(LocalEdit{}, Ends{});
  }
};

}  // namespace softdp
