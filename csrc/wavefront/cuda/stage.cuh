// The pieces of tables that a strip keeps in shared memory, and how they come there from the user's tables: row-major,
// any stride, any float type.
#pragma once

#include "relay.cuh"

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

// The types that the user's numbers may have: how they are stored, and what they are in the computation.
template <class T>
struct OfType {
  using Stored = T;
  SOFTDP_DEVICE static T number(Stored stored) { return stored; }
  SOFTDP_DEVICE static Stored stored(T number) { return number; }
};
struct OfHalf {
  using Stored = std::uint16_t;
  SOFTDP_DEVICE static float number(Stored stored) { return float_of_half(stored); }
  SOFTDP_DEVICE static Stored stored(float number) { return half_of_float(number); }
};
struct OfBFloat16 {
  using Stored = std::uint16_t;
  SOFTDP_DEVICE static float number(Stored stored) { return float_of_bfloat16(stored); }
  SOFTDP_DEVICE static Stored stored(float number) { return bfloat16_of_float(number); }
};

// Calls f with the type of an element; what is computed in T = double is stored as such.
template <class T, class F>
SOFTDP_DEVICE void with_element(Element element, const F& f) {
  if constexpr (sizeof(T) == 8) {
    f(OfType<double>());
  } else if (element == Element::kFloat) {
    f(OfType<float>());
  } else if (element == Element::kHalf) {
    f(OfHalf());
  } else {
    f(OfBFloat16());
  }
}

template <class T>
SOFTDP_DEVICE T load_element(const void* data, Element element, std::int64_t at) {
  T number;
  with_element<T>(
      element, [&](auto type) { number = type.number(static_cast<const typename decltype(type)::Stored*>(data)[at]); });
  return number;
}

template <class T>
SOFTDP_DEVICE void store_element(void* data, Element element, std::int64_t at, T number) {
  with_element<T>(element,
                  [&](auto type) { static_cast<typename decltype(type)::Stored*>(data)[at] = type.stored(number); });
}

template <class T>
constexpr Element kElement = sizeof(T) == 4 ? Element::kFloat : Element::kDouble;

SOFTDP_INLINE bool is_aligned(const void* memory, std::size_t bytes = 16) {
  return reinterpret_cast<std::uintptr_t>(memory) % bytes == 0;
}

// Calls f with what one row and another begin with, for every `down`-th of `rows` rows from `first` on.
template <class A, class B, class F>
SOFTDP_DEVICE void each_row(int first, int down, int rows, A* one, std::int64_t one_stride, B* other,
                            std::int64_t other_stride, const F& f) {
  one += first * one_stride;
  other += first * other_stride;
#pragma unroll 4
  for (int row = first; row < rows; row += down, one += down * one_stride, other += down * other_stride) f(one, other);
}

// Numbers that are moved as one: 16 bytes of them.
template <class V>
constexpr int kTogether = 16 / sizeof(V);
template <class E, int kCount>
struct alignas(kCount * sizeof(E)) Together {
  E numbers[kCount];
};

