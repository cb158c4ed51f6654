// A team: the lanes that sweep a strip together. Nothing here knows a recurrence.
#pragma once

#include <bit>
#include <type_traits>
#include <utility>

#include "../table.h"
#include "device.cuh"
#include "plan.h"

namespace softdp::cuda {

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

// Columns of a table, or pieces of a sweep, from the first to before the last.
struct Span {
  int first = 0, last = 0;

  SOFTDP_DEVICE int size() const { return last - first; }
  SOFTDP_DEVICE bool has(int at) const { return unsigned(at - first) < unsigned(last - first); }
};

SOFTDP_DEVICE Span span_of(Range range) { return {int(range.first), int(range.last)}; }

// kBand: the problem has a band, and a strip sweeps its rows' columns alone. Known when a kernel is compiled, so that
// one without a band does nothing for it.
struct Team {
  std::int64_t pair;
  int n, m;           // lengths of the pair's sequences; 0 where there is no pair, or nothing of its table to sweep
  int strip = 0;      // of the table
  int lane;           // in the strip
  std::byte* memory;  // of the strip

  // What the strip and this lane have of the table, once they have entered it.
  int first_row = 0, rows = 0;      // rows that the table has of the strip, at most 0: none
  int own_row = 0, own_rows = 0;    // this lane's first row; rows from there on in the strip, at most 0: none
  Span swept;                       // columns, none without rows
  int kept_columns = 0;             // with a band: of how many columns the strip has weights
  bool has_below = false;           // rows in a strip below this one
  std::int64_t strip_at = 0;        // columns of all strips before this one
  Numbers<Span, kMostRows> in_row;  // with a band: the columns that this lane's rows have

  // task: a block's number, or a long table's strip (relay.cuh). kBackwards: the last strips come first.
  template <bool kBackwards, class Family, class T>
  SOFTDP_DEVICE static Team of(const Problem<Family, T>& problem, const Plan& plan, std::int64_t task,
                               int strip_bytes) {
    const int in_block = thread_index() / plan.lanes;
    Team team;
    team.lane = thread_index() % plan.lanes;
    team.memory = shared_memory() + std::size_t(in_block) * strip_bytes;
    team.pair = task * plan.in_block + in_block;
    if (plan.is_long()) {
      team.pair = task % problem.batch.count;
      team.strip = int(task / problem.batch.count);
      if (kBackwards) team.strip = plan.strips - 1 - team.strip;
    }
    team.n = !team.present(problem) ? 0 : length_of(problem.n_lengths, team.pair, problem.n);
    team.m = !team.present(problem) ? 0 : length_of(problem.m_lengths, team.pair, problem.m);
    return team;
  }

  // Whether there is a pair at all; n and m may be 0 all the same.
  template <class Family, class T>
  SOFTDP_DEVICE bool present(const Problem<Family, T>& problem) const {
    return pair < problem.batch.count;
  }
  // The one lane that acts for its pair.
  SOFTDP_DEVICE bool first() const { return strip == 0 && lane == 0; }
  SOFTDP_DEVICE void sweep_nothing() { n = m = 0; }

  template <bool kBand, class Family, class T>
  SOFTDP_DEVICE void enter(const Problem<Family, T>& problem, const Plan& plan) {
    const int strip_rows = plan.lanes * kRows<T>;
    first_row = strip * strip_rows;
    rows = m == 0 ? 0 : n - first_row < strip_rows ? n - first_row : strip_rows;
    own_row = first_row + lane * kRows<T>;
    own_rows = rows - lane * kRows<T>;
    swept = {0, rows > 0 ? m : 0};
    has_below = rows == strip_rows && n > first_row + strip_rows;
    strip_at = (pair * strips_for(problem.n, kRows<T>) + strip) * problem.m;
    if constexpr (kBand) {
      if (rows > 0) {
        swept = span_of(strip_columns(problem, pair, first_row, rows, m));
        kept_columns = swept.size();
        for (int r = 0; r < kRows<T>; ++r)
          if (r < own_rows) in_row.at[r] = span_of(problem.columns(pair, own_row + r, m));
      }
    }
  }

  // How many columns' weights are before the strip's. begins: where there is a band, of the first column that a strip
  // sweeps, [pair][strip].
  template <bool kBand, class Family, class T>
  SOFTDP_DEVICE std::int64_t kept_at(const Problem<Family, T>& problem, const std::int64_t* begins) const {
    if constexpr (kBand) return begins[pair * strips_for(problem.n, kRows<T>) + strip];
    return strip_at;
  }
  // How many of the strip's columns have weights, and the place of a step among them.
  template <bool kBand>
  SOFTDP_DEVICE int places() const {
    return kBand ? kept_columns : m;
  }
  template <bool kBand>
  SOFTDP_DEVICE int place_of(int step) const {
    return step % places<kBand>();
  }

  // Whether this lane has the last of the strip's rows.
  template <class T>
  SOFTDP_DEVICE bool has_end() const {
    return own_rows > 0 && own_rows <= kRows<T>;
  }

  // Whether this lane has something to do in this column.
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
    return plan.lanes == kWarp && first >= 0 && last <= m;
  }

  template <class T>
  SOFTDP_DEVICE T* at(int offset) const {
    return reinterpret_cast<T*>(memory + offset);
  }
};

// From the first piece of any team in the warp to the last.
SOFTDP_DEVICE Span of_warp(Span pieces) { return {-max_in_warp(-pieces.first), max_in_warp(pieces.last)}; }

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
