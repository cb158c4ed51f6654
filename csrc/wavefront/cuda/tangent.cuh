// The tangent sweep on a GPU: how values, scores and weights change along a direction. Linear in the weights that the
// forward sweep has kept; cells in its order, strips and lanes where it has them.
//
// Must move: 4 bytes a cell and place of weights in (float32), 4 in for every full table of the direction, and of the
// problem where potentials are no sums of these; 8 out for each place where the changes of weights are kept. Cannot
// shorten: as the forward sweep, though a cell is three multiply-adds.
#pragma once

#include "../../recurrence/masses.h"
#include "border.cuh"

namespace softdp::cuda {

// Shared memory of a strip in the tangent sweep.
template <class Family, class T>
struct TangentMemory {
  DirectedRings<Family, true> tables;
  int weights = 0;  // two pieces
  int above = 0;    // how the row above the strip changes, a ring of kRing columns for each state
  int bytes = 0;

  static TangentMemory of(const Problem<Family, T>& problem, const Along<Family, T, true>& along, int strip_rows) {
    TangentMemory memory;
    StripMemory strip;
    for (int k = 0; k < Family::kTables; ++k) {
      if (kChangesReadTables<Family>)
        memory.tables.values[k] = strip.template ring<T>(problem.tables[k], strip_rows, problem.m);
      memory.tables.changes[k] = strip.template ring<T>(along.direction.tables[k], strip_rows, problem.m);
    }
    using Word = typename StoredWeights<T>::Word;
    constexpr int places = kPlaces<typename Family::Topology>;
    memory.weights = strip.template reserve<Word>(2 * kPiece * places * StoredWeights<T>::kWords * strip_rows);
    memory.above = strip.template reserve<T>(Family::Topology::kStates * kRing);
    memory.bytes = strip.bytes;
    return memory;
  }
};

template <class Family, class T>
struct TangentWork {
  static constexpr int kStates = Family::Topology::kStates;

  Problem<Family, T> problem;
  Plan plan;
  Relay relay;
  TangentMemory<Family, T> memory;
  Along<Family, T, true> along;
  Kept<T> kept;                                    // what the forward sweep put out
  Outputs<T> outputs;                              // how that changes
  const typename StoredWeights<T>::Word* weights;  // [pair][strip][column][place][word][lane][row]
  const std::int64_t* begins;                      // with a band: columns before each strip's, [pair][strip]
  std::int64_t columns;                            // with a band: how many the weights have
  T* weight_changes;                               // [pair][strip][column][place][2][lane][row], or null
  bool laid;  // whether the border changes or is put out: then it is in `above` and `left`
  T* above;   // [pair][strip][state][column, from 0], as in the forward sweep
  T* left;    // [pair][state][n + 1]

  SOFTDP_INLINE bool keeps_border() const { return outputs.border != nullptr; }
  SOFTDP_INLINE int strips_above() const { return plan.strips + keeps_border(); }
  // From a state to the next; column 1 begins a piece.
  SOFTDP_INLINE std::int64_t above_length() const { return kTogether<T> + row_length<T>(problem.m); }
  SOFTDP_DEVICE T* above_at(std::int64_t pair, int strip, int state, int column) const {
    return above + ((pair * strips_above() + strip) * kStates + state) * above_length() + kTogether<T> - 1 + column;
  }
  SOFTDP_DEVICE T* left_at(std::int64_t pair, int state, int row) const {
    return left + (pair * kStates + state) * (problem.n + 1) + row;
  }

  // Whether the weights are of this band, where there is one.
  SOFTDP_DEVICE bool fits() const {
    return problem.band == nullptr || begins[problem.batch.count * strips_for(problem.n, kRows<T>)] == columns;
  }

  static constexpr bool kHasScore = Family::Topology::kEnd != kNoState;

