// A team: the lanes that sweep a table or a tile of it together, the order in which they do, and the pieces of tables
// that they keep in shared memory. Nothing here knows a recurrence.
#pragma once

#include <bit>
#include <type_traits>

#include "cuda_plan.h"
#include "device.cuh"
#include "table.h"

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

// Where a launch's blocks are in the tables.
struct Part {
  int diagonal = 0;     // of tiles
  int first_group = 0;  // of the tiles on it
  int tiles = 0;        // on it
};

// Lengths on the GPU are checked without waiting for it; whatever they say, nothing outside a table is touched.
SOFTDP_DEVICE int length_of(const std::int64_t* lengths, std::int64_t pair, std::int64_t most) {
  if (lengths == nullptr) return int(most);
  const std::int64_t asked = lengths[pair];
  return int(asked < 0 ? 0 : asked > most ? most : asked);
}

struct Team {
  std::int64_t pair;
  int n, m;         // lengths of the pair's sequences; 0 where there is no pair, or no part of its table, to sweep
  bool first_tile;  // of the pair's table
  int lane;         // in the strip
  int warp;         // strip in the group
  int first_group, last_group;
  int first_column, columns;  // from 0
  std::byte* memory;          // of the strip

  // Where it is: its strip of a group, and this lane's rows of the strip.
  int group = 0;
  int first_row = 0, rows = 0;    // rows that the table has of the strip, at most 0: none
  int own_row = 0, own_rows = 0;  // this lane's first row; rows from there on in the strip, at most 0: none
  bool has_below = false;         // rows in a strip below this one, in this group or the next
  std::int64_t strip_at = 0;      // columns of all strips before the tile's first in this one

  template <class Family, class T>
  SOFTDP_DEVICE Team(const Problem<Family, T>& problem, const Plan& plan, const Part& part, int strip_bytes) {
    const int strip = thread_index() / plan.lanes;
    lane = thread_index() % plan.lanes;
    warp = strip % plan.warps;
    memory = shared_memory() + std::size_t(strip) * strip_bytes;
    first_column = first_group = 0;
    last_group = plan.groups;
    if (plan.tiled) {
      pair = block_index() / part.tiles;
      first_group = part.first_group + int(block_index() % part.tiles);
      last_group = first_group + 1;
      first_column = int((part.diagonal - first_group) * plan.columns);
    } else {
      pair = block_index() * plan.teams + strip / plan.warps;
    }
    first_tile = first_group == 0 && first_column == 0;
    const bool present = pair < problem.batch.count;
    n = !present ? 0 : length_of(problem.n_lengths, pair, problem.n);
    m = !present ? 0 : length_of(problem.m_lengths, pair, problem.m);
    const int until = plan.tiled ? first_column + int(plan.columns) : m;
    columns = (until < m ? until : m) - first_column;
  }

  // Whether there is a pair at all; n and m may be 0 all the same.
  template <class Family, class T>
  SOFTDP_DEVICE bool present(const Problem<Family, T>& problem) const {
    return pair < problem.batch.count;
  }
  // The one lane that acts for its pair.
  SOFTDP_DEVICE bool first() const { return first_tile && warp == 0 && lane == 0; }
  SOFTDP_DEVICE void sweep_nothing() { n = m = columns = 0; }

  // Goes to its strip of a group.
  template <class Family, class T>
  SOFTDP_DEVICE void enter(const Problem<Family, T>& problem, const Plan& plan, int its_group) {
    const int strip_rows = plan.lanes * kRows<T>;
    group = its_group;
    const int strip = group * plan.warps + warp;
    first_row = strip * strip_rows;
    rows = columns <= 0 ? 0 : n - first_row < strip_rows ? n - first_row : strip_rows;
    own_row = first_row + lane * kRows<T>;
    own_rows = rows - lane * kRows<T>;
    has_below = rows == strip_rows && n > first_row + strip_rows;
    strip_at = (pair * strips_for(problem.n, kRows<T>) + strip) * problem.m + first_column;
  }

  // Calls walk(inside) for a piece in which lanes are at columns [first, last). Where all of these are inside the tile
  // that is known when walk is compiled, and its steps need not ask.
  template <class Walk>
  SOFTDP_DEVICE void with_inside(const Plan& plan, int first, int last, const Walk& walk) const {
    if (plan.lanes == kWarp && first >= 0 && last <= columns) {
      walk(std::true_type());
    } else {
      walk(std::false_type());
    }
  }

  template <class T>
  SOFTDP_DEVICE T* at(int offset) const {
    return reinterpret_cast<T*>(memory + offset);
  }
};

// What is written to shared memory is seen by all lanes that this team's strips exchange with.
SOFTDP_DEVICE void team_barrier(const Plan& plan) {
  if (plan.warps > 1) {
    block_barrier();
  } else {
    warp_barrier();
  }
}

// Takes the team through its groups, from the first to the last or backwards, each strip kHandOn pieces behind the one
// before it. A sweep offers steps(), begin() and end() of a strip, and sweep(piece) between them.
template <bool kBackwards, class Family, class T, class Sweep>
SOFTDP_DEVICE void sweep_groups(const Problem<Family, T>& problem, const Plan& plan, Team& team, Sweep& sweep) {
  const int steps = team.columns > 0 && team.n > 0 ? sweep.steps() : 0;
  const int all_pieces = max_in_warp((steps + kPiece - 1) / kPiece);
  const int behind = kHandOn * (kBackwards ? plan.warps - 1 - team.warp : team.warp);
  for (int i = team.first_group; i < team.last_group; ++i) {
    const int group = kBackwards ? team.first_group + team.last_group - 1 - i : i;
    if (plan.lanes == kWarp && group * plan.warps * plan.lanes * kRows<T> >= team.n) continue;  // no rows
    team.enter(problem, plan, group);
    sweep.begin();
    team_barrier(plan);
    const int pieces = plan.lanes < kWarp || team.rows > 0 ? all_pieces : 0;
    for (int tick = 0; tick < all_pieces + kHandOn * (plan.warps - 1); ++tick) {
      const int piece = tick - behind;
      if (piece >= 0 && piece < pieces) sweep.sweep(piece);
      team_barrier(plan);
    }
    sweep.end();
    team_barrier(plan);
  }
  wait_for_copies<0>();
}

// ---- a struct of two words through the shuffles ----

template <class V>
struct TwoWords {
  using Word = std::conditional_t<sizeof(V) == 8, std::uint32_t, std::uint64_t>;
  Word words[2];
};

template <class V>
SOFTDP_DEVICE V value_from_lane_before(const V& value, int lanes) {
  auto both = std::bit_cast<TwoWords<V>>(value);
  for (auto& word : both.words) word = shuffle_up(word, 1, lanes);
  return std::bit_cast<V>(both);
}

// ---- elements as the user holds them ----

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
