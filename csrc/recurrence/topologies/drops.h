// Two running values: x_i and y_j were matched (M), or any path has come so far (D). A match may go on with the next
// step of one sequence, and steps of either may be dropped between matches (Dvornik et al. 2021, algorithm 1).
//
//     M[i,j] = smax(D[i-1,j-1] + match, M[i-1,j] + many_to_one, M[i,j-1] + one_to_many)
//     D[i,j] = smax(M[i,j], D[i-1,j] + drop_x, D[i,j-1] + drop_y)
#pragma once

#include "topology.h"

namespace softdp {

struct Drops {
  enum State { kM, kD, kStates };
  enum Potential { kMatch, kManyToOne, kOneToMany, kDropX, kDropY, kPotentials };
  static constexpr Arc kArcs[kStates][3] = {
      {{kDiagonal, kD, kMatch}, {kAbove, kM, kManyToOne}, {kLeft, kM, kOneToMany}},
      {{kHere, kM, kUnpaid}, {kAbove, kD, kDropX}, {kLeft, kD, kDropY}},
  };
  static constexpr int kBegin = kD, kEnd = kD;
  static constexpr bool kMayLackArcs = false;
  static constexpr LeadingGap kDown{kD, kDropX, kDropX}, kAcross{kD, kDropY, kDropY};
};

}  // namespace softdp
