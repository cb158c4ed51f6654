// The backward sweep on a GPU: linear in the weights that the forward sweep kept, and the same for every family.
//
// Must move: 4 bytes a cell and place of weights in (float32), 4 out for every full table that wants its gradient.
// Cannot shorten: a cell waits for the one below it and the one to its right; kRows multiply-adds, sums and a shuffle a
// step.
//
// It is the forward sweep in a mirror: the last lane of the last strip leads, columns are taken from the last to the
// first. They are counted back from a multiple of kPiece, so that pieces of tables begin at one.
//
// kTangent: how its results change along a direction, from how the weights do (tangent.cuh). Must move: 8 bytes a cell
// and place more.
#pragma once

#include "backward_results.cuh"

namespace softdp::cuda {

template <class Family, class T, bool kBand, bool kTangent>
struct BackwardStrip {
  using Topology = typename Family::Topology;
  using Work = BackwardWork<Family, T, kTangent>;
  using Number = NumberOf<T, kTangent>;
  using Word = typename StoredWeights<T>::Word;
  static_assert(arcs_leave_once<Topology>());
  static constexpr int kStates = Topology::kStates, kChannels = Work::kChannels;
  static constexpr int kPlaces = softdp::kPlaces<Topology>;
  static constexpr int kR = kRows<T>;
  // Dual numbers of what flow() reads leave registers for one step alone.
  static constexpr int kAtOnce = kTangent && Family::kFlowReadsTables ? 1 : kStepsAtOnce<T>;
  static constexpr int kAtOnceInside = kTangent ? kAtOnce : kFullStepsAtOnce<T>;
  static constexpr int kWords = StoredWeights<T>::kWords;
  static constexpr int kTables = Family::kTables;
  static constexpr int kNumbers = Work::kNumbers;

  // What a step reads of shared memory: a full strip a step ahead, before the step in hand writes there.
  struct Read {
    Word words[kPlaces * kWords * kR];
    Upward<T> below[kChannels];  // wanted by the last lane
  };

  const Work& work;
  const Team& team;
  const DirectedTables<Family, T, kTangent> tables;
  Number gamma;
  T seed;
  Number parameters[Family::kParameters + 1] = {};

  int until;                 // the columns, rounded up to a multiple of kPiece
  int behind;                // steps that this lane is behind the last one
  int seen = 0;              // pieces that the strip below is known to be done with
  std::int64_t kept_at = 0;  // columns whose weights are before those of the strip
  Upward<T>* in;             // ring of what the row below the strip sends
  Upward<T>* out;  // where goes what the first row sends, at its column; null if nowhere, or from another lane
  const Wanted its_wanted;
  T diagonal[kChannels][kR], left[kChannels][kR];  // sent by the last column done
  int last_row;                                    // of this lane's
  Upward<T> up[kChannels];                         // what this lane's first row sends
  T column_sums[kTables];  // of the last column done, over this lane's rows and those below it in the strip
  BackwardResults<Family, T, kBand, kTangent> results;

  SOFTDP_DEVICE BackwardStrip(const Work& work, const Team& team)
      : work(work),
        team(team),
        tables(work, team),
        gamma(team.n > 0 ? gamma_of(work.problem, work.along, team.pair) : Number(T(1))),
        seed(team.n > 0 ? work.seed(team.pair) : T(0)),
        until((team.m + kPiece - 1) / kPiece * kPiece),
        behind(work.plan.lanes - 1 - team.lane),
        in(team.at<Upward<T>>(work.memory.below)),
        its_wanted(work.wanted()),
        results(work, team) {
    if (team.n > 0)
      for (int k = 0; k < Family::kParameters; ++k)
        parameters[k] = parameter_of(work.problem, work.along, k, team.pair);
  }

  SOFTDP_DEVICE int steps() const { return until - team.swept.first + work.plan.lanes - 1; }
  // In which all lanes do these columns, and the pieces that they are in are written.
  SOFTDP_DEVICE Span pieces(Span columns) const {
    const int first = (until - columns.last) / kPiece, steps = until - columns.first / kPiece * kPiece;
    return {first, columns.size() > 0 ? (steps + work.plan.lanes - 1 + kPiece - 1) / kPiece : first};
  }

