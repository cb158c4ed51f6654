// After the backward sweep: paid leading gaps, and the gradients of what is broadcast, gathered in a fixed order.
#pragma once

#include "cuda_backward.cuh"
#include "cuda_border.cuh"

namespace softdp::cuda {

template <class Family, class T>
struct Finish {
  using Work = BackwardWork<Family, T>;
  static constexpr int kTables = Family::kTables;
  static constexpr int kNumbers = Work::kNumbers;

  const Work& work;
  const Pair& pair;
  const BorderTables<Family, T> tables;
  int n, m, strips;
  T seed;
  // This lane's part of what is summed over a whole pair.
  double table_totals[kTables] = {}, number_totals[kNumbers] = {};

  SOFTDP_DEVICE Finish(const Work& work, const Pair& pair, int n, int m)
      : work(work),
        pair(pair),
        tables(work.problem, pair.index),
        n(n),
        m(m),
        strips(m > 0 ? int((n + strip_rows() - 1) / strip_rows()) : 0),
        seed(work.seed(pair.index)) {}

  SOFTDP_DEVICE int strip_rows() const { return work.plan.lanes * kRows<T>; }
  SOFTDP_DEVICE bool wants(int k) const { return work.gradients.tables[k] != nullptr; }

  // Mass that arrives on the border from the table, at a row or column from 1.
  SOFTDP_DEVICE double arrives_left(int row) const {
    if (m == 0) return 0;
    const Leftward<T>* const sent = work.left + pair.index * work.problem.n;
    return double(sent[row - 1].insert) + (row < n ? double(sent[row].match) : 0.0);
  }
  SOFTDP_DEVICE double arrives_above(int column) const {
    if (n == 0) return 0;
    const Upward<T> sent = work.above[pair.index * work.plan.groups * work.problem.m + column - 1];
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
    for (int done = 0; done < length; done += kWarp) {
      const int place = length - done - pair.lane;
      T to_tables[kTables] = {};
      if (paid) {
        const double arrives = place < 1 ? 0.0 : kRows ? arrives_left(place) : arrives_above(place);
        const double mass = so_far + sum_until(arrives, pair.lane);
        so_far = shuffle(mass, kWarp - 1, kWarp);
        if (place >= 1) flow(kRows ? place : 0, kRows ? 0 : place, mass, to_tables);
      }
      if (place < 1) continue;
      for (int k = 0; k < kTables; ++k)
        if (wants(k)) put<kRows>(k, place - 1, double(to_tables[k]));
      if (kRows)
        for (int k = 0; k < kNumbers; ++k)
          if (work.number_sums[k] != nullptr)
            number_totals[k] += work.number_sums[k][pair.index * work.problem.n + place - 1];
    }
  }

  // What table k has gathered at a row (or column), and `from_border`.
  template <bool kRows>
  SOFTDP_DEVICE void put(int k, int at, double from_border) {
    const Table& table = work.problem.tables[k];
    const std::int64_t length = kRows ? work.problem.n : work.problem.m;
    double sum = from_border;
    if (kRows && table.one_column) sum += work.row_sums[k][pair.index * length + at];
    if (!kRows && table.one_row && !table.one_column)
      for (int strip = 0; strip < strips; ++strip)
        sum += double(
            work.column_sums[k]
                            [(pair.index * strips_for(work.problem.n, softdp::cuda::kRows<T>) + strip) * length + at]);
    if (table.one_column && table.one_row) {
      table_totals[k] += sum;
    } else if (kRows ? table.one_column : table.one_row) {
      store_element<T>(work.gradients.tables[k], table.element, pair.index * length + at, T(sum));
    }
  }

  SOFTDP_DEVICE double total(double part) const { return shuffle(sum_until(part, pair.lane), kWarp - 1, kWarp); }

  SOFTDP_DEVICE void write_totals() {
    for (int k = 0; k < kTables; ++k) {
      const Table& table = work.problem.tables[k];
      if (!wants(k) || !table.one_row || !table.one_column) continue;
      const double sum = total(table_totals[k]);
      if (pair.lane == 0) store_element<T>(work.gradients.tables[k], table.element, pair.index, T(sum));
    }
    for (int k = 0; k < kNumbers; ++k) {
      T* const to = k == 0 ? work.gradients.gamma : work.gradients.parameters[k - 1];
      if (to == nullptr) continue;
      const double sum = total(number_totals[k]);
      if (pair.lane == 0) to[pair.index] = T(k == 0 && work.problem.family.minimise ? -sum : sum);
    }
  }
};

template <class Family, class T>
SOFTDP_KERNEL(kBorderThreads)
finish_kernel(SOFTDP_CONSTANT BackwardWork<Family, T> work) {
  const Problem<Family, T>& problem = work.problem;
  const Pair pair(problem.batch.count);
  if (!pair.present) return;
  Finish<Family, T> finish(work, pair, length_of(problem.n_lengths, pair.index, problem.n),
                           length_of(problem.m_lengths, pair.index, problem.m));
  finish.template side<true>(finish.n, finish.m);
  finish.template side<false>(finish.m, finish.n);
  finish.write_totals();
}

}  // namespace softdp::cuda
