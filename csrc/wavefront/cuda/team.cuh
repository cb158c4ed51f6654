// A team: the lanes that sweep a table or a tile of it together, and the order in which they do. Nothing here knows a
// recurrence.
#pragma once

#include <bit>
#include <type_traits>
#include <utility>

#include "../table.h"
#include "device.cuh"
#include "plan.h"

namespace softdp::cuda {

// Where a launch's blocks are in the tables.
struct Part {
  int diagonal = 0;     // of tiles
  int first_group = 0;  // of the tiles on it
  int tiles = 0;        // on it
};

// What lengths and gammas are on the GPU only the GPU sees. Whatever they say, nothing outside a table is touched;
// where one of them is none, what comes of its pair is undefined, and no other pair is touched.
template <class Family, class T>
SOFTDP_DEVICE bool is_defined(const Problem<Family, T>& problem, std::int64_t pair) {
  const T gamma = problem.gamma[pair];
  const std::int64_t n = problem.n_lengths ? problem.n_lengths[pair] : 0;
  const std::int64_t m = problem.m_lengths ? problem.m_lengths[pair] : 0;
  return gamma >= T(0) && gamma < kInfinity<T> && n >= 0 && n <= problem.n && m >= 0 && m <= problem.m;
}

SOFTDP_DEVICE int length_of(const std::int64_t* lengths, std::int64_t pair, std::int64_t most) {
  if (lengths == nullptr) return int(most);
  const std::int64_t asked = lengths[pair];
  return int(asked < 0 ? 0 : asked > most ? most : asked);
}

// What a strip of these rows sweeps: the columns that they are in, and one before, over which the row above hands on to
// their first. Where the ends of a band go back, which nothing waits to see, some of them are left out.
template <class Family, class T>
SOFTDP_DEVICE Range strip_columns(const Problem<Family, T>& problem, std::int64_t pair, int row, int rows, int m) {
  const std::int64_t first = problem.columns(pair, row, m).first, last = problem.columns(pair, row + rows - 1, m).last;
  return {first > 0 ? first - 1 : 0, last > first ? last : first};
}

// Columns of a tile, or pieces of a sweep, from the first to before the last.
struct Span {
  int first = 0, last = 0;

  SOFTDP_DEVICE int size() const { return last - first; }
  SOFTDP_DEVICE bool has(int at) const { return unsigned(at - first) < unsigned(last - first); }
};

// kBand: the problem has a band, and a strip sweeps its rows' columns alone. Known when a kernel is compiled, so that
// one without a band does nothing for it.
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
  int group = 0, strip = 0;         // both of the table's
  int first_row = 0, rows = 0;      // rows that the table has of the strip, at most 0: none
  int own_row = 0, own_rows = 0;    // this lane's first row; rows from there on in the strip, at most 0: none
  Span swept;                       // columns of the tile, none without rows
  int kept_columns = 0;             // with a band: of how many columns of the table the strip has weights
  bool has_below = false;           // rows in a strip below this one, in this group or the next
  std::int64_t strip_at = 0;        // columns of all strips before the tile's first in this one
  Numbers<Span, kMostRows> in_row;  // with a band: the tile's columns that this lane's rows have

