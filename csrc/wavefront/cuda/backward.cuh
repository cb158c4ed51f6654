// The backward sweep on a GPU: linear in the weights that the forward sweep kept, and the same for every family.
//
// Must move: 4 bytes a cell and state of weights in (float32), 4 out for every full table that wants its gradient.
// Cannot shorten: a cell waits for the one below it and the one to its right; kRows multiply-adds, sums and a shuffle a
// step.
//
// It is the forward sweep in a mirror: the last lane of the last strip leads, columns are taken from the last to the
// first. A tile's columns are counted back from a multiple of kPiece, so that pieces of tables begin at one.
#pragma once

#include "../../recurrence/masses.h"
#include "stage.cuh"

namespace softdp::cuda {

// What a row sends to a state of the row above it when it has done a column: through diagonal arcs at the column to the
// right, through arcs from above at this one.
template <class T>
struct alignas(2 * sizeof(T)) Upward {
  T diagonal, above;
};

// What a row sends to a state of the column before a tile: diagonally to the row above, and to its own.
template <class T>
struct alignas(2 * sizeof(T)) Leftward {
  T diagonal, left;
};

// Whether this is the first arc with its potential.
template <class Topology>
constexpr bool leads_potential(int state, int k) {
  for (int before = 0; before < 3 * state + k; ++before)
    if (Topology::kArcs[before / 3][before % 3].potential == Topology::kArcs[state][k].potential) return false;
  return true;
}

// Shared memory of a strip in the backward sweep.
template <class Family, class T>
struct BackwardMemory {
  Ring tables[Family::kTables];     // values, where flow() reads them
  Ring gradients[Family::kTables];  // of full tables that want one
  int weights = 0;                  // two pieces
  int below = 0;                    // what the row below the strip sends, a ring of kRing columns for each state
  int bytes = 0;

  // wanted: bit k for the gradient of table k.
  static BackwardMemory of(const Problem<Family, T>& problem, int strip_rows, unsigned wanted) {
    BackwardMemory memory;
    StripMemory strip;
    for (int k = 0; k < Family::kTables; ++k) {
      const Table& table = problem.tables[k];
      if (Family::kFlowReadsTables) memory.tables[k] = strip.template ring<T>(table, strip_rows, problem.m);
      if (wanted >> k & 1 && !table.one_row && !table.one_column)
        memory.gradients[k] = strip.template ring<T>(table, strip_rows, problem.m);
    }
    using Word = typename StoredWeights<T>::Word;
    constexpr int states = Family::Topology::kStates;
    memory.weights = strip.template reserve<Word>(2 * kPiece * states * StoredWeights<T>::kWords * strip_rows);
    memory.below = strip.template reserve<Upward<T>>(states * kRing);
    memory.bytes = strip.bytes;
    return memory;
  }
};

template <class Family, class T>
struct BackwardWork {
  static constexpr int kStates = Family::Topology::kStates;
  static constexpr int kNumbers = Family::kParameters + 1;  // the parameters, then gamma

  Problem<Family, T> problem;
  Plan plan;
  Part part;
  BackwardMemory<Family, T> memory;
  Upstream<T> upstream;
  Gradients<Family, T> gradients;
  const typename StoredWeights<T>::Word* weights;  // [pair][strip][column][state][word][lane][row]
  const std::int64_t* begins;                      // with a band: columns before each strip's, [pair][strip]
  std::int64_t kept;                               // with a band: how many columns the weights have
  bool settles;                                    // whether somebody asks what arrives at the border
  // [pair][group][state][m]: sent to the row above a group. One group more if the border has gradients: what they bring
  // to the last row comes as from a group after the last.
  Upward<T>* above;
  Leftward<T>* left;  // [pair][state][n]: sent to the column before a tile; what the border brings to the last column
  // Sums over columns, begun with 0, and over the rows of a strip; null where nobody asks.
  double* row_sums[Family::kTables];  // [pair][n]
  T* column_sums[Family::kTables];    // [pair][strip][m]
  double* number_sums[kNumbers];      // [pair][n]

  SOFTDP_INLINE bool seeds_border() const { return upstream.border_gradients != nullptr; }
  SOFTDP_INLINE int groups_above() const { return plan.groups + seeds_border(); }
  SOFTDP_DEVICE Upward<T>* above_at(std::int64_t pair, int group, int state, int column) const {
    return above + ((pair * groups_above() + group) * kStates + state) * problem.m + column;
  }
  SOFTDP_DEVICE Leftward<T>* left_at(std::int64_t pair, int state, int row) const {
    return left + (pair * kStates + state) * problem.n + row;
  }

