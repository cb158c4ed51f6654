// What a topology says: which running values (states) a cell has, and which arcs lead from where into each of them.
#pragma once

#include <concepts>

#include "../scalar.h"

namespace softdp {

// Where an arc comes from: a state of a neighbour; one of the same cell, that is before its own in their order; or it
// is the beginning of a path. kClosed: there is no such arc.
enum Step { kDiagonal, kAbove, kLeft, kSteps, kHere = kSteps, kBegins, kClosed };

// Worth nothing to any family, and no step of a path.
constexpr int kUnpaid = -1;

struct Arc {
  Step step;
  int state;      // that it comes from
  int potential;  // what it is worth
};

constexpr Arc kBeginning{kBegins, 0, kUnpaid}, kAbsent{kClosed, 0, kUnpaid};

// Of which there is none: a topology has no end where several states are worth something together.
constexpr int kNoState = -1;

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
  return kClosed;
}

// Whether an arc leads this way out of a state.
template <class Topology>
constexpr bool leaves(int state, Step step) {
  for (const auto& arcs : Topology::kArcs)
    for (const Arc& arc : arcs)
      if (arc.step == step && arc.state == state) return true;
  return false;
}

// Whether this is the first arc with its potential, where states come from the last to the first.
template <class Topology>
constexpr bool leads_potential(int state, int k) {
  for (int s = state; s < Topology::kStates; ++s)
    for (int before = 0; before < (s == state ? k : 3); ++before)
      if (Topology::kArcs[s][before].potential == Topology::kArcs[state][k].potential) return false;
  return true;
}

template <class Topology>
constexpr bool arcs_leave_once() {
  bool left[kSteps][Topology::kStates] = {};
  for (const auto& arcs : Topology::kArcs)
    for (const Arc& arc : arcs) {
      if (arc.step >= kSteps) continue;
      if (left[arc.step][arc.state]) return false;
      left[arc.step][arc.state] = true;
    }
  return true;
}

// At least two, from states that are worth something already.
template <class Topology>
constexpr bool arcs_in_order() {
  for (int state = 0; state < Topology::kStates; ++state) {
    const auto& arcs = Topology::kArcs[state];
    if (arcs[0].step == kClosed || (arcs[1].step == kClosed && arcs[2].step == kClosed)) return false;
    for (const Arc& arc : arcs)
      if (arc.step == kHere && arc.state >= state) return false;
  }
  return true;
}

// No two arcs may leave one state for a neighbour: what a backward sweep sends there is written once.
template <class X>
concept Topology = requires {
  requires X::kStates > 0;
  requires X::kPotentials > 0;  // of a cell, by the family; 0 is the match, the others are gaps
  requires sizeof X::kArcs / sizeof(Arc[3]) == X::kStates;  // in the order in which ties are broken
  { X::kBegin } -> std::convertible_to<int>;                // the state in which paths begin on the border
  { X::kEnd } -> std::convertible_to<int>;                  // that in which they end in the last cell, or kNoState
  { X::kMayLackArcs } -> std::convertible_to<bool>;         // whether there are bands, and ends where no gap goes on
  { X::kDown } -> std::convertible_to<LeadingGap>;          // gaps along the first column where they are paid
  { X::kAcross } -> std::convertible_to<LeadingGap>;        // along the first row
} && arcs_leave_once<X>() && arcs_in_order<X>();

// ---- where the weights of a cell's states are ----

// Of a place, which has two fractions, a state with a third arc takes both; two without share one.
enum class Fractions { kBoth, kFirst, kSecond };

struct Place {
  int at;
  Fractions fractions;
};

template <class Topology>
constexpr bool lacks_third(int state) {
  return Topology::kArcs[state][2].step == kClosed;
}
// Its second's weight is kept as 0, or its third's would not be where a walk looks for it.
template <class Topology>
constexpr bool lacks_second(int state) {
  return Topology::kArcs[state][1].step == kClosed;
}

template <class Topology>
constexpr Place place_of(int state) {
  int places = 0, shared = -1;
  for (int s = 0;; ++s) {
    Place place{places, Fractions::kBoth};
    if (lacks_third<Topology>(s)) {
      place = shared < 0 ? Place{places, Fractions::kFirst} : Place{shared, Fractions::kSecond};
      shared = shared < 0 ? places : -1;
    }
    if (s == state) return place;
    if (place.at == places) ++places;
  }
}

// The state that has a place's first fraction, and the one that has its second: the same, another, or none.
template <class Topology>
constexpr int state_with(int place, bool second) {
  for (int s = 0; s < Topology::kStates; ++s) {
    const Place its = place_of<Topology>(s);
    if (its.at == place && its.fractions != (second ? Fractions::kFirst : Fractions::kSecond)) return s;
  }
  return kNoState;
}

template <class Topology>
constexpr int count_places() {
  int places = 0;
  for (int s = 0; s < Topology::kStates; ++s)
    if (place_of<Topology>(s).at >= places) places = place_of<Topology>(s).at + 1;
  return places;
}
template <class Topology>
constexpr int kPlaces = count_places<Topology>();

}  // namespace softdp
