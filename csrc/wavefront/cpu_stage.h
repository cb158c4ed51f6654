// Between tables as the user holds them (row-major, any stride, any float type) and lanes in the order of the sweep.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>

#include "cpu_sweep.h"
#include "table.h"

namespace softdp::cpu {

constexpr int kChunk = 32;  // steps staged at a time, so that a chunk of every table stays in the first-level cache

// Calls f with a null pointer of the element's C++ type.
template <class F>
SOFTDP_INLINE void with_element(Element element, F&& f) {
  switch (element) {
    case Element::kFloat:
      return f(static_cast<float*>(nullptr));
    case Element::kDouble:
      return f(static_cast<double*>(nullptr));
    case Element::kHalf:
      return f(static_cast<torch::headeronly::Half*>(nullptr));
    case Element::kBFloat16:
      return f(static_cast<torch::headeronly::BFloat16*>(nullptr));
  }
}

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
      for (int k = 0; k < 4; ++k) rows[row][k] = static_cast<T>(from[k]);
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

// What one lane sweeps: a row of m numbers, at column 1 at step 1 + lag. m = 0: no row.
template <class E>
struct LaneRow {
  E* data = nullptr;
  std::int64_t lag = 0, m = 0;

  // The place of a step, if it is in 0..m-1.
  SOFTDP_INLINE std::int64_t column(std::int64_t step) const { return step - lag - 1; }
  SOFTDP_INLINE bool holds(std::int64_t step) const { return column(step) >= 0 && column(step) < m; }
};

// Steps, a multiple of four from `first`, at which all four lanes are in their rows.
struct Common {
  std::int64_t first, last;

  template <class E>
  SOFTDP_INLINE Common(const LaneRow<E> (&rows)[4], std::int64_t chunk_first, std::int64_t chunk_last)
      : first(chunk_first), last(chunk_last) {
    for (const auto& row : rows) {
      first = std::max(first, row.lag + 1);
      last = std::min(last, row.lag + 1 + row.m);
    }
    last = first < last ? first + (last - first) / 4 * 4 : first;
    if (first >= last) first = last = chunk_first;
  }
};

// lanes[step - first][q] = what lane q's row holds at that step, 0 outside the row.
template <class T, class E>
SOFTDP_INLINE void load_lanes(const LaneRow<const E> (&rows)[4], std::int64_t stride, std::int64_t first,
                              std::int64_t last, T* lanes) {
  const Common common = stride == 1 ? Common(rows, first, last) : Common(rows, first, first);
  const auto one_by_one = [&](std::int64_t from, std::int64_t to) SOFTDP_INLINE_LAMBDA {
    for (std::int64_t t = from; t < to; ++t)
      for (int q = 0; q < 4; ++q)
        lanes[(t - first) * kLanes + q] =
            rows[q].holds(t) ? static_cast<T>(rows[q].data[rows[q].column(t) * stride]) : T(0);
  };
  one_by_one(first, common.first);
  for (std::int64_t t = common.first; t < common.last; t += 4) {
    Block<T> block;
    for (int q = 0; q < 4; ++q) block.load(q, rows[q].data + rows[q].column(t));
    block.transpose();
    for (int s = 0; s < 4; ++s) block.store(s, lanes + (t - first + s) * kLanes);
  }
  one_by_one(common.last, last);
}

// The reverse: lane q's row at each step that it holds = lanes[step - first][q].
template <class T, class E>
SOFTDP_INLINE void store_lanes(const T* lanes, std::int64_t first, std::int64_t last, const LaneRow<E> (&rows)[4]) {
  const Common common(rows, first, last);
  const auto one_by_one = [&](std::int64_t from, std::int64_t to) SOFTDP_INLINE_LAMBDA {
    for (std::int64_t t = from; t < to; ++t)
      for (int q = 0; q < 4; ++q)
        if (rows[q].holds(t)) rows[q].data[rows[q].column(t)] = static_cast<E>(lanes[(t - first) * kLanes + q]);
  };
  one_by_one(first, common.first);
  for (std::int64_t t = common.first; t < common.last; t += 4) {
    Block<T> block;
    for (int s = 0; s < 4; ++s) block.load(s, lanes + (t - first + s) * kLanes);
    block.transpose();
    for (int q = 0; q < 4; ++q) block.store(q, rows[q].data + rows[q].column(t));
  }
  one_by_one(common.last, last);
}

}  // namespace softdp::cpu
