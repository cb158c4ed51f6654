// What a family says: what the arcs of its topology are worth in a cell, and where their gradients go.
#pragma once

#include "../dual.h"
#include "../topologies/topology.h"

namespace softdp {

template <class Family, class T>
using Potentials = Numbers<T, Family::Topology::kPotentials>;

// In numbers of type T, dual ones too. kTables and kParameters, which may be none, are what the caller gives: tables,
// of which the first has the full shape, and numbers for each pair.
template <class X, class T>
concept FamilyIn = requires(X family, const T* tables, const T* parameters, T gamma, Potentials<X, T> mass,
                            T* table_gradients, T* parameter_gradients) {
  // Of the potentials of one cell; kGapHalvings: a gap arc is worth this many gamma log 2 less than they say.
  { family.potentials(tables, parameters, gamma) } -> std::same_as<Potentials<X, T>>;
  requires X::kGapHalvings >= 0;
  // From the mass on each arc (d value / d potential) to the gradient of the score, which is -value when minimising.
  // Returns the part of d score / d gamma that comes through the potentials.
  { family.flow(tables, parameters, gamma, mass, table_gradients, parameter_gradients) } -> std::same_as<T>;
};

// Whether how potentials change depends on what the tables hold: where they are no sums of these.
template <class Family>
constexpr bool kChangesReadTables = Family::kGapsAreGates || Family::kFlowReadsTables;

// How the potentials of a cell's arcs change with numbers that change.
template <class Family, class T>
SOFTDP_INLINE Potentials<Family, T> potential_changes(const Family& family, const Dual<T>* tables,
                                                      const Dual<T>* parameters, Dual<T> gamma) {
  const Potentials<Family, Dual<T>> each = family.potentials(tables, parameters, gamma);
  Potentials<Family, T> changes;
  changes[0] = each[0].tangent;
  for (int k = 1; k < Family::Topology::kPotentials; ++k)
    changes[k] = each[k].tangent - T(Family::kGapHalvings) * kLog2<T> * gamma.tangent;
  return changes;
}

template <class X>
concept Family = Topology<typename X::Topology> && FamilyIn<X, float> && FamilyIn<X, double> &&
                 FamilyIn<X, Dual<float>> && FamilyIn<X, Dual<double>> && requires(X family) {
                   requires X::kTables > 0 && X::kParameters >= 0;
                   {
                     family.minimise
                   } -> std::convertible_to<bool>;  // potentials are the negative of what the caller gives
                   { X::kGapTables } -> std::convertible_to<unsigned>;    // bit k: the potentials of gaps read table k
                   { X::kGapsAreGates } -> std::convertible_to<bool>;     // whether these are 0 or -inf
                   { X::kFlowReadsTables } -> std::convertible_to<bool>;  // whether flow() needs the tables' values
                 };

}  // namespace softdp