  SOFTDP_DEVICE void write_score(std::int64_t pair, T change) const {
    const bool minimise = problem.family.minimise;
    const T of_score = softdp::seed(kept.scores[pair], score_of_value(change, minimise), minimise);
    outputs.scores[pair] = is_defined(problem, pair) && fits() ? of_score : kUndefined<T>;
  }
};

template <class Family, class T, bool kBand>
struct TangentStrip {
  using Topology = typename Family::Topology;
  using Work = TangentWork<Family, T>;
  using Word = typename StoredWeights<T>::Word;
  static constexpr int kStates = Topology::kStates, kPlaces = softdp::kPlaces<Topology>;
  static constexpr int kR = kRows<T>, kAtOnce = kStepsAtOnce<T>;
  static constexpr int kWords = StoredWeights<T>::kWords;
  static constexpr int kTables = Family::kTables;

  const Work& work;
  const Team& team;
  const DirectedTables<Family, T, true, kChangesReadTables<Family>> tables;
  const Dual<T> gamma;
  const T inverse_gamma;
  const bool gamma_changes;  // of a pair in this warp
  Dual<T> parameters[Family::kParameters + 1] = {};

  int seen = 0;              // pieces that the strip above is known to be done with
  Span row_above;            // with a band: the columns that the row above the strip has
  std::int64_t kept_at = 0;  // columns whose weights are before those of the strip
  T* in;                     // ring of the row above
  T* out;                    // where the last row's go, at their column; null if nowhere, or from another lane
  T* kept = nullptr;         // this lane's changes of weights of the first column, or null
  T left[kStates][kR], diagonal[kStates];

  SOFTDP_DEVICE TangentStrip(const Work& work, const Team& team)
      : work(work),
        team(team),
        tables(work, team),
        gamma(team.present(work.problem) ? gamma_of(work.problem, work.along, team.pair) : Dual<T>(T(1))),
        inverse_gamma(Smoothness<T>::from(gamma.value).scale * kLog2<T>),
        gamma_changes(any_in_warp(!(gamma.tangent == 0))),
        in(team.at<T>(work.memory.above)) {
    if (team.present(work.problem))
      for (int k = 0; k < Family::kParameters; ++k)
        parameters[k] = parameter_of(work.problem, work.along, k, team.pair);
  }

  // In which all lanes do these columns.
  SOFTDP_DEVICE Span pieces(Span columns) const {
    const int first = columns.first / kPiece;
    return {first, columns.size() > 0 ? (columns.last + work.plan.lanes - 1 + kPiece - 1) / kPiece : first};
  }

  SOFTDP_DEVICE int steps() const { return team.swept.last + work.plan.lanes - 1; }
  SOFTDP_DEVICE int place_at(int t) const { return team.place_of<kBand>(t); }

  // In the row above the strip, at a column that counts the border as 0.
  SOFTDP_DEVICE T change_above(int state, int column) const {
    return work.laid || (team.strip > 0 && column > 0) ? *work.above_at(team.pair, team.strip, state, column) : T(0);
  }
  // In the column before the table, at a row that counts the border as 0.
  SOFTDP_DEVICE T change_before(int state, int row) const {
    return work.laid ? *work.left_at(team.pair, state, row) : T(0);
  }

  // Before the first step; a barrier must follow.
  SOFTDP_DEVICE void begin(int piece) {
    out = nullptr;
    if (team.has_end<T>() && (team.has_below || work.keeps_border()))
      out = work.above_at(team.pair, team.strip + 1, 0, 1);
    seen = 0;
    for (int s = 0; s < kStates; ++s) {
      diagonal[s] = 0;
      for (int r = 0; r < kR; ++r) left[s][r] = 0;
    }
    if (team.rows <= 0) return;
    kept_at = team.kept_at<kBand>(work.problem, work.begins);
    if (work.weight_changes != nullptr)
      kept = work.weight_changes + (kept_at * kPlaces * kWeightTangents * work.plan.lanes + team.lane) * kR;
    tables.stage_fixed(team.first_row, team.rows);
    const int row = team.own_row;  // the border's row 0 is above row 0
    if constexpr (kBand)
      row_above =
          team.first_row == 0 ? Span{0, team.m} : span_of(work.problem.columns(team.pair, team.first_row - 1, team.m));
    const auto in_band = [&](int its_row) { return team.in_band<kBand>(work.problem, its_row, 0); };
    for (int s = 0; s < kStates; ++s) {
      for (int r = 0; r < kR; ++r)
        if (r < team.own_rows && in_band(row + r + 1)) left[s][r] = change_before(s, row + r + 1);
      if (team.own_rows > 0 && in_band(row)) diagonal[s] = team.lane == 0 ? change_above(s, 0) : change_before(s, row);
    }
    stage(piece);
  }

