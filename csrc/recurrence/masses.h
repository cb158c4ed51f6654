// The linear steps of a cell, the same for every family: backward, and how both it and the forward step change along a
// direction.
#pragma once

#include "dual.h"
#include "two_float.h"
#include "weights.h"

namespace softdp {

template <class M>
struct PassedOn {
  M mass;        // that has arrived in the cell: d score / d V
  Arcs<M> sent;  // through its arcs: d score / d potential
};

// A state's mass is what its successors send it, as far as arcs lead there; from the right comes what begins in the
// cell, too.
template <class T>
struct Arriving {
  T diagonal, below, right, here;
};
template <class Topology, int kState, class T>
SOFTDP_INLINE TwoFloat<T> sum_of(const Arriving<T>& from) {
  constexpr bool kByDiagonal = leaves<Topology>(kState, kDiagonal);
  // What a strip is sent from the row below it comes as one, whichever way; on a GPU so does what begins in a last row.
  constexpr bool kFromBelow = kOnGpu || kByDiagonal || leaves<Topology>(kState, kAbove);
  TwoFloat<T> sum{from.right, T(0)};
  if constexpr (kFromBelow) {
    sum = {from.below, T(0)};
    if constexpr (kByDiagonal) sum = two_sum(from.diagonal, from.below);
    sum = two_sum(sum, from.right);
  }
  if constexpr (leaves<Topology>(kState, kHere)) sum = two_sum(sum, from.here);
  return sum;
}

// And how they change.
template <class Topology, int kState, class T>
SOFTDP_INLINE TwoFloat<T> sum_of_values(const Arriving<Dual<T>>& from) {
  return sum_of<Topology, kState>(
      Arriving<T>{from.diagonal.value, from.below.value, from.right.value, from.here.value});
}
template <class Topology, int kState, class T>
SOFTDP_INLINE T sum_of_tangents(const Arriving<Dual<T>>& from) {
  T sum = leaves<Topology>(kState, kDiagonal) ? from.diagonal.tangent + from.below.tangent
          : leaves<Topology>(kState, kAbove)  ? from.below.tangent
                                              : T(0);
  sum += from.right.tangent;
  return leaves<Topology>(kState, kHere) ? sum + from.here.tangent : sum;
}

// It passes on its share to each predecessor. A small mass that joins a large one is rounded away, and there are many
// along a path: a gap arc that carries something small itself takes on what the sum has lost.
template <Fractions kTheirs, class T>
SOFTDP_INLINE PassedOn<T> pass_on(TwoFloat<T> arrived, const typename StoredWeights<T>::Word* weights, int stride) {
  Arcs<T> sent = StoredWeights<T>::template share<kTheirs>(weights, stride, arrived.high);
  if constexpr (kOnGpu) {
    const bool insert_takes = sent.remove == 0 && sent.insert != 0;
    if (sent.remove != 0) sent.remove += arrived.low;
    if (insert_takes) sent.insert += arrived.low;
  } else {
    sent.insert = sent.remove != 0 || sent.insert == 0 ? sent.insert : sent.insert + arrived.low;
    sent.remove = sent.remove != 0 ? sent.remove + arrived.low : T(0);
  }
  return {arrived.high, sent};
}

template <class T>
SOFTDP_INLINE Arcs<T> logarithms(Arcs<T> q) {
  return {log_of_weight(q.match), log_of_weight(q.remove), log_of_weight(q.insert)};
}

// Entropy of a cell's weights, by which its mass goes into d score / d gamma.
template <class T>
SOFTDP_INLINE T entropy(Arcs<T> q, Arcs<T> logs) {
  return -(q.match * logs.match + q.remove * logs.remove + q.insert * logs.insert);
}
template <Fractions kTheirs, class T>
SOFTDP_INLINE T entropy(const typename StoredWeights<T>::Word* weights, int stride) {
  const Arcs<T> q = StoredWeights<T>::template share<kTheirs>(weights, stride, T(1));
  return entropy(q, logarithms(q));
}

// How a cell changes along a direction. The value, then the weights of remove and of insert; what these lose is
// match's.
template <class T>
struct Change {
  T value, remove, insert;
};

// Of a place, as they are kept: remove's and insert's, or the remove's of two states.
constexpr int kWeightTangents = 2;

// How a cell's weights change, of those kept in one of its places.
template <class Topology, int kPlace, class T>
SOFTDP_INLINE void changes_in_place(const Change<T>* of_states, T& first, T& second) {
  constexpr int kFirst = state_with<Topology>(kPlace, false), kSecond = state_with<Topology>(kPlace, true);
  first = of_states[kFirst].remove;
  if constexpr (kFirst == kSecond) {
    second = of_states[kFirst].insert;
  } else if constexpr (kSecond != kNoState) {
    second = of_states[kSecond].remove;
  }
}
// And back: remove's and insert's of a state.
template <Fractions kTheirs, class T>
SOFTDP_INLINE T remove_tangent(const T* tangents, int stride) {
  return tangents[kTheirs == Fractions::kSecond ? stride : 0];
}
template <Fractions kTheirs, class T>
SOFTDP_INLINE T insert_tangent(const T* tangents, int stride) {
  return kTheirs == Fractions::kBoth ? tangents[stride] : T(0);
}

// From its weights q and from how the three arcs change (source and potential together), a':
//
//     V'  = sum of q a' + gamma' H(q)
//     q_k' = q_k / gamma (a_k' - sum of q a' - gamma' (log q_k + H(q)))
//
// At gamma = 0, and inverse_gamma = 0, weights stay as they are. kGamma: gamma' is not 0.
template <bool kGamma, class T>
SOFTDP_INLINE Change<T> change_of_cell(Arcs<T> q, Arcs<T> arcs, T gamma_tangent, T inverse_gamma) {
  // What comes by an arc that is not there may be anything.
  const T match = q.match != 0 ? arcs.match : T(0);
  T remove = q.remove != 0 ? arcs.remove : T(0);
  T insert = q.insert != 0 ? arcs.insert : T(0);
  const T mean = q.match * match + (q.remove * remove + q.insert * insert);
  remove -= mean;
  insert -= mean;
  T value = mean;
  if constexpr (kGamma) {
    const Arcs<T> logs = logarithms(q);
    const T its_entropy = entropy(q, logs);
    value += gamma_tangent * its_entropy;
    remove -= gamma_tangent * (logs.remove + its_entropy);
    insert -= gamma_tangent * (logs.insert + its_entropy);
  }
  remove *= q.remove * inverse_gamma;
  insert *= q.insert * inverse_gamma;
  return {value, remove, q.match != 0 ? insert : -remove};  // an arc that is not there gains nothing by rounding
}

// pass_on, and how it changes: `tangent` is how what has arrived does.
template <Fractions kTheirs, class T>
SOFTDP_INLINE PassedOn<Dual<T>> pass_on(TwoFloat<T> arrived, T tangent, const typename StoredWeights<T>::Word* weights,
                                        int stride, const T* weight_tangents, int tangent_stride) {
  const auto [mass, sent] = pass_on<kTheirs>(arrived, weights, stride);
  const Arcs<T> shared = StoredWeights<T>::template share<kTheirs>(weights, stride, tangent);
  const T remove = remove_tangent<kTheirs>(weight_tangents, tangent_stride) * mass;
  const T insert = insert_tangent<kTheirs>(weight_tangents, tangent_stride) * mass;
  return {{mass, tangent},
          {{sent.match, shared.match - (remove + insert)},
           {sent.remove, shared.remove + remove},
           {sent.insert, shared.insert + insert}}};
}

template <Fractions kTheirs, class T>
SOFTDP_INLINE Dual<T> entropy(const typename StoredWeights<T>::Word* weights, int stride, const T* weight_tangents,
                              int tangent_stride) {
  const Arcs<T> q = StoredWeights<T>::template share<kTheirs>(weights, stride, T(1));
  const Arcs<T> logs = logarithms(q);
  const T remove = remove_tangent<kTheirs>(weight_tangents, tangent_stride);
  const T insert = insert_tangent<kTheirs>(weight_tangents, tangent_stride);
  const T tangent = (q.remove > 0 ? remove * (logs.match - logs.remove) : T(0)) +
                    (q.insert > 0 ? insert * (logs.match - logs.insert) : T(0));
  return {entropy(q, logs), tangent};
}

}  // namespace softdp
