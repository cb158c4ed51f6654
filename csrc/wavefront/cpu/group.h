// A group: up to kMaxPairs tables that are swept side by side, where they end, and what they hold.
#pragma once

#include "stage.h"

namespace softdp::cpu {

// Which arcs lead into a lane's cells: at the steps from `first` to one of the others. In whole numbers of the size of
// T, as vector units compare.
template <class T>
struct Mask {
  using Integer = std::make_signed_t<typename Bits<T>::Integer>;
  alignas(64) Integer first[kLanes], match_last[kLanes], remove_last[kLanes], insert_last[kLanes];

  // Whether a lane is inside its table and band at step t.
  SOFTDP_INLINE bool inside(int lane, std::int64_t t) const {
    const auto step = Integer(t);
    return (step >= first[lane]) & (step <= match_last[lane]);
  }

  // -inf for those that there are not at step t.
  template <class Topology>
  SOFTDP_INLINE Numbers<T, Topology::kPotentials> of(Numbers<T, Topology::kPotentials> potentials, int lane,
                                                     std::int64_t t) const {
    const auto step = Integer(t);
    for (int k = 0; k < Topology::kPotentials; ++k) {
      const Step from = step_of<Topology>(k);
      const Integer last = from == kDiagonal ? match_last[lane]
                           : from == kAbove  ? remove_last[lane]
                                             : insert_last[lane];
      potentials[k] = (step >= first[lane]) & (step <= last) ? potentials[k] : -kInfinity<T>;
    }
    return potentials;
  }
};

template <class Family, class T>
struct Group {
  static constexpr int kTables = Family::kTables;
  static constexpr int kParameters = Family::kParameters;

  const Problem<Family, T>& problem;
  int pairs, rows, count;  // `count` of the pairs are there
  int pair_bits = std::countr_zero(unsigned(pairs));
  std::int64_t n_max = 0, m_max = 0, strips = 0, steps = 0;
  std::int64_t pair[kMaxPairs] = {}, n[kMaxPairs] = {}, m[kMaxPairs] = {};
  std::int64_t offset[kTables][kMaxPairs] = {};
  // For each lane; pair p's are those of lane p.
  alignas(64) T gamma[kLanes] = {};
  alignas(64) T scale[kLanes] = {};
  alignas(64) T scale_low[kLanes] = {};
  alignas(64) T parameters[kParameters + 1][kLanes] = {};

  Group(const Problem<Family, T>& its_problem, const Layout& layout, const std::int64_t* members, int its_count)
      : problem(its_problem), pairs(int(layout.pairs)), rows(int(layout.rows)), count(its_count) {
    for (int p = 0; p < pairs; ++p) {
      const bool present = p < count;
      pair[p] = members[present ? p : 0];
      n[p] = !present ? 0 : problem.n_lengths ? problem.n_lengths[pair[p]] : problem.n;
      m[p] = !present ? 0 : problem.m_lengths ? problem.m_lengths[pair[p]] : problem.m;
      for (int k = 0; k < kTables; ++k) offset[k][p] = problem.tables[k].offset(problem.batch, pair[p]);
      const auto smoothness = Smoothness<T>::from(problem.gamma[pair[p]]);
      for (int l = p; l < kLanes; l += pairs) {
        gamma[l] = smoothness.gamma;
        scale[l] = smoothness.scale;
        scale_low[l] = smoothness.scale_low;
        for (int k = 0; k < kParameters; ++k) parameters[k][l] = problem.parameters[k][pair[p]];
      }
      n_max = std::max(n_max, n[p]);
      m_max = std::max(m_max, m[p]);
      if (n[p] > 0 && m[p] > 0) {
        strips = std::max(strips, (n[p] + rows - 1) / rows);
        steps = std::max(steps, m[p] + rows);  // step 0 holds nothing but the border
      }
    }
  }

  // The steps of a strip at which some lane is inside its table and band. There is always one, so that what a strip
  // hands on is told from what was there before. `first` never goes back from strip to strip; `last` does where a pair
  // ends.
  SOFTDP_APART Range range(std::int64_t strip) const {
    if (problem.band == nullptr) return {1, steps};
    Range range{steps - 1, 0};
    for (int p = 0; p < count; ++p) {
      for (int r = 0; r < rows && m[p] > 0; ++r) {
        const std::int64_t row = strip * rows + r;
        if (row >= n[p]) break;
        const Range columns = problem.columns(pair[p], row, m[p]);
        range.first = std::min(range.first, columns.first + r + 1);
        range.last = std::max(range.last, columns.last + r + 1);
      }
    }
    return {range.first, std::max(range.last, range.first + 1)};
  }

  // The row of a strip that a lane is in.
  SOFTDP_INLINE int row(int lane) const { return lane >> pair_bits; }

  SOFTDP_INLINE Smoothness<T> smoothness(int lane) const { return {gamma[lane], scale[lane], scale_low[lane]}; }

  // The lane in which pair p's last cell is at this step, or -1.
  SOFTDP_INLINE int end_lane(std::int64_t strip, std::int64_t t, int p) const {
    const std::int64_t row = n[p] - 1 - strip * rows;
    return m[p] > 0 && row >= 0 && row < rows && t == m[p] + row ? int(row) * pairs + p : -1;
  }

