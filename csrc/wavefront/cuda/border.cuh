// The border on a GPU, and numbers that are gathered from whole tables: a block for each pair, threads side by side.
#pragma once

#include "directed.cuh"
#include "forward.cuh"

namespace softdp::cuda {

constexpr int kBorderThreads = 256;  // most

inline LaunchShape border_shape(std::int64_t pairs, std::int64_t n, std::int64_t m) {
  const int threads =
      int(std::clamp<std::int64_t>((std::max(n, m) + kWarp - 1) / kWarp * kWarp, kWarp, kBorderThreads));
  return {pairs, threads, threads / kWarp * sizeof(double)};
}

// Whether cells of the border are sums of gaps.
template <class Family, class T>
bool pays(const Problem<Family, T>& problem) {
  return problem.border == nullptr && (problem.ends.leading_x == Gaps::kPaid || problem.ends.leading_y == Gaps::kPaid);
}

// Of a number that each thread brings: the sum over this thread and those before it, and over all of the block.
struct Sum {
  double until, all;
};

template <class Plus>
SOFTDP_DEVICE Sum sum_threads(double value, const Plus& plus) {
  const int lane = thread_index() % kWarp, warp = thread_index() / kWarp;
#pragma unroll
  for (int delta = 1; delta < kWarp; delta *= 2) {
    const double before = shuffle_up(value, delta, kWarp);
    if (lane >= delta) value = plus(before, value);
  }
  double* const of_warps = reinterpret_cast<double*>(shared_memory());
  if (lane == kWarp - 1) of_warps[warp] = value;
  block_barrier();
  Sum sum{value, 0};
  for (int w = 0; w < threads_in_block() / kWarp; ++w) {
    if (w == warp) sum.until = plus(sum.all, sum.until);
    sum.all = plus(sum.all, of_warps[w]);
  }
  block_barrier();
  return sum;
}

struct Plus {
  SOFTDP_DEVICE double operator()(double a, double b) const { return a + b; }
};
// No path leads through a gap of -infinity, whatever the others are worth.
struct PlusAlongPath {
  SOFTDP_DEVICE double operator()(double a, double b) const {
    const double sum = a + b;
    return sum != sum && a == -b ? -kInfinity<double> : sum;
  }
};

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

// The same and, with kTangent, how it changes along a direction.
template <class Family, class T, bool kTangent>
struct DirectedBorder : BorderTables<Family, T> {
  SOFTDP_DEVICE DirectedBorder(const Problem<Family, T>& problem, const Along<Family, T, false>&, std::int64_t pair)
      : BorderTables<Family, T>(problem, pair) {}
};

template <class Family, class T>
struct DirectedBorder<Family, T, true> {
  const BorderTables<Family, T> values, changes;
  Dual<T> parameters[Family::kParameters + 1] = {};
  const Dual<T> gamma;

  SOFTDP_DEVICE DirectedBorder(const Problem<Family, T>& problem, const Along<Family, T, true>& along,
                               std::int64_t pair)
      : values(problem, pair), changes(along.direction, pair), gamma(values.gamma, changes.gamma) {
    for (int k = 0; k < Family::kParameters; ++k) parameters[k] = {values.parameters[k], changes.parameters[k]};
  }

  SOFTDP_DEVICE void read(int row, int column, Dual<T> (&numbers)[Family::kTables]) const {
    T own[Family::kTables], its[Family::kTables];
    values.read(row, column, own);
    changes.read(row, column, its);
    for (int k = 0; k < Family::kTables; ++k) numbers[k] = {own[k], its[k]};
  }
};

// The border of one pair: what it is worth before the sweep, and what the sweep makes of its other end.
template <class Family, class T, class Form>
struct Border {
  using Topology = typename Family::Topology;
  using Work = ForwardWork<Family, T, Form>;
  using Value = typename Form::Value;
  static constexpr int kStates = Topology::kStates;

  const Work& work;
  const Problem<Family, T>& problem;
  const std::int64_t pair;
  const BorderTables<Family, T> tables;
  const Smoothness<T> smoothness;
  const int n, m;

  SOFTDP_DEVICE Border(const Work& work, std::int64_t pair)
      : work(work),
        problem(work.problem),
        pair(pair),
        tables(problem, pair),
        smoothness(Smoothness<T>::from(tables.gamma)),
        n(length_of(problem.n_lengths, pair, problem.n)),
        m(length_of(problem.m_lengths, pair, problem.m)) {}

