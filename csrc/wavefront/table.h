// The problem that a sweep solves, on plain memory: tables as strided views, lengths, numbers per pair, gradients.
#pragma once

#include <cstdint>

#include "../recurrence/arcs.h"
#include "size.h"

namespace softdp {

enum class Element { kFloat, kDouble, kHalf, kBFloat16 };

constexpr int kMaxBatchDims = 16;

// The batch dimensions of the first table, which all others broadcast to.
struct Batch {
  int dims = 0;
  std::int64_t sizes[kMaxBatchDims] = {};
  std::int64_t count = 1;
};

// A table (batch..., n, m) read in place: stride 0 where it is broadcast.
struct Table {
  const void* data = nullptr;
  Element element = Element::kFloat;
  std::int64_t batch_strides[kMaxBatchDims] = {};
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 0;
  bool one_row = false;     // size 1 along n
  bool one_column = false;  // size 1 along m

  // Offset of a pair's table, in elements; `pair` counts row-major over the batch dimensions.
  SOFTDP_INLINE std::int64_t offset(const Batch& batch, std::int64_t pair) const {
    std::int64_t at = 0;
    for (int d = batch.dims - 1; d >= 0; --d) {
      at += pair % batch.sizes[d] * batch_strides[d];
      pair /= batch.sizes[d];
    }
    return at;
  }
};

// One number for each pair of sequences; stride 0 for one number that all share.
template <class T>
struct PairNumbers {
  const T* data = nullptr;
  std::int64_t stride = 0;

  SOFTDP_INLINE T operator[](std::int64_t pair) const { return data[pair * stride]; }
};

// What a cell on the border (before the first step of one sequence) is worth.
enum class LeadingGaps { kFree, kPaid, kForbidden };

template <class Family, class T>
struct Problem {
  Family family;
  Batch batch;
  std::int64_t n = 0, m = 0;
  Table tables[Family::kTables];
  PairNumbers<T> gamma;
  PairNumbers<T> parameters[Family::kParameters + 1];  // one more, so that none is no empty array
  const std::int64_t* n_lengths = nullptr;             // [batch], or null: all of n
  const std::int64_t* m_lengths = nullptr;
  LeadingGaps leading_gaps = LeadingGaps::kFree;

  // Whether the arcs of the gaps differ from column to column.
  SOFTDP_INLINE bool gaps_vary() const {
    for (int k = 0; k < Family::kTables; ++k)
      if (Family::kGapTables >> k & 1 && !tables[k].one_column) return true;
    return false;
  }
};

// Where gradients go; null where nobody asks. A table's is contiguous (batch..., n or 1, m or 1), of the table's own
// element type; where a dimension of size 1 was broadcast the gradient is summed over it (but not over the batch).
template <class Family, class T>
struct Gradients {
  void* tables[Family::kTables] = {};
  T* gamma = nullptr;  // [batch]
  T* parameters[Family::kParameters + 1] = {};
};

}  // namespace softdp