  // The mass that the gradient of the border that was put out brings to one of its cells.
  SOFTDP_DEVICE double border_seed(std::int64_t pair, int state, std::int64_t place) const {
    if (!seeds_border()) return 0;
    const std::int64_t at = (pair * kStates + state) * problem.border_length() + place;
    return softdp::seed(upstream.border[at], upstream.border_gradients[at], problem.family.minimise);
  }
  // The mass that the gradient of the score brings to the last cell of a pair.
  SOFTDP_DEVICE T seed(std::int64_t pair) const {
    if constexpr (kStates > 1) return T(0);
    return softdp::seed(upstream.scores[pair], upstream.score_gradients[pair], problem.family.minimise);
  }
  // Where the gradient of a number goes; null where nobody asks.
  SOFTDP_INLINE T* number(int k) const { return k < Family::kParameters ? gradients.parameters[k] : gradients.gamma; }
};

template <class Family, class T, bool kBand>
struct BackwardStrip {
  using Topology = typename Family::Topology;
  using Work = BackwardWork<Family, T>;
  using Word = typename StoredWeights<T>::Word;
  static_assert(arcs_leave_once<Topology>());
  static constexpr int kStates = Topology::kStates;
  static constexpr int kR = kRows<T>, kAtOnce = kStepsAtOnce<T>;
  static constexpr int kWords = StoredWeights<T>::kWords;
  static constexpr int kTables = Family::kTables;
  static constexpr int kNumbers = Work::kNumbers;

  const Work& work;
  const Team& team;
  const StripTables<Family, T> tables;
  T gamma, seed;
  T parameters[Family::kParameters + 1] = {};

  int until;                                   // the tile's columns, rounded up to a multiple of kPiece
  int behind;                                  // steps that this lane is behind the last one
  std::int64_t kept_at = 0;                    // columns whose weights are before those of the strip in the tile
  Upward<T>* in;                               // ring of what the row below the strip sends
  T diagonal[kStates][kR], left[kStates][kR];  // sent by the last column done
  int last_row;                                // of this lane's
  Upward<T> up[kStates];                       // what this lane's first row sends
  T column_sums[kTables];  // of the last column done, over this lane's rows and those below it in the strip
  TwoFloat<T> row_sums[kTables][kR], number_sums[kNumbers][kR];
  T row_part[kTables][kR], number_part[kNumbers][kR];  // of this piece

  SOFTDP_DEVICE BackwardStrip(const Work& work, const Team& team)
      : work(work),
        team(team),
        tables(work.problem, work.memory.tables, team, work.plan),
        gamma(team.n > 0 ? work.problem.gamma[team.pair] : T(1)),
        seed(team.n > 0 ? work.seed(team.pair) : T(0)),
        until((team.columns + kPiece - 1) / kPiece * kPiece),
        behind(work.plan.lanes - 1 - team.lane),
        in(team.at<Upward<T>>(work.memory.below)) {
    if (team.n > 0)
      for (int k = 0; k < Family::kParameters; ++k) parameters[k] = work.problem.parameters[k][team.pair];
  }

  SOFTDP_DEVICE int steps() const { return until - team.swept.first + work.plan.lanes - 1; }
  // In which all lanes do these columns of the tile, and the pieces that they are in are written.
  SOFTDP_DEVICE Span pieces(Span columns) const {
    const int first = (until - columns.last) / kPiece, steps = until - columns.first / kPiece * kPiece;
    return {first, columns.size() > 0 ? (steps + work.plan.lanes - 1 + kPiece - 1) / kPiece : first};
  }
  SOFTDP_DEVICE bool sums_columns(int k) const { return work.column_sums[k] != nullptr; }
  SOFTDP_DEVICE bool sums_rows(int k) const { return work.row_sums[k] != nullptr; }
  SOFTDP_DEVICE bool keeps_cells(int k) const { return work.memory.gradients[k].mask != 0; }

  SOFTDP_DEVICE Upward<T>* above_at(int group, int state, int column) const {
    return work.above_at(team.pair, group, state, column);
  }

  // The strip's step t does the columns whose place is this, in lanes that stand ever further to the right.
  SOFTDP_DEVICE int place_at(int t) const { return team.place_of<kBand>(until - 1 - t + work.plan.lanes - 1); }

