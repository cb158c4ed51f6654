// The running value V itself, as two floats: for every gamma >= 0 and every potential, infinite ones too.
//
// gamma = 0: the maximum; the weight is 1 for the first largest arc in the order match, remove, insert. kHard: it is 0
// everywhere, and nothing else is computed.
#pragma once

#include "../two_float.h"
#include "smoothing.h"

namespace softdp {

template <class T, bool kHard = false>
struct Exact {
  using Value = TwoFloat<T>;
  using Arc = T;

  SOFTDP_INLINE static Value origin() { return {T(0), T(0)}; }
  SOFTDP_INLINE static Value no_path() { return {-kInfinity<T>, T(0)}; }
  SOFTDP_INLINE static Value from(TwoFloat<T> value, Smoothness<T>) { return value; }
  SOFTDP_INLINE static double value_of(Value value, Smoothness<T>) { return double(value.high) + double(value.low); }

  SOFTDP_INLINE static Arc unpaid() { return T(0); }
  SOFTDP_INLINE static Arc weigh(T potential, Smoothness<T>) { return potential; }
  template <class Family>
  SOFTDP_INLINE static Arc weigh_gap(T potential, Smoothness<T> smoothness) {
    constexpr int halvings = Family::kGapHalvings;
    return halvings == 0 ? potential : potential - T(halvings) * rounded_product(smoothness.gamma, kLog2<T>);
  }
  SOFTDP_INLINE static bool border_beyond_reach(T /*value*/, Smoothness<T>) { return false; }
  SOFTDP_INLINE static bool beyond_reach(T /*potential*/, Smoothness<T>, T /*reach*/) { return false; }

  // Two exponentials, a logarithm and a division: the larger of match and remove against the smaller, then the larger
  // of these against insert.
  template <bool kTwo>
  SOFTDP_INLINE static Cell<Value, T> step(Value diagonal, Value above, Value left, Arcs<Arc> arcs,
                                           Smoothness<T> smoothness) {
    const TwoFloat<T> match = add(diagonal, arcs.match);
    const TwoFloat<T> remove = add(above, arcs.remove);
    const TwoFloat<T> insert = kTwo ? no_path() : add(left, arcs.insert);
    const T remove_lead = difference(remove, match);
    const bool remove_leads = remove_lead > 0;
    const TwoFloat<T> first{remove_leads ? remove.high : match.high, remove_leads ? remove.low : match.low};
    const T insert_lead = difference(insert, first);
    const bool insert_leads = insert_lead > 0;
    const TwoFloat<T> top{insert_leads ? insert.high : first.high, insert_leads ? insert.low : first.low};

    const bool hard = kHard || smoothness.gamma == 0;
    T rise = remove_lead != remove_lead ? kUndefined<T> : insert_lead != insert_lead ? kUndefined<T> : T(0);
    constexpr T one = Weights<T>::kOne;
    const T hard_remove = insert_lead > 0 ? T(0) : remove_lead > 0 ? one : T(0);
    const T hard_gap = insert_lead > 0 ? one : remove_lead > 0 ? one : T(0);
    Weights<T> weights{hard_remove, hard_gap};
    if (!kHard && (!kOnGpu || !hard)) {
      const T smaller = exp2((remove_lead > 0 ? -remove_lead : remove_lead) * smoothness.scale);
      const T last = exp2((insert_lead > 0 ? -insert_lead : insert_lead) * smoothness.scale);
      const T insert_term = insert_lead > 0 ? T(1) : last;
      const T first_term = insert_lead > 0 ? last : T(1);
      const T second_term = first_term * smaller;
      const T remove_term = remove_lead > 0 ? first_term : second_term;
      const T match_term = remove_lead > 0 ? second_term : first_term;
      // One term is 1; the sum of the other two is what log1p wants.
      const auto [log, inverse_of_sum] = log1p_and_inverse(second_term + last);
      const auto soft = Weights<T>::from_terms(match_term, remove_term, insert_term, inverse_of_sum);
      // Two equal gaps rise by what lcs takes from each, exactly.
      rise = hard ? rise : rounded_product(smoothness.gamma, log);
      weights.remove = hard ? weights.remove : soft.remove;
      weights.remove_and_insert = hard ? weights.remove_and_insert : soft.remove_and_insert;
    }
    // Of an undefined score the mass is undefined already; in a cell that has no mass, in padding, 0 * NaN would be
    // some.
    weights.remove = weights.remove >= 0 ? weights.remove : T(0);
    weights.remove_and_insert = weights.remove_and_insert >= 0 ? weights.remove_and_insert : T(0);
    // The rise is of the size of gamma: rounding it costs nothing that counts.
    return {normalise(TwoFloat<T>{top.high, top.low + rise}), weights};
  }
};

}  // namespace softdp
