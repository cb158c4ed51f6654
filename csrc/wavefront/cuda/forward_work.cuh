// What a forward sweep on a GPU works with: its memory, what it is given and where its results go.
#pragma once

#include "../../recurrence/weights.h"
#include "stage.cuh"

namespace softdp::cuda {

// Shared memory of a strip in the forward sweep.
template <class Family, class Value>
struct ForwardMemory {
  Ring tables[Family::kTables];
  int above = 0;  // the values of the row above the strip, a ring of kRing columns for each state
  int bytes = 0;

  template <class T>
  static ForwardMemory of(const Problem<Family, T>& problem, int strip_rows) {
    ForwardMemory memory;
    StripMemory strip;
    for (int k = 0; k < Family::kTables; ++k)
      memory.tables[k] = strip.template ring<T>(problem.tables[k], strip_rows, problem.m);
    memory.above = strip.template reserve<Value>(Family::Topology::kStates * kRing);
    memory.bytes = strip.bytes;
    return memory;
  }
};

template <class Family, class T, class Form>
struct ForwardWork {
  using Value = typename Form::Value;
  static constexpr int kStates = Family::Topology::kStates;

  Problem<Family, T> problem;
  Plan plan;
  Relay relay;
  ForwardMemory<Family, Value> memory;
  Outputs<T> outputs;
  typename StoredWeights<T>::Word* weights;  // [pair][strip][column][place][word][lane][row], or null
  const std::int64_t* begins;                // with weights and a band: columns before each strip's, [pair][strip]
  // Whether the border is in `above` and `left`; else `ends` says what it is.
  bool laid;
  // [pair][strip][state][column, from 0]: the row above a strip; that of strip 0 if it is laid, and column 0. One strip
  // more if the border is put out: the last row of a pair's table is in the place of the row above the strip after its
  // last.
  Value* above;
  // [pair][state][n + 1]: the column before the table if it is laid. If the border is put out, the last one in the end.
  Value* left;
  int* beyond_reach;  // [pair]

  SOFTDP_INLINE bool keeps_border() const { return outputs.border != nullptr; }
  SOFTDP_INLINE int strips_above() const { return plan.strips + keeps_border(); }
  // From a state to the next; column 1 begins a piece.
  SOFTDP_INLINE std::int64_t above_length() const { return kTogether<Value> + row_length<Value>(problem.m); }
  SOFTDP_DEVICE Value* above_at(std::int64_t pair, int strip, int state, int column) const {
    return above + ((pair * strips_above() + strip) * kStates + state) * above_length() + kTogether<Value> - 1 + column;
  }
  SOFTDP_DEVICE Value* left_at(std::int64_t pair, int state, int row) const {
    return left + (pair * kStates + state) * (problem.n + 1) + row;
  }

  // What a cell of the border is worth where it is not laid.
  SOFTDP_DEVICE static Value border_value(Gaps gaps, int state, bool origin) {
    return state == Family::Topology::kBegin && (origin || gaps == Gaps::kFree) ? Form::origin() : Form::no_path();
  }
};

}  // namespace softdp::cuda
