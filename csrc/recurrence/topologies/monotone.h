// One running value, two arcs worth the same: y goes on at every step, and x goes on with it or stays.
//
//     V[i,j] = match + smax(V[i-1,j-1], V[i,j-1])
//
// Weights are where those of a linear topology are: walks, and what has a table for each arc, read either.
#pragma once

#include "topology.h"

namespace softdp {

struct Monotone {
  static constexpr int kStates = 1;
  enum Potential { kMatch, kPotentials };
  static constexpr Arc kArcs[kStates][3] = {{{kDiagonal, 0, kMatch}, kAbsent, {kLeft, 0, kMatch}}};
  static constexpr int kBegin = 0, kEnd = 0;
  static constexpr bool kMayLackArcs = false;
  static constexpr LeadingGap kDown{0, kMatch, kMatch}, kAcross{0, kMatch, kMatch};  // which no family pays
};

}  // namespace softdp
