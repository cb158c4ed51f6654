// The one nonlinear step: the smooth maximum of the three arcs into a cell, and the weight of each.
//
//     V[i,j] = gamma log( exp((V[i-1,j-1] + match ) / gamma)      align x_i with y_j
//                       + exp((V[i-1,j]   + remove) / gamma)      consume x_i alone
//                       + exp((V[i,j-1]   + insert) / gamma) )    consume y_j alone
//     weight of an arc = its term / the sum of the three = dV[i,j] / d arc
//
// gamma = 0: the maximum; the weight is 1 for the first largest arc in the order match, remove, insert.
#pragma once

#include "two_float.h"

namespace softdp {

// One number for each of the three arcs into a cell: potentials, weights or masses. (`delete` is a keyword of C++.)
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
  T remove;
  T remove_and_insert;

  SOFTDP_INLINE Arcs<T> arcs() const { return {T(1) - remove_and_insert, remove, remove_and_insert - remove}; }
};

template <class T>
struct Smoothness {
  T gamma;
  T scale;  // log2(e) / gamma, or 0 where gamma = 0

  SOFTDP_INLINE static Smoothness from(T gamma) { return {gamma, gamma > 0 ? kLog2E<T> / gamma : T(0)}; }
};

template <class T>
struct Cell {
  TwoFloat<T> value;
  Weights<T> weights;
};

// Two exponentials, a logarithm and a division: the larger of match and remove against the smaller, then the larger
// of these against insert. kGeneral: gamma may be 0.
template <bool kGeneral, class T>
SOFTDP_INLINE Cell<T> smooth_max(TwoFloat<T> match, TwoFloat<T> remove, TwoFloat<T> insert, Smoothness<T> smoothness) {
  const T remove_lead = difference(remove, match);
  const bool remove_leads = remove_lead > 0;
  const TwoFloat<T> first{remove_leads ? remove.high : match.high, remove_leads ? remove.low : match.low};
  const T insert_lead = difference(insert, first);
  const bool insert_leads = insert_lead > 0;
  const TwoFloat<T> top{insert_leads ? insert.high : first.high, insert_leads ? insert.low : first.low};

  const T smaller = exp2((remove_lead > 0 ? -remove_lead : remove_lead) * smoothness.scale);
  const T last = exp2((insert_lead > 0 ? -insert_lead : insert_lead) * smoothness.scale);
  const T insert_term = insert_lead > 0 ? T(1) : last;
  const T first_term = insert_lead > 0 ? last : T(1);
  const T second_term = first_term * smaller;
  const T remove_term = remove_lead > 0 ? first_term : second_term;
  const T match_term = remove_lead > 0 ? second_term : first_term;
  const T gap_terms = remove_term + insert_term;
  // One term is 1; the sum of the other two is what log1p wants.
  const auto [log, inverse] = log1p_and_inverse(second_term + last);

  T rise = rounded_product(smoothness.gamma, log);  // two equal gaps rise by what lcs takes from each, exactly
  T remove_weight = remove_term * inverse;
  T gap_weight = gap_terms * inverse;
  if constexpr (std::is_same_v<T, double>) {
    // Rounding leaves no weight where there is no path; 16-bit fractions see to that by themselves.
    gap_weight = gap_weight > T(1) ? T(1) : gap_weight;
    gap_weight = match_term == T(0) ? T(1) : gap_weight;
    gap_weight = insert_term == T(0) ? remove_weight : gap_weight;
  }

  if constexpr (kGeneral) {
    constexpr T undefined = std::numeric_limits<T>::quiet_NaN();
    const T hard_rise = remove_lead != remove_lead ? undefined : insert_lead != insert_lead ? undefined : T(0);
    const T hard_remove = insert_lead > 0 ? T(0) : remove_lead > 0 ? T(1) : T(0);
    const T hard_gap = insert_lead > 0 ? T(1) : remove_lead > 0 ? T(1) : T(0);
    const bool hard = smoothness.gamma == 0;
    rise = hard ? hard_rise : rise;
    remove_weight = hard ? hard_remove : remove_weight;
    gap_weight = hard ? hard_gap : gap_weight;
  }
  // The rise is of the size of gamma: rounding it costs nothing that counts.
  return {normalise(TwoFloat<T>{top.high, top.low + rise}), {remove_weight, gap_weight}};
}

}  // namespace softdp
