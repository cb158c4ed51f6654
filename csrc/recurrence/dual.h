// A number and how it changes along a direction. What a family says of numbers it says of these, too: how potentials
// change with tables, and gradients with masses.
#pragma once

#include "scalar.h"

namespace softdp {

template <class T>
struct Dual {
  T value;
  T tangent;

  Dual() = default;
  SOFTDP_INLINE constexpr Dual(T its_value, T its_tangent) : value(its_value), tangent(its_tangent) {}
  template <class Number>
    requires std::is_arithmetic_v<Number>
  SOFTDP_INLINE constexpr Dual(Number constant) : value(T(constant)), tangent(T(0)) {}

  SOFTDP_INLINE friend Dual operator-(Dual a) { return {-a.value, -a.tangent}; }
  SOFTDP_INLINE friend Dual operator+(Dual a, Dual b) { return {a.value + b.value, a.tangent + b.tangent}; }
  SOFTDP_INLINE friend Dual operator-(Dual a, Dual b) { return {a.value - b.value, a.tangent - b.tangent}; }
  SOFTDP_INLINE friend Dual operator*(Dual a, Dual b) {
    return {a.value * b.value, a.tangent * b.value + a.value * b.tangent};
  }
  SOFTDP_INLINE friend Dual operator/(Dual a, Dual b) {
    const T quotient = a.value / b.value;
    return {quotient, (a.tangent - quotient * b.tangent) / b.value};
  }
  SOFTDP_INLINE Dual& operator+=(Dual b) { return *this = *this + b; }

  // Which is larger is decided by the values.
  SOFTDP_INLINE friend bool operator==(Dual a, Dual b) { return a.value == b.value; }
  SOFTDP_INLINE friend bool operator<(Dual a, Dual b) { return a.value < b.value; }
  SOFTDP_INLINE friend bool operator>(Dual a, Dual b) { return a.value > b.value; }
  SOFTDP_INLINE friend bool operator<=(Dual a, Dual b) { return a.value <= b.value; }
};

template <class T>
SOFTDP_INLINE Dual<T> log_sigmoid(Dual<T> x) {
  return {log_sigmoid(x.value), x.tangent * sigmoid(-x.value)};
}

template <class T>
SOFTDP_INLINE Dual<T> sigmoid(Dual<T> x) {
  const T value = sigmoid(x.value);
  return {value, x.tangent * value * sigmoid(-x.value)};
}

// The part of a result that is asked for: of numbers themselves, of dual ones how they change.
template <class T>
SOFTDP_INLINE T wanted(T x) {
  return x;
}
template <class T>
SOFTDP_INLINE T wanted(Dual<T> x) {
  return x.tangent;
}

}  // namespace softdp