  // The strip's step t does the columns whose place is this, in lanes that stand ever further to the right.
  SOFTDP_DEVICE int place_at(int t) const { return team.place_of<kBand>(until - 1 - t + work.plan.lanes - 1); }

  // Before the first step; a barrier must follow.
  SOFTDP_DEVICE void begin(int piece) {
    for (int c = 0; c < kChannels; ++c) up[c] = {0, 0};
    for (int r = 0; r < kR; ++r) {
      for (int c = 0; c < kChannels; ++c) diagonal[c][r] = left[c][r] = 0;
    }
    results.begin();
    for (int k = 0; k < kTables; ++k) column_sums[k] = 0;
    last_row = team.has_end<T>() ? team.own_rows - 1 : kR - 1;
    out = nullptr;
    if (team.rows <= 0) return;
    if (team.lane == 0 && (team.strip > 0 || work.settles)) out = work.above_at(team.pair, team.strip, 0, 0);
    kept_at = team.kept_at<kBand>(work.problem, work.begins);
    if constexpr (Family::kFlowReadsTables) tables.stage_fixed(team.first_row, team.rows);
    if (work.seeds_border()) {
      for (int r = 0; r < kR; ++r) {
        if (r >= team.own_rows || !team.in_band<kBand>(work.problem, team.own_row + r + 1, team.m)) continue;
        for (int c = 0; c < kChannels; ++c) {
          const Leftward<T> sent = *work.left_at(team.pair, c, team.own_row + r);
          diagonal[c][r] = sent.diagonal;
          left[c][r] = sent.left;
        }
      }
    }
    stage(piece);
  }

  // Begins to bring a piece of what the strip reads.
  SOFTDP_DEVICE void stage(int piece) {
    const int first = until - (piece + 1) * kPiece;  // column
    const int count = team.m - first < kPiece ? team.m - first : kPiece;
    if (team.swept.size() > 0 && first + kPiece > team.swept.first) {
      if constexpr (Family::kFlowReadsTables) tables.stage(team.first_row, team.rows, first, count);
      stage_below(piece, first, count);
    }
    if (team.swept.size() > 0) {
      if constexpr (kTangent) {
        stage_kept<true, kBand, kWords>(*this, work.weights, work.memory.weights, piece);
        stage_kept<true, kBand, kWeightTangents>(*this, work.weight_changes, work.memory.tables.weight_changes, piece);
      } else {
        stage_weights(piece);
      }
    }
    commit_copies();
  }

  // Whether the row below the strip sends up at this column: from its cells, or diagonally to the one before them.
  // Asked for by a lane of a strip, which is no reason for all of them to remember it.
  SOFTDP_DEVICE bool sends_up(int column) const {
    if (!kBand || !team.has_below) return true;
    const Range range = work.problem.columns(team.pair, team.first_row + team.rows, team.m);
    return range.first <= column + 1 && column < range.last;
  }

  // What comes from below the strip, in the columns of a piece. Below a last row there is nothing: what enters that row
  // comes from there.
  SOFTDP_DEVICE void stage_below(int piece, int first, int count) {
    Upward<T>* const to = in + (first & (kRing - 1));
    if (team.has_below) work.relay.follow(work.problem, team.pair, team.strip + 1, piece + 1, seen);
    for (int c = 0; c < kChannels; ++c) {
      if (team.has_below || work.seeds_border()) {
        stage_row(work.above_at(team.pair, team.strip + 1, c, first), count, to + c * kRing, team.lane,
                  work.plan.lanes);
      } else {
        for (int at = team.lane; at < count; at += work.plan.lanes)
          to[c * kRing + at] = {T(0), first + at == team.m - 1 && c == Topology::kEnd ? seed : T(0)};
      }
    }
  }