  // Lays it from the corner on, down the first column or along the first row. All threads take part.
  template <bool kDown>
  SOFTDP_DEVICE void lay() const {
    constexpr LeadingGap gap = kDown ? Topology::kDown : Topology::kAcross;
    const Gaps gaps = kDown ? problem.ends.leading_x : problem.ends.leading_y;
    const int length = kDown ? n : m;
    for (int s = 0; s < kStates; ++s) {
      const bool paid = problem.border == nullptr && gaps == Gaps::kPaid && s == gap.state;
      double so_far = 0;
      for (int first = 0; first <= length; first += threads_in_block()) {
        const int place = first + thread_index();
        double value = s == Topology::kBegin && (place == 0 || gaps == Gaps::kFree) ? 0 : -kInfinity<double>;
        if (problem.border != nullptr && place <= length)
          value = given(s, kDown && place > 0 ? problem.m + place : place);
        if (paid) {
          const Sum sum = sum_threads(place < 1 || place > length ? 0 : double(leading<kDown>(place)), PlusAlongPath());
          if (place > 0) value = PlusAlongPath()(so_far, sum.until);
          so_far = PlusAlongPath()(so_far, sum.all);
        }
        if (place <= length) put<kDown>(s, place, value);
      }
    }
  }

  // Puts out the last row and the last column, as far as they are in the band, which the sweep has left.
  SOFTDP_DEVICE void put_out() const {
    const int last_strip = (n - 1) / strip_rows();
    for (int s = 0; s < kStates; ++s) {
      for (int place = 1 + thread_index(); place <= m; place += threads_in_block())
        if (problem.in_band(pair, n, place, m))
          write(s, place, Form::value_of(*work.above_at(pair, last_strip + 1, s, place), smoothness));
      for (int place = 1 + thread_index(); place <= n; place += threads_in_block())
        if (problem.in_band(pair, place, m, m))
          write(s, problem.m + place, Form::value_of(*work.left_at(pair, s, place), smoothness));
    }
  }

 private:
  SOFTDP_DEVICE int strip_rows() const { return work.plan.lanes * kRows<T>; }
  SOFTDP_DEVICE std::int64_t at(int state, std::int64_t place) const {
    return (pair * kStates + state) * problem.border_length() + place;
  }

  SOFTDP_DEVICE double given(int state, std::int64_t place) const {
    const double value = value_of_score(problem.border[at(state, place)], problem.family.minimise);
    if constexpr (!kIsExact<Form, T>)
      if (Form::border_beyond_reach(T(value), smoothness)) work.beyond_reach[pair] = 1;
    return value;
  }

  // What a step of a leading gap is worth.
  template <bool kDown>
  SOFTDP_DEVICE T leading(int place) const {
    constexpr LeadingGap gap = kDown ? Topology::kDown : Topology::kAcross;
    const auto potentials = tables.potentials(kDown ? place : 0, kDown ? 0 : place);
    return Exact<T>::template weigh_gap<Family>(place == 1 ? potentials[gap.first] : potentials[gap.next], smoothness);
  }

  template <bool kDown>
  SOFTDP_DEVICE void put(int state, int place, double value) const {
    const T high = T(value), low = T(value - double(high));
    const Value laid = Form::from({high, low == low ? low : T(0)}, smoothness);
    if (kDown) {
      *work.left_at(pair, state, place) = laid;
      if (place > 0 && place % strip_rows() == 0 && place / strip_rows() < work.plan.strips)
        *work.above_at(pair, place / strip_rows(), state, 0) = laid;
    } else {
      *work.above_at(pair, 0, state, place) = laid;
    }
    // What is a last row or a last column too.
    if (kIsExact<Form, T> || !work.keeps_border()) return;
    if (kDown ? place > 0 && place == n : n == 0) write(state, kDown ? 0 : place, value);
    if (kDown && place > 0 && m == 0) write(state, problem.m + place, value);
  }

  SOFTDP_DEVICE void write(int state, std::int64_t place, double value) const {
    const double score = score_of_value(value, problem.family.minimise);
    work.outputs.border[at(state, place)] = is_defined(problem, pair) ? score : kUndefined<double>;
  }
};

template <class Family, class T, class Form>
SOFTDP_KERNEL(kBorderThreads)
lay_border_kernel(SOFTDP_CONSTANT ForwardWork<Family, T, Form> work) {
  const std::int64_t pair = block_index();
  if (kIsExact<Form, T> && !work.beyond_reach[pair]) return;
  const Border<Family, T, Form> border(work, pair);
  border.template lay<true>();
  border.template lay<false>();
}

// Of those pairs that this form has swept.
template <class Family, class T, class Form>
SOFTDP_KERNEL(kBorderThreads)
put_out_border_kernel(SOFTDP_CONSTANT ForwardWork<Family, T, Form> work) {
  const std::int64_t pair = block_index();
  if (kIsExact<Form, T> != (work.beyond_reach[pair] != 0)) return;
  const Border<Family, T, Form> border(work, pair);
  if (border.n > 0 && border.m > 0) border.put_out();
}

}  // namespace softdp::cuda
