// A running value as an unevaluated sum of two floats, so that its error does not grow with the length of a path.
// float64 has precision to spare and carries no second word.
#pragma once

#include "scalar.h"

namespace softdp {

template <class T>
struct TwoFloat {
  T high;
  T low;  // finite always, 0 where high is infinite
};

// a + b without error in float32 (Knuth's two-sum), for finite numbers. `low` is not yet below the last place of
// `high`.
template <class T>
SOFTDP_INLINE TwoFloat<T> two_sum(TwoFloat<T> a, T b) {
  const T sum = a.high + b;
  if constexpr (std::is_same_v<T, double>) {
    return {sum, 0};
  } else {
    const T b_rounded = sum - a.high;
    return {sum, (a.high - (sum - b_rounded)) + (b - b_rounded) + a.low};
  }
}

template <class T>
SOFTDP_INLINE TwoFloat<T> two_sum(T a, T b) {
  const T sum = a + b;
  if constexpr (std::is_same_v<T, double>) {
    return {sum, 0};
  } else {
    const T b_rounded = sum - a;
    return {sum, (a - (sum - b_rounded)) + (b - b_rounded)};
  }
}

// The same for infinities too; a cell without a path stays without one whatever an arc from it is worth.
template <class T>
SOFTDP_INLINE TwoFloat<T> add(TwoFloat<T> a, T b) {
  const TwoFloat<T> exact = two_sum(a, b);
  const T sum = a.high == -b ? (exact.high != exact.high ? -kInfinity<T> : exact.high) : exact.high;
  return {sum, exact.low == exact.low ? exact.low : T(0)};  // it is NaN where the sum is infinite
}

// The same value with `low` below the last place of `high`, which it may not exceed in size by much.
template <class T>
SOFTDP_INLINE TwoFloat<T> normalise(TwoFloat<T> a) {
  if constexpr (std::is_same_v<T, double>) {
    return {a.high + a.low, 0};
  } else {
    const T high = a.high + a.low;
    const T low = a.low - (high - a.high);
    return {high, low == low ? low : T(0)};
  }
}

// a - b, rounded to T; 0 for equal infinities.
template <class T>
SOFTDP_INLINE T difference(TwoFloat<T> a, TwoFloat<T> b) {
  const T high = a.high == b.high ? T(0) : a.high - b.high;
  if constexpr (std::is_same_v<T, double>) {
    return high;
  } else {
    return high + (a.low - b.low);
  }
}

}  // namespace softdp
