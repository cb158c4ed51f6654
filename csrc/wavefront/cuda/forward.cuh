// The forward sweep on a GPU: over any family of recurrences, in either form of the running value.
//
// Must move: 4 bytes a cell and full table in (float32), 4 out for each place where weights are kept. Cannot shorten: a
// cell waits for the one above it and the one to its left, and a lane's rows for one another: kRows cells and a shuffle
// a step.
#pragma once

#include "../../recurrence/forms/exact.h"
#include "../../recurrence/forms/scaled.h"
#include "forward_work.cuh"

namespace softdp::cuda {

template <class Form, class T>
constexpr bool kIsExact = std::is_same_v<Form, Exact<T>>;

// An arc, or in its place one that does not exist: an exponent alone closes it.
template <class Form, class T>
SOFTDP_DEVICE typename Form::Arc closed_if(bool closed, const typename Form::Arc& arc) {
  if constexpr (kIsExact<Form, T>) {
    return closed ? -kInfinity<T> : arc;
  } else {
    return {arc.mantissa, closed ? Form::Limits::kClosed : arc.exponent};
  }
}

template <class Family, class T, class Form, bool kBand>
struct ForwardStrip {
  using Topology = typename Family::Topology;
  using Work = ForwardWork<Family, T, Form>;
  using Value = typename Form::Value;
  using Word = typename StoredWeights<T>::Word;
  static constexpr int kWords = StoredWeights<T>::kWords;
  static constexpr int kStates = Topology::kStates, kPlaces = softdp::kPlaces<Topology>;
  static constexpr int kR = kRows<T>, kAtOnce = kStates > 1 ? 1 : kStepsAtOnce<T>;
  static constexpr int kAtOnceInside = Family::kTables > 1 ? kAtOnce : kFullStepsAtOnce<T>;  // of several: registers
  static constexpr int kPotentials = Topology::kPotentials;
  // A table of cells is one of gaps, too.
  static constexpr bool kGapsAlwaysVary = Family::kGapTables & 1;

  // What a step reads of shared memory: a full strip a step ahead, before the step in hand writes there.
  struct Read {
    T values[kR][Family::kTables];
    Value above[kStates];  // wanted by lane 0
  };

  // This lane's row in which no gap in y goes on, and the column in which none in x does; -1: none.
  struct Closed {
    int row, column;
  };

  const Work& work;
  const Team& team;
  const StripTables<Family, T> tables;
  const Smoothness<T> smoothness;
  T parameters[Family::kParameters + 1] = {};
  T reach = 0;
  bool gaps_vary, beyond_reach = false;

  int first_piece = 0;
  int seen = 0;          // pieces that the strip above is known to be done with
  Span row_above;        // with a band: the columns that the row above the strip has
  Value* in;             // ring of the row above
  Value* out;            // where the last row's values go, at their column; null if nowhere, or from another lane
  Word* kept = nullptr;  // this lane's weights of the first column, or null
  Value left[kStates][kR], diagonal[kStates];
  // Of the column in hand; the gaps' stay where they do not vary along a row.
  Numbers<typename Form::Arc, kPotentials> arcs[kR];
  typename StoredWeights<T>::Dither dither[kR];

  SOFTDP_DEVICE ForwardStrip(const Work& work, const Team& team)
      : work(work),
        team(team),
        tables(work.problem, work.memory.tables, team, work.plan),
        smoothness(Smoothness<T>::from(team.present(work.problem) ? work.problem.gamma[team.pair] : T(1))),
        in(team.at<Value>(work.memory.above)) {
    if (team.present(work.problem))
      for (int k = 0; k < Family::kParameters; ++k) parameters[k] = work.problem.parameters[k][team.pair];
    gaps_vary = kGapsAlwaysVary || work.problem.gaps_vary();
    if constexpr (!kIsExact<Form, T>)
      reach = Form::reach((work.problem.border ? 2 : 1) * (work.problem.n + work.problem.m));
  }

  // In which all lanes do these columns.
  SOFTDP_DEVICE Span pieces(Span columns) const {
    const int first = columns.first / kPiece;
    return {first, columns.size() > 0 ? (columns.last + work.plan.lanes - 1 + kPiece - 1) / kPiece : first};
  }

  // The value in the row above the strip, at a column that counts the border as 0.
  SOFTDP_DEVICE Value value_above(int state, int column) const {
    if (!work.laid && (team.strip == 0 || column == 0)) {
      const Ends& ends = work.problem.ends;
      return Work::border_value(team.strip == 0 ? ends.leading_y : ends.leading_x, state,
                                team.strip == 0 && column == 0);
    }
    return *work.above_at(team.pair, team.strip, state, column);
  }
  // The value in the column before the table, at a row that counts the border as 0.
  SOFTDP_DEVICE Value value_before(int state, int row) const {
    if (!work.laid) return Work::border_value(work.problem.ends.leading_x, state, row == 0);
    return *work.left_at(team.pair, state, row);
  }

