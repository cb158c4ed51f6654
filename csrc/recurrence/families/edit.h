// Edit similarity and distance: the three arcs have a potential of their own, given by the caller.
// Distances are potentials of the opposite sign (maths: minimising forms).
#pragma once

#include "../topologies/linear.h"
#include "family.h"

namespace softdp {

struct Edit {
  using Topology = Linear;
  enum Table { kMatch, kInsert, kDelete, kTables };
  static constexpr int kParameters = 0;
  static constexpr int kGapHalvings = 0;
  static constexpr unsigned kGapTables = 1u << kInsert | 1u << kDelete;
  static constexpr bool kGapsAreGates = false;
  static constexpr bool kFlowReadsTables = false;
  bool minimise = false;

  template <class T>
  SOFTDP_INLINE Numbers<T, 3> potentials(const T* tables, const T* /*parameters*/, T /*gamma*/) const {
    const T sign = minimise ? T(-1) : T(1);
    return {sign * tables[kMatch], sign * tables[kDelete], sign * tables[kInsert]};
  }

  template <class T>
  SOFTDP_INLINE T flow(const T*, const T*, T, Numbers<T, 3> mass, T* table_gradients,
                       T* /*parameter_gradients*/) const {
    table_gradients[kMatch] = mass[Linear::kMatch];
    table_gradients[kInsert] = mass[Linear::kInsert];
    table_gradients[kDelete] = mass[Linear::kRemove];
    return T(0);
  }
};

}  // namespace softdp