  template <class Family, class T>
  SOFTDP_DEVICE Team(const Problem<Family, T>& problem, const Plan& plan, const Part& part, int strip_bytes) {
    const int in_block = thread_index() / plan.lanes;
    lane = thread_index() % plan.lanes;
    warp = in_block % plan.warps;
    memory = shared_memory() + std::size_t(in_block) * strip_bytes;
    first_column = first_group = 0;
    last_group = plan.groups;
    if (plan.tiled) {
      pair = block_index() / part.tiles;
      first_group = part.first_group + int(block_index() % part.tiles);
      last_group = first_group + 1;
      first_column = int((part.diagonal - first_group) * plan.columns);
    } else {
      pair = block_index() * plan.teams + in_block / plan.warps;
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
  template <bool kBand, class Family, class T>
  SOFTDP_DEVICE void enter(const Problem<Family, T>& problem, const Plan& plan, int its_group) {
    const int strip_rows = plan.lanes * kRows<T>;
    group = its_group;
    strip = group * plan.warps + warp;
    first_row = strip * strip_rows;
    rows = columns <= 0 ? 0 : n - first_row < strip_rows ? n - first_row : strip_rows;
    own_row = first_row + lane * kRows<T>;
    own_rows = rows - lane * kRows<T>;
    swept = {0, rows > 0 ? columns : 0};
    has_below = rows == strip_rows && n > first_row + strip_rows;
    strip_at = (pair * strips_for(problem.n, kRows<T>) + strip) * problem.m + first_column;
    if constexpr (kBand) {
      in_row = {};
      kept_columns = 0;
      if (rows > 0) {
        const Range range = strip_columns(problem, pair, first_row, rows, m);
        kept_columns = int(range.last - range.first);
        swept = in_tile(range);
        for (int r = 0; r < kRows<T>; ++r)
          if (r < own_rows) in_row.at[r] = in_tile(problem.columns(pair, own_row + r, m));
      }
    }
  }

  SOFTDP_DEVICE Span in_tile(Range range) const {
    const auto inside = [&](std::int64_t column) {
      return int(column < first_column ? 0 : column > first_column + columns ? columns : column - first_column);
    };
    return {inside(range.first), inside(range.last)};
  }
  // What all strips of its group sweep of the tile.
  template <class Family, class T>
  SOFTDP_DEVICE Span swept_by_group(const Problem<Family, T>& problem, const Plan& plan) const {
    const int most = plan.group_rows(kRows<T>), row = group * most, its_rows = n - row < most ? n - row : most;
    return columns > 0 && its_rows > 0 ? in_tile(strip_columns(problem, pair, row, its_rows, m)) : Span{};
  }

  // How many columns' weights are before the strip's. begins: where there is a band, of the first column that a strip
  // sweeps, [pair][strip].
  template <bool kBand, class Family, class T>
  SOFTDP_DEVICE std::int64_t kept_at(const Problem<Family, T>& problem, const std::int64_t* begins) const {
    if constexpr (kBand) return begins[pair * strips_for(problem.n, kRows<T>) + strip];
    return strip_at - first_column;
  }
  // How many of the strip's columns have weights, and the place of a step of the tile among them: the same whatever
  // the tiles are, as what another op sweeps of the table may be cut into others.
  template <bool kBand>
  SOFTDP_DEVICE int places() const {
    return kBand ? kept_columns : m;
  }
  template <bool kBand>
  SOFTDP_DEVICE int place_of(int step) const {
    return (first_column + step) % places<kBand>();
  }

  // Whether this lane has the last of the strip's rows, and whether the tile has the last of the table's columns.
  template <class T>
  SOFTDP_DEVICE bool has_end() const {
    return own_rows > 0 && own_rows <= kRows<T>;
  }
  SOFTDP_DEVICE bool last_tile() const { return first_column + columns == m; }

  // Whether this lane has something to do in this column of the tile.
  SOFTDP_DEVICE bool sweeps(int column) const { return swept.has(column); }
  // Whether the table has a cell in row r of this lane, which a path may pass.
  template <bool kBand>
  SOFTDP_DEVICE bool has(int r, int column) const {
    if constexpr (kBand) return in_row[r].has(column);
    return r < own_rows;
  }
  // The same of any, whose row and column count from 1.
  template <bool kBand, class Family, class T>
  SOFTDP_DEVICE bool in_band(const Problem<Family, T>& problem, int row, int column) const {
    return !kBand || problem.in_band(pair, row, column, m);
  }
  // Whether all lanes have, in a piece in which they are at columns [first, last).
  SOFTDP_DEVICE bool all_sweep(const Plan& plan, int first, int last) const {
    return plan.lanes == kWarp && first >= 0 && last <= columns;
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

// From the first piece of any team in the warp to the last.
SOFTDP_DEVICE Span of_warp(Span pieces) { return {-max_in_warp(-pieces.first), max_in_warp(pieces.last)}; }

// Takes the team through its groups, from the first to the last or backwards, each strip kHandOn pieces behind the one
// before it. A sweep offers pieces() in which columns of the tile are swept, begin(first piece) and end() of a strip,
// and sweep(piece) between them.
template <bool kBackwards, bool kBand, class Family, class T, class Sweep>
SOFTDP_DEVICE void sweep_groups(const Problem<Family, T>& problem, const Plan& plan, Team& team, Sweep& sweep) {
  Span pieces, own;  // of the group, of the strip
  if constexpr (!kBand)
    pieces.last = max_in_warp(team.columns > 0 && team.n > 0 ? sweep.pieces({0, team.columns}).last : 0);
  const int behind = kHandOn * (kBackwards ? plan.warps - 1 - team.warp : team.warp);
  for (int i = team.first_group; i < team.last_group; ++i) {
    const int group = kBackwards ? team.first_group + team.last_group - 1 - i : i;
    if (plan.lanes == kWarp && group * plan.group_rows(kRows<T>) >= team.n) continue;  // no rows
    team.enter<kBand>(problem, plan, group);
    if constexpr (kBand) {
      pieces = of_warp(sweep.pieces(team.swept_by_group(problem, plan)));
      own = of_warp(sweep.pieces(team.swept));
    } else {
      own.last = plan.lanes < kWarp || team.rows > 0 ? pieces.last : 0;
    }
    sweep.begin(own.first);
    team_barrier(plan);
    for (int tick = pieces.first; tick < pieces.last + kHandOn * (plan.warps - 1); ++tick) {
      const int piece = tick - behind;
      if (piece >= own.first && piece < own.last) sweep.sweep(piece);
      team_barrier(plan);
    }
    sweep.end();
    wait_for_copies<0>();
    team_barrier(plan);
  }
}

// Calls f with what `flag` says, known when f is compiled.
template <class F>
SOFTDP_DEVICE void with_flag(bool flag, const F& f) {
  if (flag) {
    f(std::true_type());
  } else {
    f(std::false_type());
  }
}

// f(0), ..., f(kCount - 1), the numbers known when it is compiled: device code has no array of constants to look into.
template <int kCount, class F>
SOFTDP_DEVICE void each(const F& f) {
  [&]<int... k>(std::integer_sequence<int, k...>) {
    (f(std::integral_constant<int, k>()), ...);
  }(std::make_integer_sequence<int, kCount>());
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

}  // namespace softdp::cuda
