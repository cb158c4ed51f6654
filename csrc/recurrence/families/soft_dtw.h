// Soft-DTW (Cuturi and Blondel, ICML 2017): one cost table for all three arcs.
#pragma once

#include "../topologies/linear.h"
#include "family.h"

namespace softdp {

struct SoftDtw {
  using Topology = Linear;
  enum Table { kCost, kTables };
  static constexpr int kParameters = 0;
  static constexpr int kGapHalvings = 0;
  static constexpr unsigned kGapTables = 1u << kCost;
  static constexpr bool kGapsAreGates = false;
  static constexpr bool kFlowReadsTables = false;
  static constexpr bool minimise = true;

  template <class T>
  SOFTDP_INLINE Numbers<T, 3> potentials(const T* tables, const T* /*parameters*/, T /*gamma*/) const {
    return {-tables[kCost], -tables[kCost], -tables[kCost]};
  }

  template <class T>
  SOFTDP_INLINE T flow(const T*, const T*, T, Numbers<T, 3> mass, T* table_gradients,
                       T* /*parameter_gradients*/) const {
    table_gradients[kCost] = mass[Linear::kMatch] + (mass[Linear::kRemove] + mass[Linear::kInsert]);
    return T(0);
  }
};

}  // namespace softdp
