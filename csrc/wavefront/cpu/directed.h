// What a linear sweep reads of a group: its numbers, or with kTangent how they change along a direction, too.
#pragma once

#include "../../recurrence/dual.h"
#include "group.h"

namespace softdp::cpu {

template <class Family, class T, bool kTangent>
struct Directed;

template <class Family, class T>
struct Directed<Family, T, false> {
  static constexpr int kTables = Family::kTables;
  static constexpr int kParameters = Family::kParameters;
  using Number = T;
  using At = const T*;  // a table's numbers of one step
  struct Staged {
    alignas(64) T lanes[kChunk * kLanes];
  };

  Group<Family, T> group;

  SOFTDP_INLINE void stage(int k, std::int64_t strip, std::int64_t first, std::int64_t last, Staged& to) const {
    group.stage(k, strip, first, last, to.lanes);
  }
  SOFTDP_INLINE At at(int k, const Staged& staged, std::int64_t s) const {
    return staged.lanes + s * group.step_stride(k);
  }
  SOFTDP_INLINE Number at(At numbers, int l) const { return numbers[l]; }
  SOFTDP_INLINE Number gamma(int l) const { return group.gamma[l]; }
  SOFTDP_INLINE Number parameter(int k, int l) const { return group.parameters[k][l]; }

  void border_inputs(int p, std::int64_t i, std::int64_t j, T (&values)[kTables], T (&numbers)[kParameters + 1]) const {
    group.border_inputs(p, i, j, values, numbers);
  }
};

template <class Family, class T>
struct Directed<Family, T, true> {
  static constexpr int kTables = Family::kTables;
  static constexpr int kParameters = Family::kParameters;
  using Number = Dual<T>;
  struct At {
    const T *values, *changes;
  };
  struct Staged {
    alignas(64) T values[kChunk * kLanes];
    alignas(64) T changes[kChunk * kLanes];
  };

  Group<Family, T> group;
  Group<Family, T> direction;  // the same pairs; its tables, numbers and border are the direction

  SOFTDP_INLINE void stage(int k, std::int64_t strip, std::int64_t first, std::int64_t last, Staged& to) const {
    group.stage(k, strip, first, last, to.values);
    stage_changes(k, strip, first, last, to);
  }
  SOFTDP_INLINE void stage_changes(int k, std::int64_t strip, std::int64_t first, std::int64_t last, Staged& to) const {
    direction.stage(k, strip, first, last, to.changes);
  }
  SOFTDP_INLINE At at(int k, const Staged& staged, std::int64_t s) const {
    return {staged.values + s * group.step_stride(k), staged.changes + s * direction.step_stride(k)};
  }
  SOFTDP_INLINE Number at(At numbers, int l) const { return {numbers.values[l], numbers.changes[l]}; }
  SOFTDP_INLINE Number gamma(int l) const { return {group.gamma[l], direction.gamma[l]}; }
  SOFTDP_INLINE Number parameter(int k, int l) const { return {group.parameters[k][l], direction.parameters[k][l]}; }

  void border_inputs(int p, std::int64_t i, std::int64_t j, Number (&values)[kTables],
                     Number (&numbers)[kParameters + 1]) const {
    T own[kTables], own_numbers[kParameters + 1], changes[kTables], number_changes[kParameters + 1];
    group.border_inputs(p, i, j, own, own_numbers);
    direction.border_inputs(p, i, j, changes, number_changes);
    for (int k = 0; k < kTables; ++k) values[k] = {own[k], changes[k]};
    for (int k = 0; k <= kParameters; ++k) numbers[k] = {own_numbers[k], number_changes[k]};
  }
};

}  // namespace softdp::cpu