  // Before the first step; a barrier must follow.
  SOFTDP_DEVICE void begin(int piece) {
    for (int s = 0; s < kStates; ++s) up[s] = {0, 0};
    for (int r = 0; r < kR; ++r) {
      for (int s = 0; s < kStates; ++s) diagonal[s][r] = left[s][r] = 0;
      for (int k = 0; k < kTables; ++k) row_sums[k][r] = {0, 0};
      for (int k = 0; k < kNumbers; ++k) number_sums[k][r] = {0, 0};
    }
    for (int k = 0; k < kTables; ++k) column_sums[k] = 0;
    last_row = team.has_end<T>() ? team.own_rows - 1 : kR - 1;
    if (team.rows <= 0) return;
    kept_at = team.kept_at<kBand>(work.problem, work.begins);
    if constexpr (Family::kFlowReadsTables) tables.stage_fixed(team.first_row, team.rows);
    if (!team.last_tile() || work.seeds_border()) {
      const int right = team.first_column + team.columns + !team.last_tile();  // what sends, counted from 1
      for (int r = 0; r < kR; ++r) {
        if (r >= team.own_rows || !team.in_band<kBand>(work.problem, team.own_row + r + 1, right)) continue;
        for (int s = 0; s < kStates; ++s) {
          const Leftward<T> sent = *work.left_at(team.pair, s, team.own_row + r);
          diagonal[s][r] = sent.diagonal;
          left[s][r] = sent.left;
        }
      }
    }
    stage(piece);
  }

  // Begins to bring a piece of what the strip reads.
  SOFTDP_DEVICE void stage(int piece) {
    const int first = until - (piece + 1) * kPiece;  // column
    const int count = team.columns - first < kPiece ? team.columns - first : kPiece;
    if (team.swept.size() > 0 && first + kPiece > team.swept.first) {
      if constexpr (Family::kFlowReadsTables) tables.stage(team.first_row, team.rows, team.first_column, first, count);
      if (!team.has_below || team.warp + 1 == work.plan.warps)
        for (int c = team.lane; c < count; c += work.plan.lanes) stage_below(first + c);
    }
    if (team.swept.size() > 0) stage_weights(piece);
    commit_copies();
  }

  // Whether the row below the strip sends up at this column of the tile: from its cells, or diagonally to the one
  // before them. Asked for by a lane of a strip, which is no reason for all of them to remember it.
  SOFTDP_DEVICE bool sends_up(int column) const {
    if (!kBand || !team.has_below) return true;
    const Range range = work.problem.columns(team.pair, team.first_row + team.rows, team.m);
    const int at = team.first_column + column;
    return range.first <= at + 1 && at < range.last;
  }

  // What comes from below the strip, but for what a strip of the same group hands on. Below a last row there is
  // nothing: what enters that row comes from there.
  SOFTDP_DEVICE void stage_below(int tile_column) const {
    if (!sends_up(tile_column)) return;
    const int column = team.first_column + tile_column;
    for (int s = 0; s < kStates; ++s) {
      Upward<T>* const to = in + s * kRing + (tile_column & (kRing - 1));
      if (team.has_below || work.seeds_border()) {
        copy_async<sizeof(Upward<T>)>(to, above_at(team.group + 1, s, column));
      } else {
        *to = {T(0), column == team.m - 1 && s == 0 ? seed : T(0)};
      }
    }
  }

  // A step's weights are one line for each state; the lanes share those of a few steps at a time, 16 bytes each.
  SOFTDP_DEVICE void stage_weights(int piece) {
    constexpr int kQuad = 16 / sizeof(Word), kLines = kQuad / (kWords * kR);  // lines at a time
    static_assert(kLines > 0);
    const int line = kWords * work.plan.lanes * kR, quads = line / kQuad;
    const int k_first = team.lane / quads, word = team.lane % quads * kQuad;
    const Word* const from = work.weights + kept_at * kStates * line + word;
    Word* const to = team.at<Word>(work.memory.weights) + (piece & 1) * kPiece * kStates * line + word;
    const int steps_left = steps() - piece * kPiece;
    int place = place_at(piece * kPiece + k_first);
    for (int k = k_first; k < kPiece && k < steps_left; k += kLines) {
      for (int s = 0; s < kStates; ++s)
        copy_async<16>(to + (k * kStates + s) * line, from + (std::int64_t(place) * kStates + s) * line);
      for (place -= kLines; place < 0;) place += team.places<kBand>();
    }
  }

