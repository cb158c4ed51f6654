// After the backward sweep: paid leading gaps, and the gradients of what is broadcast, gathered in a fixed order.
#pragma once

#include "backward.cuh"
#include "border.cuh"

namespace softdp::cuda {

// Leaves what the gradients of the border and of the score bring to a pair's last row and column where the backward
// sweep takes it up: as if a row below and a column to the right had sent it. It does not change along a direction.
template <class Family, class T, bool kTangent>
SOFTDP_KERNEL(kBorderThreads)
seed_border_kernel(SOFTDP_CONSTANT BackwardWork<Family, T, kTangent> work) {
  const Problem<Family, T>& problem = work.problem;
  const std::int64_t pair = block_index();
  const int n = length_of(problem.n_lengths, pair, problem.n), m = length_of(problem.m_lengths, pair, problem.m);
  if (n == 0 || m == 0) return;
  const int after = (n - 1) / (work.plan.lanes * kRows<T>)+1;
  for (int s = 0; s < work.kStates; ++s) {
    for (int place = 1 + thread_index(); place <= m; place += threads_in_block())
      *work.above_at(pair, after, s, place - 1) = {
          T(0),
          T(work.border_seed(pair, s, place)) + (place == m && s == Family::Topology::kEnd ? work.seed(pair) : T(0))};
    for (int place = 1 + thread_index(); place <= n; place += threads_in_block())
      *work.left_at(pair, s, place - 1) = {T(0), T(work.border_seed(pair, s, problem.m + place))};
  }
  for (int c = work.kStates; c < work.kChannels; ++c) {
    for (int column = thread_index(); column < m; column += threads_in_block())
      *work.above_at(pair, after, c, column) = {T(0), T(0)};
    for (int row = thread_index(); row < n; row += threads_in_block()) *work.left_at(pair, c, row) = {T(0), T(0)};
  }
}

inline LaunchShape strips_shape(std::int64_t pairs, std::int64_t strips, std::int64_t m) {
  const int threads = int(std::min<std::int64_t>(strips * kWarp, kBorderThreads));
  return {product({pairs, (m + kWarp - 1) / kWarp}), threads, threads * sizeof(double)};
}

// Brings a pair's column sums together in those of its first strip: kWarp columns a block, the strips dealt to its
// warps.
template <class Family, class T, bool kTangent>
SOFTDP_KERNEL(kBorderThreads)
sum_strips_kernel(SOFTDP_CONSTANT BackwardWork<Family, T, kTangent> work) {
  const Problem<Family, T>& problem = work.problem;
  const int lane = thread_index() % kWarp, warp = thread_index() / kWarp, warps = threads_in_block() / kWarp;
  const std::int64_t blocks = (problem.m + kWarp - 1) / kWarp, pair = block_index() / blocks;
  const int column = int(block_index() % blocks) * kWarp + lane;
  const std::int64_t strips = strips_for(problem.n, kRows<T>);
  const int strip_rows = work.plan.lanes * kRows<T>;
  const int n = length_of(problem.n_lengths, pair, problem.n), m = length_of(problem.m_lengths, pair, problem.m);
  const int swept = (n + strip_rows - 1) / strip_rows;
  const bool inside = swept > 0 && column < m;
  const auto sweeps = [&](int strip) {
    if (problem.band == nullptr) return true;
    const int row = strip * strip_rows, rows = n - row < strip_rows ? n - row : strip_rows;
    const Range range = strip_columns(problem, pair, row, rows, m);
    return range.first <= column && column < range.last;
  };
  double* const parts = reinterpret_cast<double*>(shared_memory());
  for (int k = 0; k < Family::kTables; ++k) {
    if (work.column_sums[k] == nullptr) continue;
    T* const sums = work.column_sums[k] + pair * strips * problem.m + column;
    double sum = 0;
    for (int strip = warp; inside && strip < swept; strip += warps)
      if (sweeps(strip)) sum += double(sums[strip * problem.m]);
    parts[thread_index()] = sum;
    block_barrier();
    if (warp == 0 && inside) {
      for (int w = 1; w < warps; ++w) sum += parts[w * kWarp + lane];
      *sums = T(sum);
    }
    block_barrier();
  }
}

template <class Family, class T, bool kTangent>
struct Finish {
  using Topology = typename Family::Topology;
  using Work = BackwardWork<Family, T, kTangent>;
  using Number = NumberOf<T, kTangent>;
  static constexpr int kTables = Family::kTables;
  static constexpr int kNumbers = Work::kNumbers;

