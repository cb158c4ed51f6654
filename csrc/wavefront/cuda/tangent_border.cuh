// How the border changes along a direction, before the tangent sweep and at its other end: a block for each pair.
#pragma once

#include "tangent.cuh"

namespace softdp::cuda {

template <class Family, class T>
struct TangentBorder {
  using Topology = typename Family::Topology;
  using Work = TangentWork<Family, T>;
  static constexpr int kStates = Topology::kStates;

  const Work& work;
  const Problem<Family, T>& problem;
  const std::int64_t pair;
  const DirectedBorder<Family, T, true> tables;
  const int n, m;

  SOFTDP_DEVICE TangentBorder(const Work& work, std::int64_t pair)
      : work(work),
        problem(work.problem),
        pair(pair),
        tables(problem, work.along, pair),
        n(length_of(problem.n_lengths, pair, problem.n)),
        m(length_of(problem.m_lengths, pair, problem.m)) {}

  // Lays it from the corner on, down the first column or along the first row. All threads take part.
  template <bool kDown>
  SOFTDP_DEVICE void lay() const {
    constexpr LeadingGap gap = kDown ? Topology::kDown : Topology::kAcross;
    const Gaps gaps = kDown ? problem.ends.leading_x : problem.ends.leading_y;
    const double* const given = work.along.direction.border;
    const int length = kDown ? n : m;
    for (int s = 0; s < kStates; ++s) {
      const bool paid = problem.border == nullptr && gaps == Gaps::kPaid && s == gap.state;
      double so_far = 0;
      for (int first = 0; first <= length; first += threads_in_block()) {
        const int place = first + thread_index();
        double change = 0;
        if (given != nullptr && place <= length)
          change =
              value_of_score(given[at(s, kDown && place > 0 ? problem.m + place : place)], problem.family.minimise);
        if (paid) {
          const Sum sum = sum_threads(place < 1 || place > length ? 0 : double(leading<kDown>(place)), Plus());
          change = so_far + sum.until;
          so_far += sum.all;
        }
        if (place <= length) put<kDown>(s, place, change);
      }
    }
  }

  // Puts out the last row and the last column, as far as they are in the band, which the sweep has left.
  SOFTDP_DEVICE void put_out() const {
    const int last_strip = (n - 1) / strip_rows();
    for (int s = 0; s < kStates; ++s) {
      for (int place = 1 + thread_index(); place <= m; place += threads_in_block())
        if (problem.in_band(pair, n, place, m)) write(s, place, *work.above_at(pair, last_strip + 1, s, place));
      for (int place = 1 + thread_index(); place <= n; place += threads_in_block())
        if (problem.in_band(pair, place, m, m)) write(s, problem.m + place, *work.left_at(pair, s, place));
    }
  }

 private:
  SOFTDP_DEVICE int strip_rows() const { return work.plan.lanes * kRows<T>; }
  SOFTDP_DEVICE std::int64_t at(int state, std::int64_t place) const {
    return (pair * kStates + state) * problem.border_length() + place;
  }

  // How a step of a leading gap changes.
  template <bool kDown>
  SOFTDP_DEVICE T leading(int place) const {
    constexpr LeadingGap gap = kDown ? Topology::kDown : Topology::kAcross;
    Dual<T> values[Family::kTables];
    tables.read(kDown ? place : 0, kDown ? 0 : place, values);
    const Potentials<Family, T> changes = potential_changes(problem.family, values, tables.parameters, tables.gamma);
    return place == 1 ? changes[gap.first] : changes[gap.next];
  }

  template <bool kDown>
  SOFTDP_DEVICE void put(int state, int place, double change) const {
    if (kDown) {
      *work.left_at(pair, state, place) = T(change);
      if (place > 0 && place % strip_rows() == 0 && place / strip_rows() < work.plan.strips)
        *work.above_at(pair, place / strip_rows(), state, 0) = T(change);
    } else {
      *work.above_at(pair, 0, state, place) = T(change);
    }
    // What is a last row or a last column too.
    if (!work.keeps_border()) return;
    if (kDown ? place > 0 && place == n : n == 0) write(state, kDown ? 0 : place, change);
    if (kDown && place > 0 && m == 0) write(state, problem.m + place, change);
  }

  SOFTDP_DEVICE void write(int state, std::int64_t place, double change) const {
    const std::int64_t to = at(state, place);
    const bool minimise = problem.family.minimise;
    const double of_score = softdp::seed(work.kept.border[to], score_of_value(change, minimise), minimise);
    work.outputs.border[to] = is_defined(problem, pair) && work.fits() ? of_score : kUndefined<double>;
  }
};

template <class Family, class T>
SOFTDP_KERNEL(kBorderThreads)
lay_tangent_kernel(SOFTDP_CONSTANT TangentWork<Family, T> work) {
  const TangentBorder<Family, T> border(work, block_index());
  border.template lay<true>();
  border.template lay<false>();
}

template <class Family, class T>
SOFTDP_KERNEL(kBorderThreads)
put_out_tangent_kernel(SOFTDP_CONSTANT TangentWork<Family, T> work) {
  const TangentBorder<Family, T> border(work, block_index());
  if (border.n > 0 && border.m > 0) border.put_out();
}

}  // namespace softdp::cuda
