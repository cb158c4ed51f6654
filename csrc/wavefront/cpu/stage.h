// Between tables as the user holds them (row-major, any stride, any float type) and lanes in the order of the sweep.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>

#include "../table.h"
#include "instructions.h"
#include "lanes.h"

namespace softdp::cpu {

constexpr int kChunk = 36;  // steps staged at a time, so that a chunk of every table stays in the first-level cache

// Calls f with a null pointer of the element's C++ type; T is the type of the computation, which it is converted to.
template <class T, class F>
SOFTDP_INLINE void with_element(Element element, F&& f) {
  if constexpr (std::is_same_v<T, double>) return f(static_cast<double*>(nullptr));
  if (element == Element::kHalf) return f(static_cast<torch::headeronly::Half*>(nullptr));
  if (element == Element::kBFloat16) return f(static_cast<torch::headeronly::BFloat16*>(nullptr));
  return f(static_cast<float*>(nullptr));
}

// What one lane sweeps: some columns of a row of numbers, column 0 of which is at step 1 + lag.
template <class E>
struct LaneRow {
  E* data = nullptr;
  std::int64_t lag = 0;
  Range columns = {0, 0};

  SOFTDP_INLINE std::int64_t column(std::int64_t step) const { return step - lag - 1; }
  SOFTDP_INLINE std::int64_t first() const { return lag + 1 + columns.first; }
  SOFTDP_INLINE std::int64_t last() const { return lag + 1 + columns.last; }
};

// Four rows of four numbers.
template <class T>
struct Block {
  typedef T Quad __attribute__((vector_size(4 * sizeof(T))));
  Quad rows[4] = {};

  SOFTDP_INLINE void transpose() {
    const Quad a = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
    const Quad b = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
    const Quad c = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
    const Quad d = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
    rows[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    rows[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    rows[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    rows[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
  }

  template <class E>
  SOFTDP_INLINE void load(int row, const E* from) {
    if constexpr (std::is_same_v<E, T>) {
      __builtin_memcpy(&rows[row], from, sizeof(Quad));
    } else {
      rows[row] =
          Quad{static_cast<T>(from[0]), static_cast<T>(from[1]), static_cast<T>(from[2]), static_cast<T>(from[3])};
    }
  }

  template <class E>
  SOFTDP_INLINE void store(int row, E* to) const {
    if constexpr (std::is_same_v<E, T>) {
      __builtin_memcpy(to, &rows[row], sizeof(Quad));
    } else {
      for (int k = 0; k < 4; ++k) to[k] = static_cast<E>(rows[row][k]);
    }
  }
};

// The steps of a chunk at which all of four lanes are in their rows, if those are enough for a block; the others are
// taken one by one.
struct Span {
  std::int64_t chunk_first, chunk_last, first, last;

  template <class E>
  SOFTDP_INLINE Span(const LaneRow<E> (&rows)[4], std::int64_t its_first, std::int64_t its_last, bool blocks)
      : chunk_first(its_first), chunk_last(its_last), first(its_first), last(its_last) {
    for (const auto& row : rows) {
      first = std::max(first, row.first());
      last = std::min(last, row.last());
    }
    if (!blocks || last - first < 4) first = last = chunk_last;
  }

  // f(step) for blocks of four steps, the last of which may overlap the one before it.
  template <class F>
  SOFTDP_INLINE void each_block(const F& f) const {
    std::int64_t t = first;
    for (; t + 4 <= last; t += 4) f(t);
    if (t < last) f(last - 4);
  }

  // f(q, step) for the other steps at which lane q is in its row.
  template <class E, class F>
  SOFTDP_INLINE void each_other(const LaneRow<E> (&rows)[4], const F& f) const {
    for (int q = 0; q < 4; ++q) {
      const std::int64_t row_last = std::min(chunk_last, rows[q].last());
      for (std::int64_t t = std::max(chunk_first, rows[q].first()); t < std::min(first, row_last); ++t) f(q, t);
      for (std::int64_t t = std::max(last, rows[q].first()); t < row_last; ++t) f(q, t);
    }
  }
};

// Rows lie far apart, and a chunk takes two or three cache lines of each: too little for a processor to see a pattern.
template <bool kWrite, class E>
SOFTDP_INLINE void prefetch(const LaneRow<E> (&rows)[4], std::int64_t step) {
  for (const auto& row : rows) {
    // A number, as it may be no place in any array: what is not there is not brought.
    const auto first = reinterpret_cast<std::uintptr_t>(row.data) + std::uintptr_t(row.column(step)) * sizeof(E);
    for (std::size_t byte = 0; byte < kChunk * sizeof(E); byte += 64)
      __builtin_prefetch(reinterpret_cast<const void*>(first + byte), kWrite, 2);
  }
}

// lanes[step - first][q] = what lane q's row holds at that step, 0 outside the row.
template <class T, class E>
SOFTDP_INLINE void load_lanes(const LaneRow<const E> (&rows)[4], std::int64_t stride, std::int64_t first,
                              std::int64_t last, T* lanes) {
  const Span span(rows, first, last, stride == 1);
  if (stride == 1) prefetch<false>(rows, last);
  span.each_block([&](std::int64_t t) SOFTDP_INLINE_LAMBDA {
    Block<T> block;
    for (int q = 0; q < 4; ++q) block.load(q, rows[q].data + rows[q].column(t));
    block.transpose();
    for (int s = 0; s < 4; ++s) block.store(s, lanes + (t - first + s) * kLanes);
  });
  const Block<T> zero;
  for (std::int64_t t = first; t < span.first; ++t) zero.store(0, lanes + (t - first) * kLanes);
  for (std::int64_t t = span.last; t < last; ++t) zero.store(0, lanes + (t - first) * kLanes);
  span.each_other(rows, [&](int q, std::int64_t t) SOFTDP_INLINE_LAMBDA {
    __asm__ volatile("");  // one by one: gathers are slower
    lanes[(t - first) * kLanes + q] = static_cast<T>(rows[q].data[rows[q].column(t) * stride]);
  });
}

// The reverse: lane q's row at each step that it holds = lanes[step - first][q].
template <class T, class E>
SOFTDP_INLINE void store_lanes(const T* lanes, std::int64_t first, std::int64_t last, const LaneRow<E> (&rows)[4]) {
  const Span span(rows, first, last, true);
  prefetch<true>(rows, first - kChunk);
  span.each_block([&](std::int64_t t) SOFTDP_INLINE_LAMBDA {
    Block<T> block;
    for (int s = 0; s < 4; ++s) block.load(s, lanes + (t - first + s) * kLanes);
    block.transpose();
    for (int q = 0; q < 4; ++q) block.store(q, rows[q].data + rows[q].column(t));
  });
  span.each_other(rows, [&](int q, std::int64_t t) SOFTDP_INLINE_LAMBDA {
    __asm__ volatile("");
    rows[q].data[rows[q].column(t)] = static_cast<E>(lanes[(t - first) * kLanes + q]);
  });
}

}  // namespace softdp::cpu
