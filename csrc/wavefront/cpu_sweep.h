// The order of cells on the CPU, and nothing of what a cell means.
//
// A strip is kLanes cells that lie on one anti-diagonal: `pairs` tables side by side, kLanes / pairs rows of each.
// Lane row * pairs + pair is at column step - row, so the cell above is `pairs` lanes back one step ago, the one to the
// left is the same lane one step ago, and the diagonal one is `pairs` lanes back two steps ago. All lanes of a step are
// independent: the loops below become vector code, and several vectors in flight hide the length of a cell's chain.
#pragma once

#include <cstdint>

#include "../recurrence/weights.h"

// The iterations of the loop that follows do not depend on one another.
#if defined(__clang__)
#define SOFTDP_INDEPENDENT _Pragma("clang loop vectorize(enable) interleave(enable)")
#elif defined(__GNUC__)
#define SOFTDP_INDEPENDENT _Pragma("GCC ivdep")
#else
#define SOFTDP_INDEPENDENT
#endif

#define SOFTDP_INLINE_LAMBDA __attribute__((always_inline))

namespace softdp::cpu {

constexpr int kLanes = 32;
constexpr int kMaxPairs = 16;  // at least two rows a strip, so that a strip reads a boundary before it writes it

// A value for each lane, with room for the row above the strip (before) and the row below it (after).
template <class T>
struct alignas(64) Lanes {
  T padded[kMaxPairs + kLanes + kMaxPairs] = {};

  SOFTDP_INLINE T* lane() { return padded + kMaxPairs; }
  SOFTDP_INLINE const T* lane() const { return padded + kMaxPairs; }
  // kMaxPairs lanes: those that end before lane l, those that begin with it.
  SOFTDP_INLINE T* upto_lane(std::int64_t l) { return lane() + l - kMaxPairs; }
  SOFTDP_INLINE const T* upto_lane(std::int64_t l) const { return lane() + l - kMaxPairs; }
  SOFTDP_INLINE T* from_lane(std::int64_t l) { return lane() + l; }
};

template <class T>
struct Diagonal {
  Lanes<T> high, low;
};

// One step forward (kGeneral: gamma may be 0, potentials may be +inf): the values of this diagonal and the weights of
// its cells, from the two diagonals before it.
template <bool kGeneral, bool kKeepWeights, class T>
SOFTDP_INLINE void forward_step(const Diagonal<T>& two_ago, const Diagonal<T>& one_ago, Diagonal<T>& now, int pairs,
                                const T* match, const T* remove, const T* insert,  // potentials, [kLanes]
                                const T* gamma, const T* scale,                    // [kLanes]
                                const T* lane_dither, T step_dither,               // [kLanes]
                                typename StoredWeights<T>::Word* weights) {        // [words][kLanes]
  const T* diagonal_high = two_ago.high.lane() - pairs;
  const T* diagonal_low = two_ago.low.lane() - pairs;
  const T* above_high = one_ago.high.lane() - pairs;
  const T* above_low = one_ago.low.lane() - pairs;
  const T* left_high = one_ago.high.lane();
  const T* left_low = one_ago.low.lane();
  T* value_high = now.high.lane();
  T* value_low = now.low.lane();
  SOFTDP_INDEPENDENT
  for (int l = 0; l < kLanes; ++l) {
    const Cell<T> cell = smooth_max<kGeneral>(add<kGeneral>(TwoFloat<T>{diagonal_high[l], diagonal_low[l]}, match[l]),
                                              add<kGeneral>(TwoFloat<T>{above_high[l], above_low[l]}, remove[l]),
                                              add<kGeneral>(TwoFloat<T>{left_high[l], left_low[l]}, insert[l]),
                                              Smoothness<T>{gamma[l], scale[l]});
    value_high[l] = cell.value.high;
    value_low[l] = cell.value.low;
    if constexpr (kKeepWeights) {
      const T dither = StoredWeights<T>::dither(lane_dither[l], step_dither);
      StoredWeights<T>::store(weights + l, kLanes, cell.weights, dither);
    }
  }
}

// The masses that leave the cells of a diagonal through their three arcs.
template <class T>
struct Masses {
  Lanes<T> match, remove, insert;
};

// One step backward: a cell's mass is what its three successors send it; it passes on its share to each predecessor.
template <class T>
SOFTDP_INLINE void backward_step(const Masses<T>& two_later, const Masses<T>& one_later, Masses<T>& now, int pairs,
                                 const typename StoredWeights<T>::Word* weights,  // [words][kLanes]
                                 T* mass) {                                       // [kLanes]
  const T* from_diagonal = two_later.match.lane() + pairs;
  const T* from_below = one_later.remove.lane() + pairs;
  const T* from_right = one_later.insert.lane();
  T* match = now.match.lane();
  T* remove = now.remove.lane();
  T* insert = now.insert.lane();
  SOFTDP_INDEPENDENT
  for (int l = 0; l < kLanes; ++l) {
    const TwoFloat<T> arrived = add<false>(add<false>(TwoFloat<T>{from_diagonal[l], 0}, from_below[l]), from_right[l]);
    mass[l] = arrived.high;
    const Arcs<T> sent = StoredWeights<T>::share(weights + l, kLanes, arrived.high);
    // A small mass that joins a large one is rounded away, and there are many along a path: a gap arc that carries
    // something small itself takes on what the sum has lost.
    match[l] = sent.match;
    remove[l] = sent.remove != 0 ? sent.remove + arrived.low : T(0);
    insert[l] = sent.remove != 0 || sent.insert == 0 ? sent.insert : sent.insert + arrived.low;
  }
}

}  // namespace softdp::cpu