  // stage_kept of the weights, written out: called, it takes more registers here.
  SOFTDP_DEVICE void stage_weights(int piece) {
    constexpr int kQuad = kTogether<Word>, kLines = kQuad / (kWords * kR);  // lines at a time
    static_assert(kLines > 0);
    const int line = kWords * work.plan.lanes * kR, quads = line / kQuad;
    const int k_first = team.lane / quads, word = team.lane % quads * kQuad;
    const Word* const from = work.weights + kept_at * kPlaces * line + word;
    Word* const to = team.at<Word>(work.memory.weights) + (piece & 1) * kPiece * kPlaces * line + word;
    const int steps_left = steps() - piece * kPiece;
    int place = place_at(piece * kPiece + k_first);
    for (int k = k_first; k < kPiece && k < steps_left; k += kLines) {
      for (int p = 0; p < kPlaces; ++p)
        copy_async<16>(to + (k * kPlaces + p) * line, from + (std::int64_t(place) * kPlaces + p) * line);
      for (place -= kLines; place < 0;) place += team.places<kBand>();
    }
  }

  // kPiece steps. All lanes of a warp come here, whether they have something to do or not.
  SOFTDP_DEVICE void sweep(int piece) {
    wait_for_copies<0>();
    warp_barrier();
    stage(piece + 1);
    const int leads = until - piece * kPiece;  // the last lane's column, counted from 1
    if (!kBand && team.rows == kWarp * kR && team.all_sweep(work.plan, leads - kPiece, leads - 1 + kWarp)) {
      with_wanted<Work>(its_wanted, [&](auto known) {
        walk<true, known, known == Wanted::kAnything ? kAtOnce : kAtOnceInside>(piece);
      });
    } else {
      walk<false, Wanted::kAnything, kAtOnce>(piece);
    }
    warp_barrier();
    const int done = piece - (work.plan.lanes - 1 + kPiece - 1) / kPiece;  // as far as the last lane is
    results.write_gradients(until - (done + 1) * kPiece, done >= 0);
  }

  // kInside: all lanes have all cells.
  template <bool kInside, Wanted kWanted, int kUnrolled>
  SOFTDP_DEVICE void walk(int piece) {
    using Rows = Together<Word, kR>;
    const int lanes = kInside ? kWarp : work.plan.lanes;
    const int line = kPlaces * kWords * lanes * kR;
    const Word* const words = team.at<Word>(work.memory.weights) + (piece & 1) * kPiece * line + team.lane * kR;
    const int change_line = kTangent ? kPlaces * kWeightTangents * lanes * kR : 0;
    const T* changes = nullptr;
    if constexpr (kTangent)
      changes = team.at<T>(work.memory.tables.weight_changes) + (piece & 1) * kPiece * change_line + team.lane * kR;
    const int leads = until - 1 - piece * kPiece, first = leads + behind;  // columns of the last lane and of this
    const Upward<T>* const below = in + ((leads & (kRing - 1)) - (kPiece - 1));
    const auto read_at = [&](int k) {
      Read read;
      for (int word = 0; word < kPlaces * kWords; ++word) {
        const Rows rows = *reinterpret_cast<const Rows*>(words + k * line + word * lanes * kR);
        for (int r = 0; r < kR; ++r) read.words[word * kR + r] = rows.numbers[r];
      }
      for (int c = 0; c < kChannels; ++c) {
        if constexpr (kInside) {
          read.below[c] = below[c * kRing + (kPiece - 1 - k)];
        } else if (team.has_end<T>()) {
          read.below[c] = sends_up(first - k) ? in[c * kRing + ((first - k) & (kRing - 1))] : Upward<T>{0, 0};
        }
      }
      return read;
    };
    PieceSums<Family, T> parts = {};
    Read next;
    if constexpr (kInside) next = read_at(0);
#pragma unroll kUnrolled
    for (int k = 0; k < kPiece; ++k) {
      step<kInside, kWanted>(
          first - k, changes + k * change_line,
          [&] {
            if constexpr (!kInside) return read_at(k);
            const Read now = next;
            next = read_at(k + 1 < kPiece ? k + 1 : k);
            return now;
          },
          parts);
    }
    results.template add<kWanted>(parts);
  }

