// What a topology says: which running values (states) a cell has, and which arcs lead from where into each of them.
#pragma once

#include <concepts>

#include "../scalar.h"

namespace softdp {

enum Step { kDiagonal, kAbove, kLeft, kSteps };  // which neighbour an arc comes from

struct Arc {
  Step step;
  int state;      // of that neighbour
  int potential;  // what it is worth
};

// A leading gap: the state it is in, and what its first step and each further one is worth.
struct LeadingGap {
  int state, first, next;
};

// Numbers of one cell, of which a topology has some.
template <class T, int kCount>
struct Numbers {
  T at[kCount];

  SOFTDP_INLINE T& operator[](int k) { return at[k]; }
  SOFTDP_INLINE const T& operator[](int k) const { return at[k]; }
};

// The step of the arcs of this potential.
template <class Topology>
constexpr Step step_of(int potential) {
  for (const auto& arcs : Topology::kArcs)
    for (const Arc& arc : arcs)
      if (arc.potential == potential) return arc.step;
  return kSteps;
}

template <class Topology>
constexpr bool arcs_leave_once() {
  bool left[kSteps][Topology::kStates] = {};
  for (const auto& arcs : Topology::kArcs)
    for (const Arc& arc : arcs) {
      if (left[arc.step][arc.state]) return false;
      left[arc.step][arc.state] = true;
    }
  return true;
}

// No two arcs may leave one state of a neighbour: what a backward sweep sends there is written once.
template <class X>
concept Topology = requires {
  requires X::kStates > 0;      // state 0 is the one in which paths begin
  requires X::kPotentials > 0;  // of a cell, by the family; 0 is the match, the others are gaps
  requires sizeof X::kArcs / sizeof(Arc[3]) == X::kStates;  // in the order in which ties are broken
  { X::kDown } -> std::convertible_to<LeadingGap>;          // gaps along the first column where they are paid
  { X::kAcross } -> std::convertible_to<LeadingGap>;        // along the first row
} && arcs_leave_once<X>();

}  // namespace softdp