  // kPiece steps. All lanes of a warp come here, whether they have something to do or not.
  SOFTDP_DEVICE void sweep(int piece) {
    wait_for_copies<0>();
    warp_barrier();
    stage(piece + 1);
    for (int r = 0; r < kR; ++r) {
      for (int k = 0; k < kTables; ++k) row_part[k][r] = 0;
      for (int k = 0; k < kNumbers; ++k) number_part[k][r] = 0;
    }
    const int line = kStates * kWords * work.plan.lanes * kR;
    const Word* const words = team.at<Word>(work.memory.weights) + (piece & 1) * kPiece * line + team.lane * kR;
    const int first = until - 1 - piece * kPiece + behind;  // column
    const auto walk = [&](auto inside) {
#pragma unroll kAtOnce
      for (int k = 0; k < kPiece; ++k) step<inside>(first - k, words + k * line);
    };
    if constexpr (kBand) {
      walk(std::false_type());
    } else {
      const int leads = until - piece * kPiece;  // the last lane's column, counted from 1
      with_flag(team.all_sweep(work.plan, leads - kPiece, leads - 1 + kWarp), walk);
    }
    for (int r = 0; r < kR; ++r) {
      for (int k = 0; k < kTables; ++k) row_sums[k][r] = normalise(two_sum(row_sums[k][r], row_part[k][r]));
      for (int k = 0; k < kNumbers; ++k) number_sums[k][r] = normalise(two_sum(number_sums[k][r], number_part[k][r]));
    }
    warp_barrier();
    write_gradients(piece - (work.plan.lanes - 1 + kPiece - 1) / kPiece);  // as far as the last lane is
  }

  template <bool kInside>
  SOFTDP_DEVICE void step(int column, const Word* words) {
    const int lanes = work.plan.lanes;
    Upward<T> from_below[kStates], below[kStates];
    for (int s = 0; s < kStates; ++s) {
      from_below[s] = {shuffle_down(up[s].diagonal, 1, lanes), shuffle_down(up[s].above, 1, lanes)};
      below[s] = {0, 0};
    }
    T sums[kTables];
    for (int k = 0; k < kTables; ++k) sums[k] = shuffle_down(column_sums[k], 1, lanes);
    if (!kInside && !team.sweeps(column)) return;
    if (team.own_rows <= kR)  // nothing lives below in this strip
      for (int k = 0; k < kTables; ++k) sums[k] = 0;
    if (team.has_end<T>())
      for (int s = 0; s < kStates; ++s)
        from_below[s] = sends_up(column) ? in[s * kRing + (column & (kRing - 1))] : Upward<T>{0, 0};
    Potentials<Family, T> on_arcs[kR];
    T arrived[kStates][kR];
#pragma unroll
    for (int r = kR - 1; r >= 0; --r) {  // no mass is in rows that the table does not have
      T sent[kSteps][kStates] = {};
      each<kStates>([&](auto its_state) {
        constexpr int s = its_state;
        if (r == last_row) below[s] = from_below[s];
        if (kBand && !team.has<kBand>(r, column)) {
          below[s] = {0, 0};
          left[s][r] = 0;
        }
        const PassedOn<T> cell =
            pass_on(below[s].diagonal, below[s].above, left[s][r], words + s * kWords * lanes * kR + r, lanes * kR);
        arrived[s][r] = cell.mass;
        const T shares[] = {cell.sent.match, cell.sent.remove, cell.sent.insert};
        each<3>([&](auto k) {
          constexpr Arc arc = Topology::kArcs[s][k];
          sent[arc.step][arc.state] = shares[k];
          if constexpr (leads_potential<Topology>(s, k)) {
            on_arcs[r][arc.potential] = shares[k];
          } else {
            on_arcs[r][arc.potential] += shares[k];
          }
        });
      });
      for (int s = 0; s < kStates; ++s) {
        below[s] = {diagonal[s][r], sent[kAbove][s]};
        diagonal[s][r] = sent[kDiagonal][s];
        left[s][r] = sent[kLeft][s];
      }
    }
    for (int s = 0; s < kStates; ++s) up[s] = below[s];
    T to_gamma[kR];
#pragma unroll
    for (int r = kR - 1; r >= 0; --r) to_gamma[r] = flow(r, column, on_arcs[r], sums);
    if (work.number_sums[kNumbers - 1] != nullptr)
      for (int r = 0; r < kR; ++r) {
        T entropies = to_gamma[r];
        for (int s = 0; s < kStates; ++s)
          entropies += arrived[s][r] * entropy<T>(words + s * kWords * lanes * kR + r, lanes * kR);
        number_part[kNumbers - 1][r] += entropies;
      }
    for (int k = 0; k < kTables; ++k) column_sums[k] = sums[k];
    if (team.lane == 0) hand_on(column);
  }

