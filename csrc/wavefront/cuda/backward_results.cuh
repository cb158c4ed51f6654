// Where the results of a backward sweep on a GPU go: gradients of cells by way of rings in shared memory, sums over
// columns by way of the strip's memory.
#pragma once

#include "backward_work.cuh"

namespace softdp::cuda {

template <Wanted... kKnown, class F>
SOFTDP_DEVICE void with_one_of(Wanted wanted, const F& f) {
  const bool known = ((wanted == kKnown && (f(std::integral_constant<Wanted, kKnown>()), true)) || ...);
  if (!known) f(std::integral_constant<Wanted, Wanted::kAnything>());
}

// Calls f with what is wanted, known when f is compiled; where flow() is what takes the time, one f does for all.
template <class Work, class F>
SOFTDP_DEVICE void with_wanted(Wanted wanted, const F& f) {
  using Family = typename Work::ItsFamily;
  if constexpr (Work::kAlong || Family::kFlowReadsTables) {
    f(std::integral_constant<Wanted, Wanted::kAnything>());
  } else if constexpr (Family::kTables == 1) {
    with_one_of<Wanted::kFirst, Wanted::kFirstAndGamma>(wanted, f);
  } else {
    with_one_of<Wanted::kFirst, Wanted::kFirstAndGamma, Wanted::kAll, Wanted::kAllAndGamma>(wanted, f);
  }
}

// Sums over the columns so far, kCount for each of a lane's rows: in the strip's memory, as they are wanted once a
// piece, or in registers.
template <class T, int kCount, bool kInMemory>
struct RowSums {
  TwoFloat<T>* own;
  int lanes;

  SOFTDP_DEVICE RowSums(const Team& team, int lanes, int offset)
      : own(team.at<TwoFloat<T>>(offset) + team.lane), lanes(lanes) {}
  SOFTDP_DEVICE TwoFloat<T>& at(int k, int r) const { return own[(k * kRows<T> + r) * lanes]; }
};

template <class T, int kCount>
struct RowSums<T, kCount, false> {
  TwoFloat<T> sums[kCount][kRows<T>];

  SOFTDP_DEVICE RowSums(const Team&, int, int) {}
  SOFTDP_DEVICE TwoFloat<T>& at(int k, int r) { return sums[k][r]; }
  SOFTDP_DEVICE const TwoFloat<T>& at(int k, int r) const { return sums[k][r]; }
};

// Sums over the columns of a piece, of each of a lane's rows.
template <class Family, class T>
struct PieceSums {
  T rows[Family::kTables][kRows<T>], numbers[Family::kParameters + 1][kRows<T>];
};

template <class Family, class T, bool kBand, bool kTangent>
struct BackwardResults {
  using Work = BackwardWork<Family, T, kTangent>;
  static constexpr int kR = kRows<T>, kTables = Family::kTables, kNumbers = Work::kNumbers;

  const Work& work;
  const Team& team;
  RowSums<T, kTables, true> row_sums;  // there where they are wanted
  RowSums<T, kNumbers, kTangent> number_sums;

  SOFTDP_DEVICE BackwardResults(const Work& work, const Team& team)
      : work(work),
        team(team),
        row_sums(team, work.plan.lanes, work.memory.row_sums),
        number_sums(team, work.plan.lanes, work.memory.number_sums) {}

  SOFTDP_DEVICE void begin() {
    for (int r = 0; r < kR; ++r) {
      for (int k = 0; k < kTables; ++k)
        if (work.sums_rows(k)) row_sums.at(k, r) = {0, 0};
      for (int k = 0; k < kNumbers; ++k)
        if (work.sums_numbers(k)) number_sums.at(k, r) = {0, 0};
    }
  }

  template <Wanted kWanted>
  SOFTDP_DEVICE void add(const PieceSums<Family, T>& piece) {
    constexpr bool kAnything = kWanted == Wanted::kAnything;
    for (int r = 0; r < kR; ++r) {
      for (int k = 0; k < kTables; ++k)
        if (kAnything && work.sums_rows(k)) row_sums.at(k, r) = normalise(two_sum(row_sums.at(k, r), piece.rows[k][r]));
      for (int k = 0; k < kNumbers; ++k)
        if (kAnything ? work.sums_numbers(k) : wants_gamma(kWanted) && k == kNumbers - 1)
          number_sums.at(k, r) = normalise(two_sum(number_sums.at(k, r), piece.numbers[k][r]));
    }
  }

  // Brings the gradients of the piece of columns that begins with `first`, which all lanes have done, to where the user
  // finds them.
  SOFTDP_DEVICE void write_gradients(int first, bool done) const {
    if (!done || first < 0 || team.rows <= 0) return;
    Span columns{first, first + kPiece < team.m ? first + kPiece : team.m};
    if constexpr (kBand) {
      columns = {columns.first > team.swept.first ? columns.first : team.swept.first,
                 columns.last < team.swept.last ? columns.last : team.swept.last};
    }
    const std::int64_t m = work.problem.m, at = (team.pair * work.problem.n + team.first_row) * m;
#pragma unroll
    for (int k = 0; k < kTables; ++k) {
      if (!work.keeps_cells(k)) continue;
      with_element<T>(work.problem.tables[k].element, [&](auto type) {
        auto* const to = static_cast<typename decltype(type)::Stored*>(work.gradients.tables[k]) + at;
        store_columns<decltype(type)>(to, m, team.rows, columns, work.memory.gradients[k], team.at<T>(0), team.lane,
                                      work.plan.lanes);
      });
    }
  }

  // After the last step.
  SOFTDP_DEVICE void end() const {
    for (int r = 0; r < kR && r < team.own_rows; ++r) {
      const std::int64_t at = team.pair * work.problem.n + team.own_row + r;
      for (int k = 0; k < kTables; ++k)
        if (work.sums_rows(k)) work.row_sums[k][at] = double(row_sums.at(k, r).high) + double(row_sums.at(k, r).low);
      for (int k = 0; k < kNumbers; ++k)
        if (work.sums_numbers(k))
          work.number_sums[k][at] = double(number_sums.at(k, r).high) + double(number_sums.at(k, r).low);
    }
  }
};

}  // namespace softdp::cuda