  // The steps between which pairs end in this strip.
  SOFTDP_APART Range ends(std::int64_t strip) const {
    Range steps{std::numeric_limits<std::int64_t>::max(), 0};
    for (int p = 0; p < count; ++p) {
      const std::int64_t row = n[p] - 1 - strip * rows;
      if (m[p] == 0 || row < 0 || row >= rows) continue;
      steps.first = std::min(steps.first, m[p] + row);
      steps.last = std::max(steps.last, m[p] + row + 1);
    }
    return steps;
  }

  // Calls f(pair, place, lane) for the cells of a last row (place = column) and of a last column (place = m + row) that
  // are on this step's diagonal.
  template <class F>
  SOFTDP_INLINE void each_end(std::int64_t strip, std::int64_t t, const F& f) const {
    for (int p = 0; p < count; ++p) {
      if (n[p] == 0 || m[p] == 0) continue;
      const std::int64_t last = n[p] - 1 - strip * rows, column = t - last;
      if (last >= 0 && last < rows && column >= 1 && column <= m[p]) f(p, column, last * pairs + p);
      const std::int64_t own = t - m[p], row = strip * rows + own + 1;
      if (own >= 0 && own < rows && row <= n[p]) f(p, problem.m + row, own * pairs + p);
    }
  }

  SOFTDP_APART void mask(std::int64_t strip, Mask<T>& mask) const {
    using Integer = typename Mask<T>::Integer;
    for (int l = 0; l < kLanes; ++l) {
      const int p = l & (pairs - 1), r = row(l);
      const std::int64_t i = strip * rows + r;
      const Range columns = i < n[p] ? problem.columns(pair[p], i, m[p]) : Range{0, 0};
      const std::int64_t last = columns.last + r;
      mask.first[l] = Integer(columns.first + r + 1);
      mask.match_last[l] = Integer(last);
      mask.remove_last[l] = Integer(problem.ends.trailing_x ? last : std::min(last, m[p] + r - 1));
      mask.insert_last[l] = Integer(problem.ends.trailing_y || i != n[p] - 1 ? last : 0);
    }
  }

  // What the tables hold for a cell of the border; a table that varies along it counts as 0.
  void border_inputs(int p, std::int64_t i, std::int64_t j, T (&values)[kTables], T (&numbers)[kParameters + 1]) const {
    for (int k = 0; k < kTables; ++k) {
      const Table& table = problem.tables[k];
      values[k] = 0;
      if (i > 0 ? !table.one_column : !table.one_row) continue;
      const std::int64_t row = table.one_row ? 0 : i - 1, column = table.one_column ? 0 : j - 1;
      const std::int64_t at = offset[k][p] + row * table.row_stride + column * table.column_stride;
      with_element<T>(table.element, [&](auto* type) {
        values[k] = static_cast<T>(static_cast<const std::remove_pointer_t<decltype(type)>*>(table.data)[at]);
      });
    }
    for (int k = 0; k <= kParameters; ++k) numbers[k] = parameters[k][p];
  }

  // Lanes l..l+3's rows of a table (or of its gradient) whose pairs' rows begin where `row_of(p, i)` says, i from 0.
  template <class E, class Row>
  SOFTDP_INLINE void rows_of(std::int64_t strip, int l, const Row& row_of, LaneRow<E> (&lane_rows)[4]) const {
    for (int q = 0; q < 4; ++q) {
      const int p = (l + q) & (pairs - 1), r = row(l + q);
      const std::int64_t i = strip * rows + r;
      const bool inside = i < n[p];
      lane_rows[q] = {inside ? row_of(p, i) : nullptr, r, inside ? problem.columns(pair[p], i, m[p]) : Range{0, 0}};
    }
  }

  // lanes[t - first][lane] of table k; one step of lanes alone where the table does not vary along m.
  SOFTDP_APART void stage(int k, std::int64_t strip, std::int64_t first, std::int64_t last, T* lanes) const {
    run_vectorised<true>([&]() SOFTDP_INLINE_LAMBDA {
      const Table& table = problem.tables[k];
      with_element<T>(table.element, [&](auto* type) SOFTDP_INLINE_LAMBDA {
        using E = std::remove_pointer_t<decltype(type)>;
        const auto* data = static_cast<const E*>(table.data);
        const auto row_of = [&](int p, std::int64_t i)
                                SOFTDP_INLINE_LAMBDA { return data + offset[k][p] + i * table.row_stride; };
        for (int l = 0; l < kLanes; l += 4) {
          LaneRow<const E> lane_rows[4];
          rows_of(strip, l, row_of, lane_rows);
          if (table.one_column) {
            for (int q = 0; q < 4; ++q)
              lanes[l + q] = lane_rows[q].columns.last > 0 ? static_cast<T>(*lane_rows[q].data) : T(0);
          } else {
            load_lanes<T>(lane_rows, table.column_stride, first, last, lanes + l);
          }
        }
      });
    });
  }

  // What lies between one step and the next in lanes staged of table k.
  SOFTDP_INLINE std::int64_t step_stride(int k) const { return problem.tables[k].one_column ? 0 : kLanes; }

  bool gaps_vary() const { return problem.gaps_vary(); }
};

}  // namespace softdp::cpu