  // From the masses on a cell's arcs to gradients. Returns what goes to gamma through the potentials.
  SOFTDP_DEVICE T flow(int r, int column, const Potentials<Family, T>& on_arcs, T (&sums)[kTables]) {
    T values[kTables] = {}, to_tables[kTables], to_parameters[Family::kParameters + 1] = {};
    const int row = team.lane * kR + r;
    if constexpr (Family::kFlowReadsTables) {
      tables.read(row, column, values);
      for (int k = 0; k < kTables; ++k) values[k] = team.has<kBand>(r, column) ? values[k] : T(0);
    }
    const T to_gamma = work.problem.family.flow(values, parameters, gamma, on_arcs, to_tables, to_parameters);
    for (int k = 0; k < kTables; ++k) {
      if (keeps_cells(k)) {
        const Ring ring = work.memory.gradients[k];
        team.at<T>(0)[ring.offset + row * ring.row_stride + (column & ring.mask)] = to_tables[k];
      }
      row_part[k][r] += to_tables[k];
      sums[k] += to_tables[k];
    }
    for (int k = 0; k < Family::kParameters; ++k) number_part[k][r] += to_parameters[k];
    return to_gamma;
  }

  // What the strip's first row sends goes to the strip above.
  SOFTDP_DEVICE void hand_on(int column) const {
    for (int s = 0; s < kStates; ++s) {
      if (team.warp > 0) {
        in[s * kRing + (column & (kRing - 1)) - work.memory.bytes / int(sizeof(Upward<T>))] = up[s];
      } else if (team.group > 0 || work.settles) {
        *above_at(team.group, s, team.first_column + column) = up[s];
      }
    }
    for (int k = 0; k < kTables; ++k)
      if (sums_columns(k)) work.column_sums[k][team.strip_at + column] = column_sums[k];
  }

  // Brings the gradients of a piece of columns, which all lanes have done, to where the user finds them.
  SOFTDP_DEVICE void write_gradients(int piece) const {
    const int first = until - (piece + 1) * kPiece;
    if (piece < 0 || first < 0 || team.rows <= 0) return;
    const int count = team.columns - first < kPiece ? team.columns - first : kPiece;
    for (int k = 0; k < kTables; ++k) {
      if (!keeps_cells(k)) continue;
      const Ring ring = work.memory.gradients[k];
      const std::int64_t to =
          (team.pair * work.problem.n + team.first_row) * work.problem.m + team.first_column + first;
      for (int i = team.lane; i < team.rows * kPiece; i += work.plan.lanes) {
        const int row = i / kPiece, c = i % kPiece;
        if (c < count && (!kBand || team.sweeps(first + c)))
          store_element<T>(work.gradients.tables[k], work.problem.tables[k].element, to + row * work.problem.m + c,
                           team.at<T>(0)[ring.offset + row * ring.row_stride + ((first + c) & ring.mask)]);
      }
    }
  }

  // After the last step.
  SOFTDP_DEVICE void end() const {
    for (int r = 0; r < kR; ++r) {
      if (r >= team.own_rows) continue;
      const std::int64_t at = team.pair * work.problem.n + team.own_row + r;
      if (team.first_column > 0 || work.settles)
        for (int s = 0; s < kStates; ++s) *work.left_at(team.pair, s, team.own_row + r) = {diagonal[s][r], left[s][r]};
      for (int k = 0; k < kTables; ++k)
        if (sums_rows(k)) work.row_sums[k][at] += double(row_sums[k][r].high) + double(row_sums[k][r].low);
      for (int k = 0; k < kNumbers; ++k)
        if (work.number_sums[k] != nullptr)
          work.number_sums[k][at] += double(number_sums[k][r].high) + double(number_sums[k][r].low);
    }
  }
};

template <class Family, class T, bool kBand>
SOFTDP_KERNEL(kThreads)
backward_kernel(SOFTDP_CONSTANT BackwardWork<Family, T> work) {
  Team team(work.problem, work.plan, work.part, work.memory.bytes);
  if constexpr (kBand) {
    // These weights are not this band's.
    if (work.begins[work.problem.batch.count * strips_for(work.problem.n, kRows<T>)] != work.kept) team.sweep_nothing();
  }
  BackwardStrip<Family, T, kBand> strip(work, team);
  sweep_groups<true, kBand>(work.problem, work.plan, team, strip);
}

}  // namespace softdp::cuda