  // Begins to bring a piece of what the strip reads.
  SOFTDP_DEVICE void stage(int piece) {
    const int column = piece * kPiece;
    const int count = team.m - column < kPiece ? team.m - column : kPiece;
    if (team.rows > 0 && column < team.swept.last) {
      tables.stage(team.first_row, team.rows, column, count);
      stage_above(*this, piece, count, [](int, int) { return T(0); });
    }
    if (team.swept.size() > 0) stage_kept<false, kBand, kWords>(*this, work.weights, work.memory.weights, piece);
    commit_copies();
  }

  // kPiece steps, as in the forward sweep.
  SOFTDP_DEVICE void sweep(int piece) {
    wait_for_copies<0>();
    warp_barrier();
    stage(piece + 1);
    const int line = kPlaces * kWords * work.plan.lanes * kR;
    const Word* const words = team.at<Word>(work.memory.weights) + (piece & 1) * kPiece * line + team.lane * kR;
    const int first = piece * kPiece - team.lane;  // column
    with_flag(gamma_changes, [&](auto changes) {
      int place = team.places<kBand>() > 0 ? team.place_of<kBand>(piece * kPiece) : 0;
#pragma unroll kAtOnce
      for (int k = 0; k < kPiece; ++k) {
        step<changes>(first + k, place, words + k * line);
        place = place + 1 < team.places<kBand>() ? place + 1 : 0;
      }
    });
  }

  // kGamma: gamma changes, too.
  template <bool kGamma>
  SOFTDP_DEVICE void step(int column, int place, const Word* words) {
    T above[kStates], above_first_row[kStates];
    for (int s = 0; s < kStates; ++s) above[s] = shuffle_up(left[s][kR - 1], 1, work.plan.lanes);
    if (!team.sweeps(column)) return;
    for (int s = 0; s < kStates; ++s) {
      if (team.lane == 0) above[s] = !kBand || row_above.has(column) ? in[s * kRing + (column & (kRing - 1))] : T(0);
      above_first_row[s] = above[s];
    }
    T changes[kPlaces * kWeightTangents][kR];
#pragma unroll
    for (int r = 0; r < kR; ++r) {
      Dual<T> values[kTables];
      tables.read(team.lane * kR + r, column, values);
      const Potentials<Family, T> arcs = potential_changes(work.problem.family, values, parameters, gamma);
      const bool has = team.has<kBand>(r, column);
      Change<T> cells[kStates];
      each<kStates>([&](auto state) { cells[state] = cell<kGamma, state>(r, above, cells, arcs, words); });
      for (int s = 0; s < kStates; ++s) {
        diagonal[s] = left[s][r];
        if (!has) cells[s] = {T(0), T(0), T(0)};
        above[s] = left[s][r] = cells[s].value;
      }
      each<kPlaces>([&](auto k) {
        T first = 0, second = 0;
        changes_in_place<Topology, k>(cells, first, second);
        changes[k * kWeightTangents][r] = first;
        changes[k * kWeightTangents + 1][r] = second;
      });
    }
    for (int s = 0; s < kStates; ++s) diagonal[s] = above_first_row[s];
    if (kept != nullptr) keep(changes, place);
    if (out != nullptr)
      for (int s = 0; s < kStates; ++s) out[s * work.above_length() + column] = last_of(left[s]);
  }