  SOFTDP_DEVICE Read read(int column) const {
    Read read;
    for (int r = 0; r < kR; ++r) tables.read(team.lane * kR + r, column, read.values[r]);
    if (team.lane == 0)
      for (int s = 0; s < kStates; ++s)
        read.above[s] = !kBand || row_above.has(column) ? in[s * kRing + (column & (kRing - 1))] : Form::no_path();
    return read;
  }

  SOFTDP_DEVICE Potentials<Family, T> potentials(const T (&values)[Family::kTables]) const {
    return work.problem.family.potentials(values, parameters, smoothness.gamma);
  }

  // has: whether the cell is there.
  SOFTDP_DEVICE void check(bool has, T potential) {
    if constexpr (!kIsExact<Form, T>) beyond_reach |= has & Form::beyond_reach(potential, smoothness, reach);
  }

  SOFTDP_DEVICE void weigh_gaps(int r, bool has, const Potentials<Family, T>& potentials) {
    each<kPotentials - 1>([&](auto gap) {
      constexpr int k = gap + 1;
      check(has, potentials[k]);
      arcs[r][k] = Form::template weigh_gap<Family>(potentials[k], smoothness);
    });
  }

  // The arcs of this lane's cells in a column. They wait for no other cell.
  template <bool kInside>
  SOFTDP_DEVICE void weigh(int column, const Read& read, bool gaps) {
    Potentials<Family, T> each[kR];
    for (int r = 0; r < kR; ++r) each[r] = potentials(read.values[r]);
    const auto has = [&](int r) { return kInside || team.has<kBand>(r, column); };
    if (gaps)
      for (int r = 0; r < kR; ++r) weigh_gaps(r, has(r), each[r]);
    for (int r = 0; r < kR; ++r) {
      check(has(r), each[r][0]);
      arcs[r][0] = Form::weigh(each[r][0], smoothness);
    }
  }

  // Before the first step; a barrier must follow.
  SOFTDP_DEVICE void begin(int piece) {
    first_piece = piece;
    out = nullptr;
    if (team.has_end<T>() && (team.has_below || work.keeps_border()))
      out = work.above_at(team.pair, team.strip + 1, 0, 1);
    seen = 0;
    if (team.rows <= 0) return;
    if (work.weights != nullptr)
      kept = work.weights +
             (team.kept_at<kBand>(work.problem, work.begins) * kPlaces * kWords * work.plan.lanes + team.lane) * kR;
    tables.stage_fixed(team.first_row, team.rows);
    const int row = team.own_row;  // the border's row 0 is above row 0
    if constexpr (kBand)
      row_above =
          team.first_row == 0 ? Span{0, team.m} : span_of(work.problem.columns(team.pair, team.first_row - 1, team.m));
    for (int s = 0; s < kStates; ++s) {
      for (int r = 0; r < kR; ++r)
        if (r < team.own_rows) left[s][r] = if_in_band(row + r + 1, [&] { return value_before(s, row + r + 1); });
      if (team.own_rows > 0)
        diagonal[s] = if_in_band(row, [&] { return team.lane == 0 ? value_above(s, 0) : value_before(s, row); });
    }
    for (int r = 0; r < kR; ++r) dither[r] = StoredWeights<T>::lane_dither(row + r, -std::int64_t(team.swept.first));
    stage(piece);
  }

  // The value of the cell before the table, in a row that counts from 1.
  template <class F>
  SOFTDP_DEVICE Value if_in_band(int row, const F& value) const {
    return team.in_band<kBand>(work.problem, row, 0) ? value() : Form::no_path();
  }

  // Begins to bring a piece of what the strip reads.
  SOFTDP_DEVICE void stage(int piece) {
    const int column = piece * kPiece;
    const int count = team.m - column < kPiece ? team.m - column : kPiece;
    if (team.rows > 0 && column < team.swept.last) {
      tables.stage(team.first_row, team.rows, column, count);
      stage_above(*this, piece, count, [&](int state, int at) { return value_above(state, at); });
    }
    commit_copies();
  }

