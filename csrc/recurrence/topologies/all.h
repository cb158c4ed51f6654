// The topologies that there are, by how many states they have: no two have as many.
#pragma once

#include <utility>

#include "affine.h"
#include "drops.h"
#include "linear.h"
#include "local.h"

namespace softdp {

// Calls f with the one of these that has so many states; false: none has.
template <class... Its>
struct Topologies {
  template <class F>
  static bool with(std::int64_t states, const F& f) {
    return ((states == Its::kStates && (f(Its()), true)) || ...);
  }
};
using AllTopologies = Topologies<Linear, Drops, Affine, Local>;

}  // namespace softdp