  template <bool kGamma, int kState>
  SOFTDP_DEVICE Change<T> cell(int r, const T (&above)[kStates], const Change<T> (&here)[kStates],
                               const Potentials<Family, T>& arcs, const Word* words) const {
    T changes[3];
    each<3>([&](auto k) {
      constexpr Arc arc = Topology::kArcs[kState][k];
      changes[k] = T(0);
      if constexpr (arc.step == kHere) changes[k] = here[arc.state].value;
      if constexpr (arc.step < kSteps)
        changes[k] = arc.step == kDiagonal ? diagonal[arc.state]
                     : arc.step == kAbove  ? above[arc.state]
                                           : left[arc.state][r];
      if constexpr (arc.potential != kUnpaid) changes[k] += arcs[arc.potential];
    });
    constexpr Place place = place_of<Topology>(kState);
    const int stride = work.plan.lanes * kR;
    const Word* const own = words + place.at * kWords * stride + r;
    const Arcs<T> q = StoredWeights<T>::template share<place.fractions>(own, stride, T(1));
    return change_of_cell<kGamma>(q, {changes[0], changes[1], changes[2]}, gamma.tangent, inverse_gamma);
  }

  // Of the last row that this lane has.
  SOFTDP_DEVICE T last_of(const T (&changes)[kR]) const {
    T last = changes[kR - 1];
    for (int r = 0; r + 1 < kR; ++r)
      if (team.own_rows == r + 1) last = changes[r];
    return last;
  }

  SOFTDP_DEVICE void keep(const T (&changes)[kPlaces * kWeightTangents][kR], int place) const {
    struct alignas(sizeof(T) * kR) Together {
      T changes[kR];
    };
    const int line = work.plan.lanes * kR;
    for (int k = 0; k < kPlaces * kWeightTangents; ++k) {
      Together together;
      for (int r = 0; r < kR; ++r) together.changes[r] = changes[k][r];
      *reinterpret_cast<Together*>(kept + (std::int64_t(place) * kPlaces * kWeightTangents + k) * line) = together;
    }
  }

  // After the last step.
  SOFTDP_DEVICE void end() {
    for (int r = 0; r < kR; ++r) {
      if (r >= team.own_rows) continue;
      const int row = team.own_row + r + 1;
      if (work.keeps_border())
        for (int s = 0; s < kStates; ++s) *work.left_at(team.pair, s, row) = left[s][r];
      if constexpr (Work::kHasScore)
        if (row == team.n)
          work.write_score(team.pair, team.in_band<kBand>(work.problem, row, team.m) ? left[Topology::kEnd][r] : T(0));
    }
  }
};

template <class Family, class T, bool kBand>
SOFTDP_KERNEL_OF(kThreads, kBlocksAtOnce<typename Family::Topology>)
tangent_kernel(SOFTDP_CONSTANT TangentWork<Family, T> work) {
  each_team<false>(work, [&](Team& team) SOFTDP_DEVICE_LAMBDA {
    TangentStrip<Family, T, kBand> strip(work, team);
    constexpr int kEnd = Family::Topology::kEnd;
    if (team.present(work.problem) && (team.n == 0 || team.m == 0)) {
      // What leads to its last cell is the border.
      if constexpr (TangentWork<Family, T>::kHasScore)
        if (team.first())
          work.write_score(team.pair,
                           team.m > 0 ? strip.change_above(kEnd, team.m) : strip.change_before(kEnd, team.n));
      team.sweep_nothing();
    } else if (kBand && team.present(work.problem) && !work.fits()) {
      if constexpr (TangentWork<Family, T>::kHasScore)
        if (team.first()) work.write_score(team.pair, T(0));
      team.sweep_nothing();
    }
    sweep_strip<false, kBand>(work, team, strip);
  });
}

}  // namespace softdp::cuda