  // kPiece steps, in each of which a lane does one column of its rows, as many columns behind as its number says. All
  // lanes of a warp come here, whether they have something to do or not.
  SOFTDP_DEVICE void sweep(int piece) {
    wait_for_copies<0>();
    warp_barrier();
    stage(piece + 1);
    if (piece == first_piece && !gaps_vary) {
      const Read fixed = read(piece * kPiece);
      for (int r = 0; r < kR; ++r) weigh_gaps(r, r < team.own_rows, potentials(fixed.values[r]));
    }
    const Ends& ends = work.problem.ends;
    const Closed closed{
        !team.has_below && !ends.trailing_y && team.has_end<T>() ? team.own_rows - 1 : -1,
        !ends.trailing_x ? team.m - 1 : -1,
    };
    const int places = team.places<kBand>(), place = places > 0 ? team.place_of<kBand>(piece * kPiece) : 0;
    // A last row that is put out may be another than its lane's last.
    const bool at_end = !team.has_below && (!ends.trailing_y || work.keeps_border());
    const int last = (piece + 1) * kPiece + (closed.column >= 0);
    if (!kBand && !at_end && team.rows == kWarp * kR && team.all_sweep(work.plan, piece * kPiece + 1 - kWarp, last)) {
      if constexpr (kGapsAlwaysVary) {
        walk_inside<true>(piece, place, closed);
      } else {
        with_flag(gaps_vary, [&](auto gaps) { walk_inside<gaps>(piece, place, closed); });
      }
    } else {
#pragma unroll kAtOnce
      for (int k = 0, at = place; k < kPiece; ++k, at = at + 1 < places ? at + 1 : 0)
        step<false>(piece * kPiece + k - team.lane, at, closed, gaps_vary, {}, [&] {});
    }
  }

  // The same where all lanes have all cells, all arcs exist, and a last row is the strip's last.
  template <bool kGaps>
  SOFTDP_DEVICE void walk_inside(int piece, int place, const Closed& closed) {
    const auto rows = tables.rows_from(team.lane * kR);
    const int first = piece * kPiece - team.lane;  // column
    const Value* const above = in + (piece * kPiece & (kRing - 1));
    const auto read_at = [&](int k) {
      Read read;
      for (int r = 0; r < kR; ++r) rows.read(r, first + k, read.values[r]);
      for (int s = 0; s < kStates; ++s) read.above[s] = above[s * kRing + k];
      return read;
    };
    Read next = read_at(0);
#pragma unroll kAtOnceInside
    for (int k = 0; k < kPiece; ++k) {
      const Read now = next;
      step<true>(first + k, place + k, closed, kGaps, now, [&] { next = read_at(k + 1 < kPiece ? k + 1 : k); });
    }
  }

  // kInside: as walk_inside has it.
  // Rows that the table does not have are below those that it has, which see nothing of them.
  template <bool kInside, class ReadAhead>
  SOFTDP_DEVICE void step(int column, int place, const Closed& closed, bool gaps, Read now,
                          const ReadAhead& read_ahead) {
    Value above[kStates], above_first_row[kStates];
    for (int s = 0; s < kStates; ++s)
      above[s] = value_from_lane_before(left[s][kR - 1], kInside ? kWarp : work.plan.lanes);
    if (!kInside && !team.sweeps(column)) return;
    if (!kInside) now = read(column);
    weigh<kInside>(column, now, gaps);
    read_ahead();
    for (int s = 0; s < kStates; ++s) {
      if (team.lane == 0) above[s] = now.above[s];
      above_first_row[s] = above[s];
    }
    Word words[kPlaces * kWords * kR];
#pragma unroll
    for (int r = 0; r < kR; ++r) {
      Cell<Value, T> cells[kStates];
      Weights<T> weights[kStates];
      const bool has = kInside || team.has<kBand>(r, column);
      each<kStates>([&](auto state) {
        cells[state] = cell<kInside, state>(r, above, cells, closed.row == r, closed.column == column);
      });
      for (int s = 0; s < kStates; ++s) {
        diagonal[s] = left[s][r];
        above[s] = left[s][r] = !kBand || has ? cells[s].value : Form::no_path();
        weights[s] = has ? cells[s].weights : Weights<T>{0, 0};
      }
      each<kPlaces>([&](auto place_of_cell) {
        constexpr int k = place_of_cell;
        StoredWeights<T>::store(words + k * kWords * kR + r, kR, weights_in_place<Topology, k>(weights), dither[r]);
      });
      dither[r] = StoredWeights<T>::dither(dither[r], StoredWeights<T>::step_dither(1));
    }
    for (int s = 0; s < kStates; ++s) diagonal[s] = above_first_row[s];
    if (kept != nullptr) keep(words, place, kInside ? kWarp : work.plan.lanes);
    if (out != nullptr)
      for (int s = 0; s < kStates; ++s) out[s * work.above_length() + column] = last_of<kInside>(left[s]);
  }

