// The problem that a sweep solves, on plain memory: tables as strided views, lengths, numbers per pair, gradients.
#pragma once

#include <cstdint>

#include "../recurrence/ends.h"
#include "../recurrence/families/family.h"
#include "size.h"

namespace softdp {

// From the first to before the last.
struct Range {
  std::int64_t first, last;
};

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

template <Family Family, class T>
struct Problem {
  Family family;
  Batch batch;
  std::int64_t n = 0, m = 0;
  Table tables[Family::kTables];
  PairNumbers<T> gamma;
  PairNumbers<T> parameters[Family::kParameters + 1];  // one more, so that none is no empty array
  const std::int64_t* n_lengths = nullptr;             // [batch], or null: all of n
  const std::int64_t* m_lengths = nullptr;
  Ends ends;
  // Scores of the cells before the first step, [batch][state][m + 1 + n]: of the row above the table from the corner
  // on, then of the column to its left below the corner; or null: `ends` says what they are.
  const double* border = nullptr;
  // Columns, from 0, that paths may pass in each row: [pair, or one for all][n], both ends of which never go back from
  // row to row; or null: all. No path leads through other cells, and nothing of them is read.
  const Range* band = nullptr;
  std::int64_t band_stride = 0;  // from pair to pair

  // Of a row that the pair has, and inside its m columns.
  SOFTDP_INLINE Range columns(std::int64_t pair, std::int64_t row, std::int64_t pair_m) const {
    if (band == nullptr) return {0, pair_m};
    const Range given = band[pair * band_stride + row];
    const std::int64_t first = given.first < 0 ? 0 : given.first < pair_m ? given.first : pair_m;
    return {first, given.last < first ? first : given.last < pair_m ? given.last : pair_m};
  }
  // Whether paths may pass a cell, whose row and column count from 1; 0 is the border, of which no band takes any.
  SOFTDP_INLINE bool in_band(std::int64_t pair, std::int64_t row, std::int64_t column, std::int64_t pair_m) const {
    if (band == nullptr || row == 0 || column == 0) return true;
    const Range range = columns(pair, row - 1, pair_m);
    return range.first < column && column <= range.last;
  }

  // Whether some cells inside the lengths do not have all arcs.
  SOFTDP_INLINE bool masked() const { return band != nullptr || ends.closed(); }

  SOFTDP_INLINE std::int64_t border_length() const { return m + 1 + n; }

  // Whether the arcs of the gaps differ from column to column.
  SOFTDP_INLINE bool gaps_vary() const {
    for (int k = 0; k < Family::kTables; ++k)
      if (Family::kGapTables >> k & 1 && !tables[k].one_column) return true;
    return false;
  }
};

// What a forward sweep puts out beside the weights. Null where nobody asks; what has no place in a table is not
// written.
template <class T>
struct Outputs {
  T* scores = nullptr;       // [batch]
  double* border = nullptr;  // [batch][state][m + 1 + n]: scores of the last row from column 0 on, then of the last
                             // column from row 1 on
};

// What a forward sweep has put out, as it is read again.
template <class T>
struct Kept {
  const T* scores = nullptr;
  const double* border = nullptr;  // null where it was not put out
};

// What a backward sweep begins with: the outputs and their gradients.
template <class T>
struct Upstream {
  const T* scores = nullptr;
  const T* score_gradients = nullptr;
  const double* border = nullptr;
  const double* border_gradients = nullptr;  // null: none of them has one
};

// Where gradients go; null where nobody asks. A table's is contiguous (batch..., n or 1, m or 1), of the table's own
// element type; where a dimension of size 1 was broadcast the gradient is summed over it (but not over the batch).
template <class Family, class T>
struct Gradients {
  void* tables[Family::kTables] = {};
  T* parameters[Family::kParameters + 1] = {};
  T* gamma = nullptr;        // [batch]
  double* border = nullptr;  // as in Problem
};

}  // namespace softdp