  const Work& work;
  const std::int64_t pair;
  const DirectedBorder<Family, T, kTangent> tables;
  int n, m;
  T seed;
  // This thread's part of what is summed over a whole pair.
  double table_totals[kTables] = {}, number_totals[kNumbers] = {};

  SOFTDP_DEVICE Finish(const Work& work, std::int64_t pair)
      : work(work),
        pair(pair),
        tables(work.problem, work.along, pair),
        n(length_of(work.problem.n_lengths, pair, work.problem.n)),
        m(length_of(work.problem.m_lengths, pair, work.problem.m)),
        seed(work.seed(pair)) {}

  SOFTDP_DEVICE bool wants(int k) const { return work.gradients.tables[k] != nullptr; }

  // Mass (or how it changes) that arrives on the border from the table: in a row from 1, in a column from 0.
  SOFTDP_DEVICE double arrives_left(int channel, int row) const {
    if (m == 0) return 0;
    const Leftward<T>* const sent = work.left_at(pair, channel, row - 1);
    return double(sent->left) + (row < n ? double(sent[1].diagonal) : 0.0);
  }
  SOFTDP_DEVICE double arrives_above(int channel, int column) const {
    if (n == 0) return 0;
    if (column == 0) return m > 0 ? double(work.left_at(pair, channel, 0)->diagonal) : 0.0;
    // Beyond the first row's cells, and one before them, there is nothing.
    const Problem<Family, T>& problem = work.problem;
    if (!problem.in_band(pair, 1, column, m) && !problem.in_band(pair, 1, column + 1, m)) return 0;
    const Upward<T> sent = *work.above_at(pair, 0, channel, column - 1);
    return double(sent.diagonal) + double(sent.above);
  }

  // A cell of the border passes its mass on along it.
  SOFTDP_DEVICE void flow(int row, int column, int potential, Number mass, T (&to_tables)[kTables]) {
    Number values[kTables], flowing[kTables], to_parameters[Family::kParameters + 1] = {};
    tables.read(row, column, values);
    Potentials<Family, Number> on_arcs = {};
#pragma unroll
    for (int k = 0; k < Topology::kPotentials; ++k)
      if (k == potential) on_arcs[k] = mass;
    to_parameters[Family::kParameters] =
        work.problem.family.flow(values, tables.parameters, tables.gamma, on_arcs, flowing, to_parameters);
    for (int k = 0; k < kTables; ++k) to_tables[k] = wanted(flowing[k]);
    for (int k = 0; k < kNumbers; ++k) number_totals[k] += double(wanted(to_parameters[k]));
  }

  // Mass that arrives in a cell of the border (from the corner on, which is the row above's), or begins there: where a
  // sequence is empty the border is a last row or column too.
  template <bool kDown>
  SOFTDP_DEVICE double mass(int state, int place) const {
    double mass = kDown ? arrives_left(state, place) : arrives_above(state, place);
    if (kDown ? m == 0 : n == 0) {
      mass += work.border_seed(pair, state, kDown ? work.problem.m + place : place);
      if (place == (kDown ? n : m) && state == Topology::kEnd) mass += double(seed);
    }
    if (kDown && place == n) mass += work.border_seed(pair, state, 0);
    return mass;
  }
  // How it changes: what begins there stays.
  template <bool kDown>
  SOFTDP_DEVICE double change(int state, int place) const {
    const int channel = state + Work::kStates;
    return kDown ? arrives_left(channel, place) : arrives_above(channel, place);
  }

