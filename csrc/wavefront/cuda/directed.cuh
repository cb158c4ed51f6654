// What a linear sweep reads on a GPU: a problem's numbers, or with kTangent how they change along a direction, too.
#pragma once

#include "../../recurrence/dual.h"
#include "stage.cuh"

namespace softdp::cuda {

template <class T, bool kTangent>
using NumberOf = std::conditional_t<kTangent, Dual<T>, T>;

// The direction: a problem of the same shape, whose tables, numbers and border are tangents. Its tables may be
// broadcast in another way.
template <class Family, class T, bool kTangent>
struct Along {};

template <class Family, class T>
struct Along<Family, T, true> {
  Problem<Family, T> direction;
};

template <class Family, bool kTangent>
struct DirectedRings {
  Ring values[Family::kTables];
};

template <class Family>
struct DirectedRings<Family, true> {
  Ring values[Family::kTables], changes[Family::kTables];
  // In the backward sweep.
  int weight_changes = 0;  // two pieces

  template <class T>
  static Ring of_changes(const Along<Family, T, true>& along, int k, StripMemory& strip, int strip_rows) {
    return strip.template ring<T>(along.direction.tables[k], strip_rows, along.direction.m);
  }
};

// A pair's gamma, and its parameter k.
template <class Family, class T, bool kTangent>
SOFTDP_DEVICE NumberOf<T, kTangent> gamma_of(const Problem<Family, T>& problem, const Along<Family, T, kTangent>& along,
                                             std::int64_t pair) {
  if constexpr (kTangent) {
    return {problem.gamma[pair], along.direction.gamma[pair]};
  } else {
    return problem.gamma[pair];
  }
}
template <class Family, class T, bool kTangent>
SOFTDP_DEVICE NumberOf<T, kTangent> parameter_of(const Problem<Family, T>& problem,
                                                 const Along<Family, T, kTangent>& along, int k, std::int64_t pair) {
  if constexpr (kTangent) {
    return {problem.parameters[k][pair], along.direction.parameters[k][pair]};
  } else {
    return problem.parameters[k][pair];
  }
}

// Tables of a strip. kValues: their values are asked for, not how they change alone.
template <class Family, class T, bool kTangent, bool kValues = true>
struct DirectedTables;

template <class Family, class T>
struct DirectedTables<Family, T, false> : StripTables<Family, T> {
  template <class Work>
  SOFTDP_DEVICE DirectedTables(const Work& work, const Team& team)
      : StripTables<Family, T>(work.problem, work.memory.tables.values, team, work.plan) {}
};

template <class Family, class T, bool kValues>
struct DirectedTables<Family, T, true, kValues> {
  const StripTables<Family, T> values, changes;

  template <class Work>
  SOFTDP_DEVICE DirectedTables(const Work& work, const Team& team)
      : values(work.problem, work.memory.tables.values, team, work.plan),
        changes(work.along.direction, work.memory.tables.changes, team, work.plan) {}

  SOFTDP_DEVICE void stage_fixed(int row, int rows) const {
    if constexpr (kValues) values.stage_fixed(row, rows);
    changes.stage_fixed(row, rows);
  }
  SOFTDP_DEVICE void stage(int row, int rows, int column, int count) const {
    if constexpr (kValues) values.stage(row, rows, column, count);
    changes.stage(row, rows, column, count);
  }
  SOFTDP_DEVICE void read(int row, int column, Dual<T> (&numbers)[Family::kTables]) const {
    T own[Family::kTables] = {}, its[Family::kTables];
    if constexpr (kValues) values.read(row, column, own);
    changes.read(row, column, its);
    for (int k = 0; k < Family::kTables; ++k) numbers[k] = {own[k], its[k]};
  }
};

}  // namespace softdp::cuda
