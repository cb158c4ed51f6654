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
    case Element::kFloat: return f(static_cast<float*>(nullptr));
    case Element::kDouble: return f(static_cast<double*>(nullptr));
    case Element::kHalf: return f(static_cast<torch::headeronly::Half*>(nullptr));
    case Element::kBFloat16: return f(static_cast<torch::headeronly::BFloat16*>(nullptr));
  }
}

// The steps of a chunk in which a lane of row `row` is inside its table's columns 1..m.
struct Span {
  std::int64_t first, last;  // [first, last)

  Span(std::int64_t chunk_first, std::int64_t chunk_last, int row, std::int64_t m)
      : first(std::max<std::int64_t>(chunk_first, row + 1)), last(std::min<std::int64_t>(chunk_last, row + 1 + m)) {
    last = std::max(first, last);
  }
};

// lanes[step - first][lane] = table[row of lane, column of lane at step], 0 outside the pair's table.
template <class T, class E>
SOFTDP_INLINE void load_lane(const E* row, std::int64_t column_stride, int lane_row, std::int64_t m, std::int64_t first,
                             std::int64_t last, T* lane) {
  const Span span(first, last, lane_row, m);
  for (std::int64_t t = first; t < std::min(span.first, last); ++t) lane[(t - first) * kLanes] = 0;
  for (std::int64_t t = std::max(span.last, first); t < last; ++t) lane[(t - first) * kLanes] = 0;
  const E* from = row + (span.first - lane_row - 1) * column_stride;
  T* to = lane + (span.first - first) * kLanes;
  const std::int64_t count = span.last - span.first;
  for (std::int64_t k = 0; k < count; ++k) to[k * kLanes] = static_cast<T>(from[k * column_stride]);
}

template <class T, class E>
SOFTDP_INLINE void store_lane(const T* lane, int lane_row, std::int64_t m, std::int64_t first, std::int64_t last,
                              E* row) {
  const Span span(first, last, lane_row, m);
  E* to = row + (span.first - lane_row - 1);
  const T* from = lane + (span.first - first) * kLanes;
  const std::int64_t count = span.last - span.first;
  for (std::int64_t k = 0; k < count; ++k) to[k] = static_cast<E>(from[k * kLanes]);
}

}  // namespace softdp::cpu
