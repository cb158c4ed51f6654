// The order of cells on the CPU, and nothing of what a cell means.
//
// A strip is kLanes cells that lie on one anti-diagonal: `pairs` tables side by side, kLanes / pairs rows of each.
// Lane row * pairs + pair is at column step - row, so the cell above is `pairs` lanes back one step ago, the one to the
// left is the same lane one step ago, and the diagonal one is `pairs` lanes back two steps ago. All lanes of a step are
// independent: the loops over lanes become vector code, and several vectors in flight hide the length of a cell's
// chain.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

#include "../../recurrence/scalar.h"
#include "../memory.h"

// The iterations of the loop that follows do not depend on one another.
#if defined(__clang__)
#define SOFTDP_INDEPENDENT _Pragma("clang loop vectorize(enable) interleave(enable)")
#elif defined(__GNUC__)
#define SOFTDP_INDEPENDENT _Pragma("GCC ivdep")
#else
#define SOFTDP_INDEPENDENT
#endif

#define SOFTDP_INLINE_LAMBDA SOFTDP_ALWAYS_INLINE

namespace softdp::cpu {

// f(0), ..., f(kCount - 1), each number a type: where a loop inside of one over lanes would keep it from the vector
// units.
template <int kCount, class F>
SOFTDP_INLINE void unrolled(const F& f) {
  [&]<int... k>(std::integer_sequence<int, k...>)
      SOFTDP_INLINE_LAMBDA { (f(std::integral_constant<int, k>{}), ...); }(std::make_integer_sequence<int, kCount>{});
}

constexpr int kLanes = 32;
constexpr int kMaxPairs = 16;  // at least two rows a strip, so that a strip reads a boundary before it writes it

// How a batch is cut into groups, strips and steps. The weights of a cell lie at [group][strip][step - 1][word][lane].
struct Layout {
  std::int64_t pairs, rows, groups, strips, steps;

  // As many pairs side by side as leave two groups, for two threads, but few of long rows: their tables lie powers of
  // two apart often, and a cache holds few such places.
  Layout(std::int64_t batch, std::int64_t n, std::int64_t m) {
    pairs = 1;
    while (pairs < (m < 128 ? kMaxPairs : 4) && batch >= 4 * pairs) pairs *= 2;
    rows = kLanes / pairs;
    groups = (batch + pairs - 1) / pairs;
    strips = m > 0 ? (n + rows - 1) / rows : 0;
    steps = n > 0 ? m + rows - 1 : 0;
  }

  // Of so many words a lane.
  std::int64_t words_per_strip(int words) const { return product({steps, words, kLanes}); }
  std::int64_t words_of_all(int words) const { return product({groups, strips, words_per_strip(words)}); }
};

// A number for each lane, with room for the row above the strip (before) and the row below it (after).
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

// A number for each pair at each place along a row or a column of cells. Pairs are read and written kMaxPairs at a
// time, however many there are; what comes along is overwritten before it is used, in the direction of the sweep.
template <class T>
class Line {
 public:
  void reset(std::int64_t length, int pairs, T value) {
    pairs_ = pairs;
    storage_ = Memory<T>(product({length, pairs}) + 2 * kMaxPairs, value);
  }
  SOFTDP_INLINE T& at(std::int64_t place, int pair) { return storage_[kMaxPairs + place * pairs_ + pair]; }
  // kMaxPairs numbers: those that begin with the first pair of `place`, those that end with its last.
  SOFTDP_INLINE T* from(std::int64_t place) { return storage_.data() + kMaxPairs + place * pairs_; }
  SOFTDP_INLINE T* upto(std::int64_t place) { return storage_.data() + (place + 1) * pairs_; }

 private:
  Memory<T> storage_;
  int pairs_ = 0;
};

template <class T>
SOFTDP_INLINE void copy_pairs(const T* from, T* to) {
  __builtin_memcpy(to, from, kMaxPairs * sizeof(T));
}

}  // namespace softdp::cpu