  template <bool kInside, int kState>
  SOFTDP_DEVICE Cell<Value, T> cell(int r, const Value (&above)[kStates], const Cell<Value, T> (&here)[kStates],
                                    bool closed_row, bool closed_column) const {
    Value from[3];
    typename Form::Arc worth[3];
    each<3>([&](auto k) {
      constexpr Arc arc = Topology::kArcs[kState][k];
      if constexpr (arc.step == kHere) {
        from[k] = here[arc.state].value;
      } else if constexpr (arc.step < kSteps) {
        from[k] = arc.step == kDiagonal ? diagonal[arc.state]
                  : arc.step == kAbove  ? above[arc.state]
                                        : left[arc.state][r];
      } else {
        from[k] = arc.step == kBegins ? Form::origin() : Form::no_path();
      }
      if constexpr (arc.potential == kUnpaid) {
        worth[k] = Form::unpaid();
      } else {
        worth[k] = arcs[r][arc.potential];
        if constexpr (!kInside && arc.step != kDiagonal)
          worth[k] = closed_if<Form, T>(arc.step == kAbove ? closed_column : closed_row, worth[k]);
      }
    });
    return step_into<Form, Topology, kState>(from, worth, smoothness);
  }

  // Of the last row that this lane has.
  template <bool kInside>
  SOFTDP_DEVICE Value last_of(const Value (&values)[kR]) const {
    Value last = values[kR - 1];
    for (int r = 0; !kInside && r + 1 < kR; ++r)
      if (team.own_rows == r + 1) last = values[r];
    return last;
  }

  SOFTDP_DEVICE void keep(const Word (&words)[kPlaces * kWords * kR], int place, int lanes) const {
    using Rows = Together<Word, kR>;
    const int line = lanes * kR;
    for (int word = 0; word < kPlaces * kWords; ++word) {
      Rows rows;
      for (int r = 0; r < kR; ++r) rows.numbers[r] = words[word * kR + r];
      *reinterpret_cast<Rows*>(kept + (std::int64_t(place) * kPlaces * kWords + word) * line) = rows;
    }
  }

  // After the last step.
  SOFTDP_DEVICE void end() {
    for (int r = 0; r < kR; ++r) {
      if (r >= team.own_rows) continue;
      const int row = team.own_row + r + 1;
      if (work.keeps_border())
        for (int s = 0; s < kStates; ++s) *work.left_at(team.pair, s, row) = left[s][r];
      if constexpr (kHasScore)
        if (row == team.n)
          write_score(team.in_band<kBand>(work.problem, row, team.m) ? left[Topology::kEnd][r] : Form::no_path());
    }
  }

  // What several states are worth together is for the caller to say, who has the border.
  static constexpr bool kHasScore = Topology::kEnd != kNoState;

  SOFTDP_DEVICE void write_score(Value value) const {
    const double score = score_of_value(Form::value_of(value, smoothness), work.problem.family.minimise);
    work.outputs.scores[team.pair] = is_defined(work.problem, team.pair) ? T(score) : kUndefined<T>;
  }

  // The score of a pair one of whose sequences is empty.
  SOFTDP_DEVICE void write_score_of_border() {
    if constexpr (kHasScore)
      write_score(team.m > 0 ? value_above(Topology::kEnd, team.m) : value_before(Topology::kEnd, team.n));
  }
};

template <class Family, class T, class Form, bool kBand>
SOFTDP_KERNEL_OF(kThreads, kBlocksAtOnce<typename Family::Topology>)
forward_kernel(SOFTDP_CONSTANT ForwardWork<Family, T, Form> work) {
  each_team<false>(work, [&](Team& team) SOFTDP_DEVICE_LAMBDA {
    if (team.present(work.problem)) {
      if constexpr (kIsExact<Form, T>) {
        // What the scaled form could not.
        const bool empty = team.n == 0 || team.m == 0;
        if (!work.beyond_reach[team.pair]) team.sweep_nothing();
        if (empty && team.first()) ForwardStrip<Family, T, Form, kBand>(work, team).write_score_of_border();
      } else if (work.problem.gamma[team.pair] == 0 || team.n == 0 || team.m == 0) {
        if (team.first()) work.beyond_reach[team.pair] = 1;
        team.sweep_nothing();
      }
    }
    ForwardStrip<Family, T, Form, kBand> strip(work, team);
    sweep_strip<false, kBand>(work, team, strip);
    if constexpr (!kIsExact<Form, T>)
      if (strip.beyond_reach) work.beyond_reach[team.pair] = 1;
  });
}

}  // namespace softdp::cuda
