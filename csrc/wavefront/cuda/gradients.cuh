// After the backward sweep: paid leading gaps, and the gradients of what is broadcast, gathered in a fixed order.
#pragma once

#include "cuda_backward.cuh"
#include "cuda_border.cuh"

namespace softdp::cuda {

inline LaunchShape strips_shape(std::int64_t pairs, std::int64_t strips, std::int64_t m) {
  const int threads = int(std::min<std::int64_t>(strips * kWarp, kBorderThreads));
  return {product({pairs, (m + kWarp - 1) / kWarp}), threads, threads * sizeof(double)};
}

// Brings a pair's column sums together in those of its first strip: kWarp columns a block, the strips dealt to its
// warps.
template <class Family, class T>
SOFTDP_KERNEL(kBorderThreads)
sum_strips_kernel(SOFTDP_CONSTANT BackwardWork<Family, T> work) {
  const Problem<Family, T>& problem = work.problem;
  const int lane = thread_index() % kWarp, warp = thread_index() / kWarp, warps = threads_in_block() / kWarp;
  const std::int64_t blocks = (problem.m + kWarp - 1) / kWarp, pair = block_index() / blocks;
  const int column = int(block_index() % blocks) * kWarp + lane;
  const std::int64_t strips = strips_for(problem.n, kRows<T>);
  const int strip_rows = work.plan.lanes * kRows<T>;
  const int swept = (length_of(problem.n_lengths, pair, problem.n) + strip_rows - 1) / strip_rows;
  const bool inside = swept > 0 && column < length_of(problem.m_lengths, pair, problem.m);
  double* const parts = reinterpret_cast<double*>(shared_memory());
  for (int k = 0; k < Family::kTables; ++k) {
    if (work.column_sums[k] == nullptr) continue;
    T* const sums = work.column_sums[k] + pair * strips * problem.m + column;
    double sum = 0;
    for (int strip = warp; inside && strip < swept; strip += warps) sum += double(sums[strip * problem.m]);
    parts[thread_index()] = sum;
    block_barrier();
    if (warp == 0 && inside) {
      for (int w = 1; w < warps; ++w) sum += parts[w * kWarp + lane];
      *sums = T(sum);
    }
    block_barrier();
  }
}

template <class Family, class T>
struct Finish {
  using Work = BackwardWork<Family, T>;
  static constexpr int kTables = Family::kTables;
  static constexpr int kNumbers = Work::kNumbers;

  const Work& work;
  const std::int64_t pair;
  const BorderTables<Family, T> tables;
  int n, m;
  T seed;
  // This thread's part of what is summed over a whole pair.
  double table_totals[kTables] = {}, number_totals[kNumbers] = {};

  SOFTDP_DEVICE Finish(const Work& work, std::int64_t pair)
      : work(work),
        pair(pair),
        tables(work.problem, pair),
        n(length_of(work.problem.n_lengths, pair, work.problem.n)),
        m(length_of(work.problem.m_lengths, pair, work.problem.m)),
        seed(work.seed(pair)) {}

  SOFTDP_DEVICE bool wants(int k) const { return work.gradients.tables[k] != nullptr; }

  // Mass that arrives on the border from the table, at a row or column from 1.
  SOFTDP_DEVICE double arrives_left(int row) const {
    if (m == 0) return 0;
    const Leftward<T>* const sent = work.left + pair * work.problem.n;
    return double(sent[row - 1].insert) + (row < n ? double(sent[row].match) : 0.0);
  }
  SOFTDP_DEVICE double arrives_above(int column) const {
    if (n == 0) return 0;
    const Upward<T> sent = work.above[pair * work.plan.groups * work.problem.m + column - 1];
    return double(sent.match) + double(sent.remove);
  }

  // A cell of the border passes its mass on along it.
  SOFTDP_DEVICE void flow(int row, int column, double mass, T (&to_tables)[kTables]) {
    T values[kTables], to_parameters[Family::kParameters + 1] = {};
    tables.read(row, column, values);
    const Arcs<T> arcs{T(0), row > 0 ? T(mass) : T(0), row > 0 ? T(0) : T(mass)};
    number_totals[0] +=
        double(work.problem.family.flow(values, tables.parameters, tables.gamma, arcs, to_tables, to_parameters));
    for (int k = 0; k < Family::kParameters; ++k) number_totals[k + 1] += double(to_parameters[k]);
  }

  // Goes along one side of the table from its end: place counts from 1 up to `length`.
  template <bool kRows>
  SOFTDP_DEVICE void side(int length, int other_length) {
    const bool paid = work.problem.leading_gaps == LeadingGaps::kPaid;
    double so_far = paid && other_length == 0 ? double(seed) : 0.0;
    for (int done = 0; done < length; done += threads_in_block()) {
      const int place = length - done - thread_index();
      T to_tables[kTables] = {};
      if (paid) {
        const double arrives = place < 1 ? 0.0 : kRows ? arrives_left(place) : arrives_above(place);
        const Sum sum = sum_threads(arrives);
        if (place >= 1) flow(kRows ? place : 0, kRows ? 0 : place, so_far + sum.until, to_tables);
        so_far += sum.all;
      }
      if (place < 1) continue;
      for (int k = 0; k < kTables; ++k)
        if (wants(k)) put<kRows>(k, place - 1, double(to_tables[k]));
      if (kRows)
        for (int k = 0; k < kNumbers; ++k)
          if (work.number_sums[k] != nullptr)
            number_totals[k] += work.number_sums[k][pair * work.problem.n + place - 1];
    }
  }

  // What table k has gathered at a row (or column), and `from_border`.
  template <bool kRows>
  SOFTDP_DEVICE void put(int k, int at, double from_border) {
    const Table& table = work.problem.tables[k];
    const std::int64_t length = kRows ? work.problem.n : work.problem.m;
    double sum = from_border;
    if (kRows && table.one_column) sum += work.row_sums[k][pair * length + at];
    if (!kRows && table.one_row && !table.one_column && n > 0)
      sum += double(work.column_sums[k][pair * strips_for(work.problem.n, softdp::cuda::kRows<T>) * length + at]);
    if (table.one_column && table.one_row) {
      table_totals[k] += sum;
    } else if (kRows ? table.one_column : table.one_row) {
      store_element<T>(work.gradients.tables[k], table.element, pair * length + at, T(sum));
    }
  }

  SOFTDP_DEVICE void write_totals() {
    for (int k = 0; k < kTables; ++k) {
      const Table& table = work.problem.tables[k];
      if (!wants(k) || !table.one_row || !table.one_column) continue;
      const double sum = sum_threads(table_totals[k]).all;
      if (thread_index() == 0) store_element<T>(work.gradients.tables[k], table.element, pair, T(sum));
    }
    for (int k = 0; k < kNumbers; ++k) {
      T* const to = k == 0 ? work.gradients.gamma : work.gradients.parameters[k - 1];
      if (to == nullptr) continue;
      const double sum = sum_threads(number_totals[k]).all;
      if (thread_index() == 0) to[pair] = T(k == 0 && work.problem.family.minimise ? -sum : sum);
    }
  }
};

template <class Family, class T>
SOFTDP_KERNEL(kBorderThreads)
finish_kernel(SOFTDP_CONSTANT BackwardWork<Family, T> work) {
  Finish<Family, T> finish(work, block_index());
  finish.template side<true>(finish.n, finish.m);
  finish.template side<false>(finish.m, finish.n);
  finish.write_totals();
}

}  // namespace softdp::cuda
