// What the two forms of a running value share: three arcs into a cell, their weights, the smoothing.
//
//     V[i,j] = gamma log( exp((V[i-1,j-1] + match ) / gamma)      align x_i with y_j
//                       + exp((V[i-1,j]   + remove) / gamma)      consume x_i alone
//                       + exp((V[i,j-1]   + insert) / gamma) )    consume y_j alone
//     weight of an arc = its term / the sum of the three = dV[i,j] / d arc
//
// exact.h runs V itself: any gamma, any potential. scaled.h runs exp(V / gamma), at half the cost: gamma > 0, and
// potentials of a size that its exponents reach.
#pragma once

#include <concepts>

#include "../scalar.h"
#include "../topologies/topology.h"
#include "../two_float.h"

namespace softdp {

// One number for each of the three arcs into a state, named as those of a linear topology are: potentials, weights or
// masses. (`delete` is a keyword of C++.)
template <class T>
struct Arcs {
  T match;
  T remove;
  T insert;
};

// What is kept of a cell: running sums of its weights. Differences of running sums add up to 1 however they are
// rounded, so no mass is lost in a backward sweep, and an impossible arc has weight exactly 0.
template <class T>
struct Weights {
  // What a weight of 1 is: on a GPU in float32 what it is stored as.
  static constexpr T kOne = kOnGpu && sizeof(T) == 4 ? 65535 : 1;

  T remove;
  T remove_and_insert;

  // Rounding leaves no weight where there is no path; 16-bit fractions see to that by themselves.
  SOFTDP_INLINE static Weights from_terms(T match, T remove, T insert, T inverse_of_sum) {
    if constexpr (kOne != 1) inverse_of_sum *= kOne;
    Weights weights{remove * inverse_of_sum, (remove + insert) * inverse_of_sum};
    if constexpr (std::is_same_v<T, double>) {
      weights.remove = match == T(0) && insert == T(0) ? T(1) : weights.remove;
      weights.remove_and_insert = weights.remove_and_insert > T(1) ? T(1) : weights.remove_and_insert;
      weights.remove_and_insert = insert == T(0) ? weights.remove : weights.remove_and_insert;
      weights.remove_and_insert = match == T(0) ? T(1) : weights.remove_and_insert;
    }
    return weights;
  }
};

template <class T>
struct Smoothness {
  T gamma;
  T scale;      // log2(e) / gamma, or 0 where gamma = 0
  T scale_low;  // what rounding took from it

  // The scale of a gamma that is no normal number would be infinite: it counts as the smallest that is.
  SOFTDP_INLINE static Smoothness from(T gamma) {
    if (!(gamma > 0)) return {gamma, T(0), T(0)};
    constexpr T smallest = std::numeric_limits<T>::min();
    const double scale = kLog2E<double> / double(gamma > smallest ? gamma : smallest);
    return {gamma, T(scale), T(scale - double(T(scale)))};
  }
};

template <class Value, class T>
struct Cell {
  Value value;
  Weights<T> weights;
};

// A state's value and weights, from where its arcs come and what they are worth to a form.
template <class Form, class Topology, int kState, class Value, class Arc, class T>
SOFTDP_INLINE Cell<Value, T> step_into(const Value (&from)[3], const Arc (&worth)[3], Smoothness<T> smoothness) {
  if constexpr (lacks_second<Topology>(kState)) {
    auto cell = Form::template step<true>(from[0], from[2], from[2], {worth[0], worth[2], worth[2]}, smoothness);
    cell.weights.remove = 0;
    return cell;
  } else {
    constexpr bool kTwo = lacks_third<Topology>(kState);
    return Form::template step<kTwo>(from[0], from[1], from[2], {worth[0], worth[1], worth[2]}, smoothness);
  }
}

// What is kept in one of a cell's places: the weights of a state, or the first fractions of two.
template <class Topology, int kPlace, class T>
SOFTDP_INLINE Weights<T> weights_in_place(const Weights<T>* of_states) {
  constexpr int kFirst = state_with<Topology>(kPlace, false), kSecond = state_with<Topology>(kPlace, true);
  if constexpr (kFirst == kSecond) return of_states[kFirst];
  T second = 0;
  if constexpr (kSecond != kNoState) second = of_states[kSecond].remove;
  return {of_states[kFirst].remove, second};
}

// Value: a running value; Arc: what an arc is worth to it.
template <class X, class Family, class T>
concept Form =
    requires(typename X::Value value, typename X::Arc arc, TwoFloat<T> sum, T number, Smoothness<T> smoothness) {
      { X::origin() } -> std::same_as<typename X::Value>;   // 0
      { X::no_path() } -> std::same_as<typename X::Value>;  // -infinity
      { X::from(sum, smoothness) } -> std::same_as<typename X::Value>;
      { X::value_of(value, smoothness) } -> std::same_as<double>;
      { X::unpaid() } -> std::same_as<typename X::Arc>;  // worth 0
      { X::weigh(number, smoothness) } -> std::same_as<typename X::Arc>;
      { X::template weigh_gap<Family>(number, smoothness) } -> std::same_as<typename X::Arc>;  // less its halvings
      // Whether this form cannot hold such a value of the border, such an arc.
      { X::border_beyond_reach(number, smoothness) } -> std::same_as<bool>;
      { X::beyond_reach(number, smoothness, number) } -> std::same_as<bool>;
      // Of three arcs, or of two: the last is none then.
      {
        X::template step<false>(value, value, value, Arcs<typename X::Arc>{arc, arc, arc}, smoothness)
      } -> std::same_as<Cell<typename X::Value, T>>;
    };

}  // namespace softdp