  // Goes along one side of the table from its end: places count from 1 up to its length.
  template <bool kDown>
  SOFTDP_DEVICE void side() {
    constexpr LeadingGap gap = kDown ? Topology::kDown : Topology::kAcross;
    const Ends& ends = work.problem.ends;
    const bool paid = work.problem.border == nullptr && (kDown ? ends.leading_x : ends.leading_y) == Gaps::kPaid;
    double so_far = 0, change_so_far = 0;
    for (int done = kDown ? n : m; done > 0; done -= threads_in_block()) {
      const int place = done - thread_index();
      T to_tables[kTables] = {};
      if (paid) {
        const Sum sum = sum_threads(place < 1 ? 0.0 : mass<kDown>(gap.state, place), Plus());
        Number on_arc;
        if constexpr (kTangent) {
          const Sum changes = sum_threads(place < 1 ? 0.0 : change<kDown>(gap.state, place), Plus());
          on_arc = {T(so_far + sum.until), T(change_so_far + changes.until)};
          change_so_far += changes.all;
        } else {
          on_arc = T(so_far + sum.until);
        }
        if (place >= 1)
          flow(kDown ? place : 0, kDown ? 0 : place, place == 1 ? gap.first : gap.next, on_arc, to_tables);
        so_far += sum.all;
      }
      if (place < 1) continue;
      if (work.gradients.border != nullptr) put_border<kDown>(place);
#pragma unroll
      for (int k = 0; k < kTables; ++k)
        if (wants(k)) put<kDown>(k, place - 1, double(to_tables[k]));
      if (kDown)
        for (int k = 0; k < kNumbers; ++k)
          if (work.number_sums[k] != nullptr)
            number_totals[k] += work.number_sums[k][pair * work.problem.n + place - 1];
    }
  }

  // The gradient of a border that was given.
  template <bool kDown>
  SOFTDP_DEVICE void put_border(int place) const {
    for (int s = 0; s < Work::kStates; ++s)
      work.gradients.border[(pair * Work::kStates + s) * work.problem.border_length() +
                            (kDown ? work.problem.m + place : place)] =
          kTangent ? change<kDown>(s, place) : mass<kDown>(s, place);
  }

  // What table k has gathered at a row (or column), and `from_border`.
  template <bool kDown>
  SOFTDP_DEVICE void put(int k, int at, double from_border) {
    const Table& table = work.problem.tables[k];
    const std::int64_t length = kDown ? work.problem.n : work.problem.m;
    double sum = from_border;
    if (kDown && table.one_column) sum += work.row_sums[k][pair * length + at];
    if (!kDown && table.one_row && !table.one_column && n > 0)
      sum += double(work.column_sums[k][pair * strips_for(work.problem.n, kRows<T>) * length + at]);
    if (table.one_column && table.one_row) {
      table_totals[k] += sum;
    } else if (kDown ? table.one_column : table.one_row) {
      store_element<T>(work.gradients.tables[k], table.element, pair * length + at, T(sum));
    }
  }

  SOFTDP_DEVICE void write_totals() {
#pragma unroll
    for (int k = 0; k < kTables; ++k) {
      const Table& table = work.problem.tables[k];
      if (!wants(k) || !table.one_row || !table.one_column) continue;
      const double sum = sum_threads(table_totals[k], Plus()).all;
      if (thread_index() == 0) store_element<T>(work.gradients.tables[k], table.element, pair, T(sum));
    }
    for (int k = 0; k < kNumbers; ++k) {
      if (work.number(k) == nullptr) continue;
      const double sum = sum_threads(number_totals[k], Plus()).all;
      // gamma rises with the value, which is minus the score when minimising.
      if (thread_index() == 0)
        work.number(k)[pair] = T(k == Family::kParameters && work.problem.family.minimise ? -sum : sum);
    }
  }
};

template <class Family, class T, bool kTangent>
SOFTDP_KERNEL(kBorderThreads)
finish_kernel(SOFTDP_CONSTANT BackwardWork<Family, T, kTangent> work) {
  Finish<Family, T, kTangent> finish(work, block_index());
  finish.template side<true>();
  finish.template side<false>();
  if (work.gradients.border != nullptr && thread_index() == 0) finish.template put_border<false>(0);
  finish.write_totals();
}

}  // namespace softdp::cuda
