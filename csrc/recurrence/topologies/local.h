// Affine gaps between two ends that are anywhere: a path begins and ends with a match (Smith and Waterman 1981).
//
//     M[i,j] = match + smax(M, A                                             at [i-1,j-1])
//     X[i,j] = smax(M + open_remove, X + extend_remove, Y + open_remove      at [i-1,j])
//     Y[i,j] = smax(M + open_insert, X + open_insert,   Y + extend_insert    at [i,j-1])
//     A[i,j] = smax(X, Y, 0: a path begins                                   here)
//     D[i,j] = smax(D at [i,j-1], M here)                                    paths that have ended in this row
//
// A is 0 on the border. The score is smax over the rows of D in the last column.
#pragma once

#include "affine.h"

namespace softdp {

struct Local {
  enum State { kM, kX, kY, kA, kD, kStates };
  enum Potential { kMatch, kOpenRemove, kExtendRemove, kOpenInsert, kExtendInsert, kPotentials };
  static constexpr Arc kArcs[kStates][3] = {
      {{kDiagonal, kM, kMatch}, {kDiagonal, kA, kMatch}, kAbsent},
      {{kAbove, kM, kOpenRemove}, {kAbove, kX, kExtendRemove}, {kAbove, kY, kOpenRemove}},
      {{kLeft, kM, kOpenInsert}, {kLeft, kX, kOpenInsert}, {kLeft, kY, kExtendInsert}},
      {{kHere, kX, kUnpaid}, {kHere, kY, kUnpaid}, kBeginning},
      {{kLeft, kD, kUnpaid}, {kHere, kM, kUnpaid}, kAbsent},
  };
  static constexpr int kBegin = kA, kEnd = kNoState;
  static constexpr bool kMayLackArcs = false;
  static constexpr LeadingGap kDown{kX, kOpenRemove, kExtendRemove}, kAcross{kY, kOpenInsert, kExtendInsert};
};

}  // namespace softdp
