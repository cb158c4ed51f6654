// What a backward sweep on a GPU works with: its memory, what it is given and where its results go.
#pragma once

#include "../../recurrence/masses.h"
#include "directed.cuh"

namespace softdp::cuda {

// What a row sends to a state of the row above it when it has done a column: through diagonal arcs at the column to the
// right, through arcs from above at this one.
template <class T>
struct alignas(2 * sizeof(T)) Upward {
  T diagonal, above;
};

// What a row sends to a state of the column before the table: diagonally to the row above, and to its own.
template <class T>
struct alignas(2 * sizeof(T)) Leftward {
  T diagonal, left;
};

// How many masses there are of a cell: one for each state, and with kTangent how they change in as many channels more.
template <class Family, bool kTangent>
constexpr int kChannels = (kTangent ? 2 : 1) * Family::Topology::kStates;

// Shared memory of a strip in the backward sweep.
template <class Family, class T, bool kTangent>
struct BackwardMemory {
  DirectedRings<Family, kTangent> tables;  // where flow() reads them
  Ring gradients[Family::kTables];         // of full tables that want one
  int weights = 0;                         // two pieces
  int below = 0;        // what the row below the strip sends, a ring of kRing columns for each channel
  int row_sums = 0;     // over the columns so far: of tables, of numbers
  int number_sums = 0;  // with kTangent
  int bytes = 0;

  // wanted: bit k for the gradient of table k.
  static BackwardMemory of(const Problem<Family, T>& problem, const Along<Family, T, kTangent>& along, int strip_rows,
                           unsigned wanted) {
    BackwardMemory memory;
    StripMemory strip;
    bool sums = false;
    for (int k = 0; k < Family::kTables; ++k) {
      const Table& table = problem.tables[k];
      sums = sums || (wanted >> k & 1 && table.one_column);
      if constexpr (Family::kFlowReadsTables) {
        memory.tables.values[k] = strip.template ring<T>(table, strip_rows, problem.m);
        if constexpr (kTangent)
          memory.tables.changes[k] = DirectedRings<Family, true>::of_changes(along, k, strip, strip_rows);
      }
      if (wanted >> k & 1 && !table.one_row && !table.one_column)
        memory.gradients[k] = strip.template ring<T>(table, strip_rows, problem.m);
    }
    using Word = typename StoredWeights<T>::Word;
    constexpr int places = kPlaces<typename Family::Topology>;
    memory.weights = strip.template reserve<Word>(2 * kPiece * places * StoredWeights<T>::kWords * strip_rows);
    if constexpr (kTangent) {
      memory.tables.weight_changes = strip.template reserve<T>(2 * kPiece * places * kWeightTangents * strip_rows);
    }
    memory.below = strip.template reserve<Upward<T>>(kChannels<Family, kTangent> * kRing);
    if (sums) memory.row_sums = strip.template reserve<TwoFloat<T>>(Family::kTables * strip_rows);
    if (kTangent) memory.number_sums = strip.template reserve<TwoFloat<T>>((Family::kParameters + 1) * strip_rows);
    memory.bytes = strip.bytes;
    return memory;
  }
};

// What is wanted of a sweep, where that is known when its steps are compiled: gradients of the first table's cells, or
// of those of all tables, alone or with gamma's. Anything: each is looked up.
enum class Wanted { kAnything, kFirst, kFirstAndGamma, kAll, kAllAndGamma };
constexpr bool wants_gamma(Wanted wanted) { return wanted == Wanted::kFirstAndGamma || wanted == Wanted::kAllAndGamma; }

template <class Family, class T, bool kTangent>
struct BackwardWork {
  using ItsFamily = Family;
  static constexpr bool kAlong = kTangent;
  static constexpr int kStates = Family::Topology::kStates;
  static constexpr int kChannels = cuda::kChannels<Family, kTangent>;
  static constexpr int kNumbers = Family::kParameters + 1;  // the parameters, then gamma

