// The pieces of tables that a strip keeps in shared memory, and how they come there from the user's tables: row-major,
// any stride, any float type.
#pragma once

#include "team.cuh"

namespace softdp::cuda {

// A piece of a table in a strip's shared memory: (row, column) is at offset + row * row_stride + (column & mask), in
// elements of the computation's type. Tables that do not vary along rows or columns have stride or mask 0, so that all
// are read alike. A full table's ring has kRing columns, or fewer if it holds the whole table; lanes on one
// anti-diagonal find them in different banks.
struct Ring {
  int offset = 0, row_stride = 0, mask = 0;
};

// Shared memory of a strip, laid out by the host.
struct StripMemory {
  int bytes = 0;

  // Room for `count` numbers of type T; returns where it begins, in bytes.
  template <class T>
  int reserve(int count) {
    const int at = bytes;
    bytes += (count * int(sizeof(T)) + 15) / 16 * 16;
    return at;
  }

  // Of a table with m columns.
  template <class T>
  Ring ring(const Table& table, int strip_rows, std::int64_t m) {
    const int needed = m <= kPiece ? kPiece : m <= 2 * kPiece ? 2 * kPiece : kRing;
    const int columns = table.one_column ? 1 : needed, rows = table.one_row && !table.one_column ? 1 : strip_rows;
    return {reserve<T>(rows * columns) / int(sizeof(T)), rows == 1 ? 0 : columns, columns - 1};
  }
};

template <class T>
SOFTDP_DEVICE T load_element(const void* data, Element element, std::int64_t at) {
  switch (element) {
    case Element::kFloat:
      return T(static_cast<const float*>(data)[at]);
    case Element::kDouble:
      return T(static_cast<const double*>(data)[at]);
    case Element::kHalf:
      return T(float_of_half(static_cast<const std::uint16_t*>(data)[at]));
    default:
      return T(float_of_bfloat16(static_cast<const std::uint16_t*>(data)[at]));
  }
}

template <class T>
SOFTDP_DEVICE void store_element(void* data, Element element, std::int64_t at, T value) {
  switch (element) {
    case Element::kFloat:
      static_cast<float*>(data)[at] = float(value);
      return;
    case Element::kDouble:
      static_cast<double*>(data)[at] = double(value);
      return;
    case Element::kHalf:
      static_cast<std::uint16_t*>(data)[at] = half_of_float(float(value));
      return;
    default:
      static_cast<std::uint16_t*>(data)[at] = bfloat16_of_float(float(value));
  }
}

template <class T>
constexpr Element kElement = sizeof(T) == 4 ? Element::kFloat : Element::kDouble;

// Begins to bring columns [column, column + count) of `rows` rows of a table, count <= kPiece, into a ring, where the
// first of them has number `ring_column`, a multiple of kPiece. `at`: offset of the first row's column 0.
template <class T>
SOFTDP_DEVICE void stage_columns(const Table& table, std::int64_t at, int rows, int column, int count, int ring_column,
                                 Ring ring, T* memory, int lane, int lanes) {
  constexpr int kQuad = 16 / sizeof(T), kQuads = kPiece / kQuad;  // numbers of 16 bytes, and how many in a row
  T* const to_first = memory + ring.offset;
  const bool in_rows = table.column_stride == 1;
  const bool own_type = table.element == kElement<T>;
  const std::int64_t from_first = at + column * table.column_stride;
  const bool wide = own_type && in_rows && (rows == 1 || table.row_stride % kQuad == 0) &&
                    (reinterpret_cast<std::uintptr_t>(table.data) / sizeof(T) + from_first) % kQuad == 0;
  for (int i = lane; i < rows * kQuads; i += lanes) {
    const int row = in_rows ? i / kQuads : i % rows, first = (in_rows ? i % kQuads : i / rows) * kQuad;
    T* const to = to_first + row * ring.row_stride + ((ring_column + first) & ring.mask);
    const std::int64_t from = from_first + row * table.row_stride + first * table.column_stride;
    if (wide && first + kQuad <= count) {
      copy_async<16>(to, static_cast<const T*>(table.data) + from);
      continue;
    }
    for (int e = 0; e < kQuad && first + e < count; ++e) {
      const std::int64_t one = from + e * table.column_stride;
      if (own_type) {
        copy_async<sizeof(T)>(to + e, static_cast<const T*>(table.data) + one);
      } else {
        to[e] = load_element<T>(table.data, table.element, one);
      }
    }
  }
}

// Begins to bring a piece of what is kept of a strip's cells, kNumbers of each, into one of two pieces in its memory. A
// step's are one line for each state; the lanes share those of a few steps at a time, 16 bytes each. A sweep says how
// many columns' are before the strip's, how many steps it takes, and where those of a step are.
template <bool kBackwards, bool kBand, int kNumbers, class Strip, class E>
SOFTDP_DEVICE void stage_kept(const Strip& strip, const E* kept, int memory, int piece) {
  const Team& team = strip.team;
  constexpr int kStates = Strip::kStates, kQuad = 16 / sizeof(E), kLines = kQuad / (kNumbers * Strip::kR);
  static_assert(kLines > 0);  // at a time
  const int line = kNumbers * strip.work.plan.lanes * Strip::kR, quads = line / kQuad;
  const int k_first = team.lane / quads, word = team.lane % quads * kQuad;
  const E* const from = kept + strip.kept_at * kStates * line + word;
  E* const to = team.at<E>(memory) + (piece & 1) * kPiece * kStates * line + word;
  const int steps_left = strip.steps() - piece * kPiece;
  int place = strip.place_at(piece * kPiece + k_first);
  for (int k = k_first; k < kPiece && k < steps_left; k += kLines) {
    for (int s = 0; s < kStates; ++s)
      copy_async<16>(to + (k * kStates + s) * line, from + (std::int64_t(place) * kStates + s) * line);
    if constexpr (kBackwards) {
      for (place -= kLines; place < 0;) place += team.places<kBand>();
    } else {
      for (place += kLines; place >= team.places<kBand>();) place -= team.places<kBand>();
    }
  }
}

// Tables of one strip of one pair, and what they hold in shared memory.
template <class Family, class T>
struct StripTables {
  const Problem<Family, T>& problem;
  const Ring (&rings)[Family::kTables];
  std::int64_t offset[Family::kTables];  // of the pair
  T* memory;
  int lane, lanes;