  template <bool kInside, Wanted kWanted, class ReadNow>
  SOFTDP_DEVICE void step(int column, const T* changes, const ReadNow& read_now, PieceSums<Family, T>& parts) {
    constexpr bool kAnything = kWanted == Wanted::kAnything;
    const int lanes = kInside ? kWarp : work.plan.lanes;
    Upward<T> from_below[kChannels], below[kChannels];
    for (int c = 0; c < kChannels; ++c) {
      from_below[c] = {shuffle_down(up[c].diagonal, 1, lanes), shuffle_down(up[c].above, 1, lanes)};
      below[c] = {0, 0};
    }
    T sums[kTables] = {};
    if constexpr (kAnything)
      for (int k = 0; k < kTables; ++k) sums[k] = shuffle_down(column_sums[k], 1, lanes);
    if (!kInside && !team.sweeps(column)) return;
    const Read now = read_now();
    if (team.has_end<T>()) {  // nothing lives below in this strip
      for (int k = 0; k < kTables; ++k) sums[k] = 0;
      for (int c = 0; c < kChannels; ++c) from_below[c] = now.below[c];
    }
    Potentials<Family, Number> on_arcs[kR];
    Number arrived[kStates][kR];
#pragma unroll
    for (int r = kR - 1; r >= 0; --r) {  // no mass is in rows that the table does not have
      T sent[kSteps][kChannels] = {};
      Number here[kStates] = {};  // sent from states of the cell to others
      each<kStates>([&](auto from_last) {
        constexpr int s = kStates - 1 - from_last;
        for (int c = s; c < kChannels; c += kStates) {
          if (r == (kInside ? kR - 1 : last_row)) below[c] = from_below[c];
          if (kBand && !team.has<kBand>(r, column)) {
            below[c] = {0, 0};
            left[c][r] = 0;
          }
        }
        const PassedOn<Number> cell = pass<s>(r, below, here[s], now.words, changes, lanes * kR);
        arrived[s][r] = cell.mass;
        const Number shares[] = {cell.sent.match, cell.sent.remove, cell.sent.insert};
        each<3>([&](auto k) {
          constexpr Arc arc = Topology::kArcs[s][k];
          if constexpr (arc.step == kHere) {
            here[arc.state] += shares[k];
          } else if constexpr (arc.step < kSteps && kTangent) {
            sent[arc.step][arc.state] = shares[k].value;
            sent[arc.step][arc.state + kStates] = shares[k].tangent;
          } else if constexpr (arc.step < kSteps) {
            sent[arc.step][arc.state] = shares[k];
          }
          if constexpr (arc.potential == kUnpaid) {
          } else if constexpr (leads_potential<Topology>(s, k)) {
            on_arcs[r][arc.potential] = shares[k];
          } else {
            on_arcs[r][arc.potential] += shares[k];
          }
        });
      });
      for (int c = 0; c < kChannels; ++c) {
        below[c] = {diagonal[c][r], sent[kAbove][c]};
        diagonal[c][r] = sent[kDiagonal][c];
        left[c][r] = sent[kLeft][c];
      }
    }
    for (int c = 0; c < kChannels; ++c) up[c] = below[c];
    T to_gamma[kR];
#pragma unroll
    for (int r = kR - 1; r >= 0; --r) to_gamma[r] = flow<kWanted>(r, column, on_arcs[r], sums, parts);
    if (kAnything ? work.sums_numbers(kNumbers - 1) : wants_gamma(kWanted))
      for (int r = 0; r < kR; ++r) {
        T entropies = to_gamma[r];
        each<kStates>(
            [&](auto s) { entropies += wanted(arrived[s][r] * entropy_of<s>(r, now.words, changes, lanes * kR)); });
        parts.numbers[kNumbers - 1][r] += entropies;
      }
    if constexpr (kAnything)
      for (int k = 0; k < kTables; ++k) column_sums[k] = sums[k];
    if (out != nullptr)
      for (int c = 0; c < kChannels; ++c) out[c * work.above_length() + column] = up[c];
    if (kAnything && team.lane == 0)
      for (int k = 0; k < kTables; ++k)
        if (work.sums_columns(k)) work.column_sums[k][team.strip_at + column] = sums[k];
  }