  Problem<Family, T> problem;
  Plan plan;
  Relay relay;
  BackwardMemory<Family, T, kTangent> memory;
  Upstream<T> upstream;
  Gradients<Family, T> gradients;
  const typename StoredWeights<T>::Word* weights;  // [pair][strip][column][place][word][lane][row]
  const std::int64_t* begins;                      // with a band: columns before each strip's, [pair][strip]
  std::int64_t kept;                               // with a band: how many columns the weights have
  bool settles;                                    // whether somebody asks what arrives at the border
  // [pair][strip][channel][column]: sent to the row above a strip. One strip more if the border has gradients: what
  // they bring to the last row comes as from a strip after the last.
  Upward<T>* above;
  // [pair][channel][n]: sent to the column before the table; before that, what the border brings to the last column.
  Leftward<T>* left;
  // Sums over columns, begun with 0, and over the rows of a strip; null where nobody asks.
  double* row_sums[Family::kTables];  // [pair][n]
  T* column_sums[Family::kTables];    // [pair][strip][m]
  double* number_sums[kNumbers];      // [pair][n]
  Along<Family, T, kTangent> along;
  const T* weight_changes;  // with kTangent: how the weights change, [...][place][2][lane][row]

  SOFTDP_DEVICE bool sums_columns(int k) const { return column_sums[k] != nullptr; }
  SOFTDP_DEVICE bool sums_rows(int k) const { return row_sums[k] != nullptr; }
  SOFTDP_DEVICE bool sums_numbers(int k) const { return number_sums[k] != nullptr; }
  SOFTDP_DEVICE bool keeps_cells(int k) const { return memory.gradients[k].mask != 0; }
  SOFTDP_DEVICE Wanted wanted() const {
    bool sums = false, some = false, all = Family::kTables > 1;  // some, all: of the tables after the first
    for (int k = 0; k < Family::kTables; ++k) sums = sums || sums_columns(k) || sums_rows(k);
    for (int k = 0; k < Family::kParameters; ++k) sums = sums || sums_numbers(k);
    for (int k = 1; k < Family::kTables; ++k) {
      some = some || keeps_cells(k);
      all = all && keeps_cells(k);
    }
    if (sums || !keeps_cells(0) || some != all) return Wanted::kAnything;
    const bool gamma = sums_numbers(kNumbers - 1);
    if (some) return gamma ? Wanted::kAllAndGamma : Wanted::kAll;
    return gamma ? Wanted::kFirstAndGamma : Wanted::kFirst;
  }

  SOFTDP_INLINE bool seeds_border() const { return upstream.border_gradients != nullptr; }
  SOFTDP_INLINE int strips_above() const { return plan.strips + seeds_border(); }
  SOFTDP_INLINE std::int64_t above_length() const { return row_length<Upward<T>>(problem.m); }  // to the next channel
  SOFTDP_DEVICE Upward<T>* above_at(std::int64_t pair, int strip, int channel, int column) const {
    return above + ((pair * strips_above() + strip) * kChannels + channel) * above_length() + column;
  }
  SOFTDP_DEVICE Leftward<T>* left_at(std::int64_t pair, int channel, int row) const {
    return left + (pair * kChannels + channel) * problem.n + row;
  }

  // The mass that the gradient of the border that was put out brings to one of its cells.
  SOFTDP_DEVICE double border_seed(std::int64_t pair, int state, std::int64_t place) const {
    if (!seeds_border()) return 0;
    const std::int64_t at = (pair * kStates + state) * problem.border_length() + place;
    return softdp::seed(upstream.border[at], upstream.border_gradients[at], problem.family.minimise);
  }
  // The mass that the gradient of the score brings to the last cell of a pair.
  SOFTDP_DEVICE T seed(std::int64_t pair) const {
    if constexpr (Family::Topology::kEnd == kNoState) return T(0);
    return softdp::seed(upstream.scores[pair], upstream.score_gradients[pair], problem.family.minimise);
  }
  // Where the gradient of a number goes; null where nobody asks.
  SOFTDP_INLINE T* number(int k) const { return k < Family::kParameters ? gradients.parameters[k] : gradients.gamma; }
};

}  // namespace softdp::cuda
