// The border on a GPU, and numbers that are gathered from whole tables: a block for each pair, threads side by side.
#pragma once

#include "forward.cuh"

namespace softdp::cuda {

constexpr int kBorderThreads = 256;  // most

inline LaunchShape border_shape(std::int64_t pairs, std::int64_t n, std::int64_t m) {
  const int threads =
      int(std::clamp<std::int64_t>((std::max(n, m) + kWarp - 1) / kWarp * kWarp, kWarp, kBorderThreads));
  return {pairs, threads, threads / kWarp * sizeof(double)};
}

// Of a number that each thread brings: the sum over this thread and those before it, and over all of the block.
struct Sum {
  double until, all;
};

SOFTDP_DEVICE Sum sum_threads(double value) {
  const int lane = thread_index() % kWarp, warp = thread_index() / kWarp;
#pragma unroll
  for (int delta = 1; delta < kWarp; delta *= 2) {
    const double before = shuffle_up(value, delta, kWarp);
    if (lane >= delta) value += before;
  }
  double* const of_warps = reinterpret_cast<double*>(shared_memory());
  if (lane == kWarp - 1) of_warps[warp] = value;
  block_barrier();
  Sum sum{value, 0};
  for (int w = 0; w < threads_in_block() / kWarp; ++w) {
    if (w == warp) sum.until += sum.all;
    sum.all += of_warps[w];
  }
  block_barrier();
  return sum;
}

// What the tables hold for a cell of the border (row or column counts from 1, the other is 0); a table that varies
// along it counts as 0.
template <class Family, class T>
struct BorderTables {
  const Problem<Family, T>& problem;
  std::int64_t offset[Family::kTables];
  T parameters[Family::kParameters + 1] = {};
  T gamma;

  SOFTDP_DEVICE BorderTables(const Problem<Family, T>& problem, std::int64_t pair)
      : problem(problem), gamma(problem.gamma[pair]) {
    for (int k = 0; k < Family::kTables; ++k) offset[k] = problem.tables[k].offset(problem.batch, pair);
    for (int k = 0; k < Family::kParameters; ++k) parameters[k] = problem.parameters[k][pair];
  }

  SOFTDP_DEVICE void read(int row, int column, T (&values)[Family::kTables]) const {
    for (int k = 0; k < Family::kTables; ++k) {
      const Table& table = problem.tables[k];
      values[k] = 0;
      if (row > 0 ? !table.one_column : !table.one_row) continue;
      const std::int64_t at = offset[k] + (table.one_row ? 0 : row - 1) * table.row_stride +
                              (table.one_column ? 0 : column - 1) * table.column_stride;
      values[k] = load_element<T>(table.data, table.element, at);
    }
  }

  SOFTDP_DEVICE Potentials<Family, T> potentials(int row, int column) const {
    T values[Family::kTables];
    read(row, column, values);
    return problem.family.potentials(values, parameters, gamma);
  }
};

// Sums of potential(1), ..., potential(length), each put down with put(place, sum). All threads take part.
template <class Potential, class Put>
SOFTDP_DEVICE void sum_along(int length, const Potential& potential, const Put& put) {
  double so_far = 0;
  for (int first = 1; first <= length; first += threads_in_block()) {
    const int place = first + thread_index();
    const Sum sum = sum_threads(place <= length ? double(potential(place)) : 0.0);
    if (place <= length) put(place, so_far + sum.until);
    so_far += sum.all;
  }
}

// Lays the border of paid leading gaps.
template <class Family, class T, class Form>
struct Border {
  using Topology = typename Family::Topology;
  using Work = ForwardWork<Family, T, Form>;
  using Value = typename Form::Value;

  const Work& work;
  const std::int64_t pair;
  const BorderTables<Family, T> tables;
  const Smoothness<T> smoothness;
  const int n, m;

  SOFTDP_DEVICE Border(const Work& work, std::int64_t pair)
      : work(work),
        pair(pair),
        tables(work.problem, pair),
        smoothness(Smoothness<T>::from(tables.gamma)),
        n(length_of(work.problem.n_lengths, pair, work.problem.n)),
        m(length_of(work.problem.m_lengths, pair, work.problem.m)) {}

  // Down the first column or along the first row, from the corner on.
  template <bool kDown>
  SOFTDP_DEVICE void side() const {
    constexpr LeadingGap gap = kDown ? Topology::kDown : Topology::kAcross;
    const Gaps gaps = kDown ? work.problem.ends.leading_x : work.problem.ends.leading_y;
    const int length = kDown ? n : m;
    for (int s = 0; s < Work::kStates; ++s) {
      if (thread_index() == 0) put<kDown>(s, 0, s == 0 ? 0 : -kInfinity<double>);
      if (gaps == Gaps::kPaid && s == gap.state) {
        const auto potential = [&](int place) {
          const auto potentials = tables.potentials(kDown ? place : 0, kDown ? 0 : place);
          return Exact<T>::template weigh_gap<Family>(potentials[place == 1 ? gap.first : gap.next], smoothness);
        };
        sum_along(length, potential, [&](int place, double sum) { put<kDown>(s, place, sum); });
      } else {
        const double value = s == 0 && gaps == Gaps::kFree ? 0 : -kInfinity<double>;
        for (int place = 1 + thread_index(); place <= length; place += threads_in_block()) put<kDown>(s, place, value);
      }
    }
  }

  template <bool kDown>
  SOFTDP_DEVICE void put(int state, int place, double value) const {
    const T high = T(value), low = T(value - double(high));
    const Value laid = Form::from({high, low == low ? low : T(0)}, smoothness);
    if (!kDown) {
      *work.above_at(pair, 0, state, place) = laid;
      return;
    }
    *work.left_at(pair, state, place) = laid;
    const int group_rows = work.plan.warps * work.plan.lanes * kRows<T>;
    if (place > 0 && place % group_rows == 0 && place / group_rows < work.plan.groups)
      *work.above_at(pair, place / group_rows, state, 0) = laid;
  }
};

template <class Family, class T, class Form>
SOFTDP_KERNEL(kBorderThreads)
lay_border_kernel(SOFTDP_CONSTANT ForwardWork<Family, T, Form> work) {
  const std::int64_t pair = block_index();
  if (kIsExact<Form, T> && !work.beyond_reach[pair]) return;
  const Border<Family, T, Form> border(work, pair);
  border.template side<true>();
  border.template side<false>();
}

}  // namespace softdp::cuda