  template <int s>
  SOFTDP_DEVICE PassedOn<Number> pass(int r, const Upward<T> (&below)[kChannels], Number here, const Word* words,
                                      const T* changes, int stride) const {
    constexpr Place place = place_of<Topology>(s);
    const Word* const own = words + place.at * kWords * kR + r;
    if constexpr (kTangent) {
      constexpr int c = s + kStates;
      const Arriving<Number> arriving = {Number(below[s].diagonal, below[c].diagonal),
                                         Number(below[s].above, below[c].above), Number(left[s][r], left[c][r]), here};
      return pass_on<place.fractions>(sum_of_values<Topology, s>(arriving), sum_of_tangents<Topology, s>(arriving), own,
                                      kR, changes + place.at * kWeightTangents * stride + r, stride);
    } else {
      const Arriving<T> arriving = {below[s].diagonal, below[s].above, left[s][r], here};
      return pass_on<place.fractions>(sum_of<Topology, s>(arriving), own, kR);
    }
  }

  template <int s>
  SOFTDP_DEVICE Number entropy_of(int r, const Word* words, const T* changes, int stride) const {
    constexpr Place place = place_of<Topology>(s);
    const Word* const own = words + place.at * kWords * kR + r;
    if constexpr (kTangent) {
      return entropy<place.fractions, T>(own, kR, changes + place.at * kWeightTangents * stride + r, stride);
    } else {
      return entropy<place.fractions, T>(own, kR);
    }
  }

  // From the masses on a cell's arcs to gradients. Returns what goes to gamma through the potentials.
  template <Wanted kWanted>
  SOFTDP_DEVICE T flow(int r, int column, const Potentials<Family, Number>& on_arcs, T (&sums)[kTables],
                       PieceSums<Family, T>& parts) {
    constexpr bool kAnything = kWanted == Wanted::kAnything;
    constexpr int kFull = kWanted == Wanted::kFirst || kWanted == Wanted::kFirstAndGamma ? 1 : kTables;
    Number values[kTables] = {}, to_tables[kTables], to_parameters[Family::kParameters + 1] = {};
    const int row = team.lane * kR + r;
    if constexpr (Family::kFlowReadsTables) {
      tables.read(row, column, values);
      for (int k = 0; k < kTables; ++k) values[k] = team.has<kBand>(r, column) ? values[k] : Number(T(0));
    }
    const Number to_gamma = work.problem.family.flow(values, parameters, gamma, on_arcs, to_tables, to_parameters);
    for (int k = 0; k < kTables; ++k) {
      const T to_table = wanted(to_tables[k]);
      const Ring ring = work.memory.gradients[k];
      if constexpr (!kAnything) {  // rings of many columns
        if (k < kFull) team.at<T>(0)[ring.offset + row * kRing + (column & (kRing - 1))] = to_table;
      } else {
        if (work.keeps_cells(k)) team.at<T>(0)[ring.offset + row * ring.row_stride + (column & ring.mask)] = to_table;
        parts.rows[k][r] += to_table;
        sums[k] += to_table;
      }
    }
    if constexpr (kAnything)
      for (int k = 0; k < Family::kParameters; ++k) parts.numbers[k][r] += wanted(to_parameters[k]);
    return wanted(to_gamma);
  }

  // After the last step.
  SOFTDP_DEVICE void end() const {
    for (int r = 0; r < kR; ++r) {
      if (r >= team.own_rows) continue;
      if (work.settles)
        for (int c = 0; c < kChannels; ++c)
          *work.left_at(team.pair, c, team.own_row + r) = {diagonal[c][r], left[c][r]};
    }
    results.end();
  }
};

// In float64 along a direction a multiprocessor has shared memory for two strips or so, and registers to spare.
template <class Family, class T, bool kBand, bool kTangent>
SOFTDP_KERNEL_OF(kThreads, kTangent && sizeof(T) == 8 ? 2 : kBlocksAtOnce<typename Family::Topology>)
backward_kernel(SOFTDP_CONSTANT BackwardWork<Family, T, kTangent> work) {
  each_team<true>(work, [&](Team& team) SOFTDP_DEVICE_LAMBDA {
    if constexpr (kBand) {
      // These weights are not this band's.
      if (work.begins[work.problem.batch.count * strips_for(work.problem.n, kRows<T>)] != work.kept)
        team.sweep_nothing();
    }
    BackwardStrip<Family, T, kBand, kTangent> strip(work, team);
    sweep_strip<true, kBand>(work, team, strip);
  });
}

}  // namespace softdp::cuda
