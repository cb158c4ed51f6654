// The backward step of a cell: linear, and the same for every family.
#pragma once

#include "two_float.h"
#include "weights.h"

namespace softdp {

template <class T>
struct PassedOn {
  T mass;        // that has arrived in the cell: d score / d V
  Arcs<T> sent;  // through its arcs: d score / d potential
};

// A cell's mass is what its three successors send it; it passes on its share to each predecessor. A small mass that
// joins a large one is rounded away, and there are many along a path: a gap arc that carries something small itself
// takes on what the sum has lost.
template <class T>
SOFTDP_INLINE PassedOn<T> pass_on(T from_diagonal, T from_below, T from_right,
                                  const typename StoredWeights<T>::Word* weights, int stride) {
  const TwoFloat<T> arrived = two_sum(two_sum(TwoFloat<T>{from_diagonal, 0}, from_below), from_right);
  Arcs<T> sent = StoredWeights<T>::share(weights, stride, arrived.high);
  sent.insert = sent.remove != 0 || sent.insert == 0 ? sent.insert : sent.insert + arrived.low;
  sent.remove = sent.remove != 0 ? sent.remove + arrived.low : T(0);
  return {arrived.high, sent};
}

// Entropy of a cell's weights, by which its mass goes into d score / d gamma.
template <class T>
SOFTDP_INLINE T entropy(const typename StoredWeights<T>::Word* weights, int stride) {
  const Arcs<T> q = StoredWeights<T>::share(weights, stride, T(1));
  return -((q.match > 0 ? q.match * log(q.match) : T(0)) + (q.remove > 0 ? q.remove * log(q.remove) : T(0)) +
           (q.insert > 0 ? q.insert * log(q.insert) : T(0)));
}

}  // namespace softdp
