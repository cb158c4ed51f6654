// Where paths begin and end, and what the running value has to do with the score that the caller sees.
#pragma once

#include "scalar.h"

namespace softdp {

// What a cell before the first step of one sequence is worth: 0, the sum of its gaps, or nothing leads there.
enum class Gaps { kFree, kPaid, kForbidden };

// Of a gap in x (its steps consumed alone, down the first or the last column) and of one in y (along the first or the
// last row).
struct Ends {
  Gaps leading_x = Gaps::kFree, leading_y = Gaps::kFree;
  // Whether the arcs of gaps run down the last column, along the last row. They do where a trailing gap is paid for;
  // where it is free, a path ends at any cell there instead (the border that a sweep returns has their values).
  bool trailing_x = true, trailing_y = true;

  SOFTDP_INLINE bool closed() const { return !(trailing_x && trailing_y); }
};

// A family that minimises runs the negative of its score. (0 - x: no score is -0.)
template <class V>
SOFTDP_INLINE V score_of_value(V value, bool minimise) {
  return minimise ? V(0) - value : value;
}
template <class V>
SOFTDP_INLINE V value_of_score(V score, bool minimise) {
  return score_of_value(score, minimise);
}

// The mass that enters a cell whose score has this gradient: no path, no gradient; an undefined score has an undefined
// one. Potentials carry the same sign as values, so masses are gradients with no sign of their own, but for gamma's.
template <class V, class G>
SOFTDP_INLINE G seed(V score, G gradient, bool minimise) {
  const V value = value_of_score(score, minimise);
  return value == -kInfinity<V> ? G(0) : value != value ? G(value) : gradient;
}

}  // namespace softdp