// Begins to bring columns [column, column + count) of `rows` rows of a table into a ring: a piece, or the last part of
// a table. `at`: offset of the first row's column 0.
template <class T>
SOFTDP_DEVICE void stage_columns(const Table& table, std::int64_t at, int rows, int column, int count, Ring ring,
                                 T* memory, int lane, int lanes) {
  constexpr int kQuad = kTogether<T>, kQuads = kPiece / kQuad;  // numbers, and so many of them in a row
  at += column * table.column_stride;
  T* const to = memory + ring.offset;
  with_element<T>(table.element, [&](auto type) {
    using Type = decltype(type);
    using From = Together<typename Type::Stored, kTogether<T>>;
    using To = Together<T, kTogether<T>>;
    const auto* const from = static_cast<const typename Type::Stored*>(table.data) + at;
    if (count == kPiece && table.column_stride == 1 && (rows == 1 || table.row_stride % kQuad == 0) &&
        is_aligned(from, sizeof(From))) {
      const int across = lane % kQuads * kQuad;
      each_row(lane / kQuads, lanes / kQuads, rows, to + (column & ring.mask) + across, ring.row_stride, from + across,
               table.row_stride, [](T* one, const typename Type::Stored* other) {
                 if constexpr (std::is_same_v<Type, OfType<T>>) {
                   copy_async<16>(one, other);
                 } else {
                   const From stored = *reinterpret_cast<const From*>(other);
                   To quad;
                   for (int e = 0; e < kTogether<T>; ++e) quad.numbers[e] = Type::number(stored.numbers[e]);
                   *reinterpret_cast<To*>(one) = quad;
                 }
               });
      return;
    }
    const auto bring = [](T* one, const typename Type::Stored* other) {
      if constexpr (std::is_same_v<Type, OfType<T>>) {
        copy_async<sizeof(T)>(one, other);
      } else {
        *one = Type::number(*other);
      }
    };
    if (table.column_stride == 1 || rows == 1) {
      const int across = lanes < kPiece ? lanes : kPiece;
      for (int c = lane % across; c < count; c += across)
        each_row(lane / across, lanes / across, rows, to + ((column + c) & ring.mask), ring.row_stride,
                 from + c * table.column_stride, table.row_stride, bring);
    } else {
      for (int c = 0; c < count; ++c)
        each_row(lane, lanes, rows, to + ((column + c) & ring.mask), ring.row_stride, from + c * table.column_stride,
                 table.row_stride, bring);
    }
  });
}

// The way back: these columns of `rows` rows go from a ring, where they have their own numbers, to rows of m numbers
// without holes. They are a piece, which begins at a multiple of kPiece, or some of its columns. to: the first row's
// column 0.
template <class Type, class T>
SOFTDP_DEVICE void store_columns(typename Type::Stored* to, std::int64_t m, int rows, Span columns, Ring ring,
                                 const T* memory, int lane, int lanes) {
  constexpr int kQuad = kTogether<T>, kQuads = kPiece / kQuad;
  using From = Together<T, kQuad>;
  using To = Together<typename Type::Stored, kQuad>;
  const T* const from = memory + ring.offset;
  to += columns.first;
  if (columns.size() == kPiece && m % kQuad == 0 && is_aligned(to, sizeof(To))) {
    const int across = lane % kQuads * kQuad;
    each_row(lane / kQuads, lanes / kQuads, rows, from + (columns.first & ring.mask) + across, ring.row_stride,
             to + across, m, [](const T* numbers, typename Type::Stored* stored) {
               const From quad = *reinterpret_cast<const From*>(numbers);
               To together;
               for (int e = 0; e < kQuad; ++e) together.numbers[e] = Type::stored(quad.numbers[e]);
               *reinterpret_cast<To*>(stored) = together;
             });
    return;
  }
  const int across = lanes < kPiece ? lanes : kPiece;
  for (int c = lane % across; c < columns.size(); c += across)
    each_row(lane / across, lanes / across, rows, from + ((columns.first + c) & ring.mask), ring.row_stride, to + c, m,
             [](const T* number, typename Type::Stored* stored) { *stored = Type::stored(*number); });
}

// A row of values that one strip leaves to another in global memory: m of them, of which those that begin a piece are
// at a multiple of 16 bytes, so that copies of 16 bytes bring them (relay.cuh). These may bring more than there is.
template <class V>
SOFTDP_INLINE std::int64_t row_length(std::int64_t m) {
  return (m + kTogether<V> - 1) / kTogether<V> * kTogether<V>;
}
template <class V>
SOFTDP_DEVICE void stage_row(const V* from, int count, V* to, int lane, int lanes) {
  for (int at = lane * kTogether<V>; at < count; at += lanes * kTogether<V>) copy_async<16>(to + at, from + at);
}

// Begins to bring a piece of the row above a strip, [kStates] of its columns, into the strip's ring: what the strip
// above has left, as soon as it is done with them, or what was laid; where nothing was, border(state, column from 1).
template <class Strip, class Border>
SOFTDP_DEVICE void stage_above(Strip& strip, int piece, int count, const Border& border) {
  const auto& work = strip.work;
  const Team& team = strip.team;
  const int column = piece * kPiece, lanes = work.plan.lanes;
  auto* const to = strip.in + (column & (kRing - 1));
  if (team.strip > 0) work.relay.follow(work.problem, team.pair, team.strip - 1, piece + 1, strip.seen);
  for (int s = 0; s < Strip::kStates; ++s) {
    if (team.strip > 0 || work.laid) {
      stage_row(work.above_at(team.pair, team.strip, s, column + 1), count, to + s * kRing, team.lane, lanes);
    } else {
      for (int c = team.lane; c < count; c += lanes) to[s * kRing + c] = border(s, column + c + 1);
    }
  }
}

