// One running value, three arcs: a gap costs the same however long it is already.
//
//     V[i,j] = smax(V[i-1,j-1] + match, V[i-1,j] + remove, V[i,j-1] + insert)
#pragma once

#include "topology.h"

namespace softdp {

struct Linear {
  static constexpr int kStates = 1;
  enum Potential { kMatch, kRemove, kInsert, kPotentials };  // (`delete` is a keyword of C++)
  static constexpr Arc kArcs[kStates][3] = {{{kDiagonal, 0, kMatch}, {kAbove, 0, kRemove}, {kLeft, 0, kInsert}}};
  static constexpr int kBegin = 0, kEnd = 0;
  static constexpr bool kMayLackArcs = true;
  static constexpr LeadingGap kDown{0, kRemove, kRemove}, kAcross{0, kInsert, kInsert};
};

}  // namespace softdp
