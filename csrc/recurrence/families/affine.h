// Similarity with affine gaps (Gotoh 1982), of whole sequences or of parts of them: a table for each potential of the
// topology.
#pragma once

#include "../topologies/affine.h"
#include "../topologies/local.h"
#include "family.h"

namespace softdp {

template <class Its>
struct AffineGaps {
  using Topology = Its;
  enum Table { kMatch, kOpenRemove, kExtendRemove, kOpenInsert, kExtendInsert, kTables };  // as the potentials
  static constexpr int kParameters = 0;
  static constexpr int kGapHalvings = 0;
  static constexpr unsigned kGapTables = (1u << kTables) - 1 - (1u << kMatch);
  static constexpr bool kGapsAreGates = false;
  static constexpr bool kFlowReadsTables = false;
  static constexpr bool minimise = false;

  template <class T>
  SOFTDP_INLINE Numbers<T, kTables> potentials(const T* tables, const T* /*parameters*/, T /*gamma*/) const {
    return {tables[kMatch], tables[kOpenRemove], tables[kExtendRemove], tables[kOpenInsert], tables[kExtendInsert]};
  }

  template <class T>
  SOFTDP_INLINE T flow(const T*, const T*, T, Numbers<T, kTables> mass, T* table_gradients,
                       T* /*parameter_gradients*/) const {
    table_gradients[kMatch] = mass[kMatch];
    table_gradients[kOpenRemove] = mass[kOpenRemove];
    table_gradients[kExtendRemove] = mass[kExtendRemove];
    table_gradients[kOpenInsert] = mass[kOpenInsert];
    table_gradients[kExtendInsert] = mass[kExtendInsert];
    return T(0);
  }
};

using AffineEdit = AffineGaps<Affine>;
using LocalEdit = AffineGaps<Local>;

}  // namespace softdp