// Begins to bring a piece of what is kept of a strip's cells, kNumbers of each, into one of two pieces in its memory. A
// step's are one line for each place; the lanes share those of a few steps at a time, 16 bytes each. A sweep says how
// many columns' are before the strip's, how many steps it takes, and where those of a step are.
template <bool kBackwards, bool kBand, int kNumbers, class Strip, class E>
SOFTDP_DEVICE void stage_kept(const Strip& strip, const E* kept, int memory, int piece) {
  const Team& team = strip.team;
  constexpr int kPlaces = Strip::kPlaces, kQuad = kTogether<E>, kLines = kQuad / (kNumbers * Strip::kR);
  static_assert(kLines > 0);  // at a time
  const int line = kNumbers * strip.work.plan.lanes * Strip::kR, quads = line / kQuad;
  const int k_first = team.lane / quads, word = team.lane % quads * kQuad;
  const E* const from = kept + strip.kept_at * kPlaces * line + word;
  E* const to = team.at<E>(memory) + (piece & 1) * kPiece * kPlaces * line + word;
  const int steps_left = strip.steps() - piece * kPiece;
  int place = strip.place_at(piece * kPiece + k_first);
  for (int k = k_first; k < kPiece && k < steps_left; k += kLines) {
    for (int p = 0; p < kPlaces; ++p)
      copy_async<16>(to + (k * kPlaces + p) * line, from + (std::int64_t(place) * kPlaces + p) * line);
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
#pragma unroll
    for (int k = 0; k < Family::kTables; ++k) {
      const Table& table = problem.tables[k];
      if (!table.one_column) continue;
      for (int r = lane; r < rows; r += lanes)
        memory[rings[k].offset + r * rings[k].row_stride] =
            load_element<T>(table.data, table.element, offset[k] + (table.one_row ? 0 : row + r) * table.row_stride);
    }
  }

  // Columns [column, column + count) of what does vary.
  SOFTDP_DEVICE void stage(int row, int rows, int column, int count) const {
#pragma unroll
    for (int k = 0; k < Family::kTables; ++k) {
      const Table& table = problem.tables[k];
      if (table.one_column) continue;
      const std::int64_t at = offset[k] + (table.one_row ? 0 : row * table.row_stride);
      stage_columns<T>(table, at, table.one_row ? 1 : rows, column, count, rings[k], memory, lane, lanes);
    }
  }

  // The tables' values at (row in the strip, column).
  SOFTDP_DEVICE void read(int row, int column, T (&values)[Family::kTables]) const {
#pragma unroll
    for (int k = 0; k < Family::kTables; ++k)
      values[k] = memory[rings[k].offset + row * rings[k].row_stride + (column & rings[k].mask)];
  }

  // The same of a lane's rows, where tables have more columns than a ring: so many has that of the first, which is
  // full.
  struct Rows {
    const T* begin[Family::kTables];
    int stride[Family::kTables], mask[Family::kTables];

    SOFTDP_DEVICE void read(int row, int column, T (&values)[Family::kTables]) const {
#pragma unroll
      for (int k = 0; k < Family::kTables; ++k) values[k] = begin[k][row * stride[k] + (column & mask[k])];
    }
  };
  SOFTDP_DEVICE Rows rows_from(int row) const {
    Rows rows;
#pragma unroll
    for (int k = 0; k < Family::kTables; ++k) {
      rows.stride[k] = k == 0 ? kRing : rings[k].row_stride;
      rows.mask[k] = k == 0 ? kRing - 1 : rings[k].mask;
      rows.begin[k] = memory + rings[k].offset + row * rows.stride[k];
    }
    return rows;
  }
};

}  // namespace softdp::cuda
