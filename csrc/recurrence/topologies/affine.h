// Three running values: the last step was a match (M), a gap in x (X) or a gap in y (Y). A gap of length k is worth
// open + (k - 1) extend, and one gap may follow another (Gotoh 1982).
//
//     M[i,j] = match + smax(M, X, Y                                          at [i-1,j-1])
//     X[i,j] = smax(M + open_remove, X + extend_remove, Y + open_remove      at [i-1,j])
//     Y[i,j] = smax(M + open_insert, X + open_insert,   Y + extend_insert    at [i,j-1])
#pragma once

#include "topology.h"

namespace softdp {

struct Affine {
  enum State { kM, kX, kY, kStates };
  enum Potential { kMatch, kOpenRemove, kExtendRemove, kOpenInsert, kExtendInsert, kPotentials };
  static constexpr Arc kArcs[kStates][3] = {
      {{kDiagonal, kM, kMatch}, {kDiagonal, kX, kMatch}, {kDiagonal, kY, kMatch}},
      {{kAbove, kM, kOpenRemove}, {kAbove, kX, kExtendRemove}, {kAbove, kY, kOpenRemove}},
      {{kLeft, kM, kOpenInsert}, {kLeft, kX, kOpenInsert}, {kLeft, kY, kExtendInsert}},
  };
  static constexpr int kBegin = kM, kEnd = kNoState;
  static constexpr bool kMayLackArcs = true;
  static constexpr LeadingGap kDown{kX, kOpenRemove, kExtendRemove}, kAcross{kY, kOpenInsert, kExtendInsert};
};

}  // namespace softdp