  SOFTDP_DEVICE StripTables(const Problem<Family, T>& problem, const Ring (&rings)[Family::kTables], const Team& team,
                            const Plan& plan)
      : problem(problem), rings(rings), memory(team.at<T>(0)), lane(team.lane), lanes(plan.lanes) {
    for (int k = 0; k < Family::kTables; ++k)
      offset[k] = team.present(problem) ? problem.tables[k].offset(problem.batch, team.pair) : 0;
  }

  // What does not vary along the rows, for the `rows` rows that begin with `row`.
  SOFTDP_DEVICE void stage_fixed(int row, int rows) const {
    for (int k = 0; k < Family::kTables; ++k) {
      const Table& table = problem.tables[k];
      if (!table.one_column) continue;
      for (int r = lane; r < rows; r += lanes)
        memory[rings[k].offset + r * rings[k].row_stride] =
            load_element<T>(table.data, table.element, offset[k] + (table.one_row ? 0 : row + r) * table.row_stride);
    }
  }

  // Columns [first_column + piece_column, + count) of what does vary.
  SOFTDP_DEVICE void stage(int row, int rows, int first_column, int piece_column, int count) const {
    for (int k = 0; k < Family::kTables; ++k) {
      const Table& table = problem.tables[k];
      if (table.one_column) continue;
      const std::int64_t at = offset[k] + (table.one_row ? 0 : row * table.row_stride);
      stage_columns<T>(table, at, table.one_row ? 1 : rows, first_column + piece_column, count, piece_column, rings[k],
                       memory, lane, lanes);
    }
  }

  // The tables' values at (row in the strip, column in the tile).
  SOFTDP_DEVICE void read(int row, int column, T (&values)[Family::kTables]) const {
    for (int k = 0; k < Family::kTables; ++k)
      values[k] = memory[rings[k].offset + row * rings[k].row_stride + (column & rings[k].mask)];
  }
};

}  // namespace softdp::cuda
