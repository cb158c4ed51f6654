// Monotonic alignment (Kim et al., Glow-TTS, NeurIPS 2020): each step of y belongs to one step of x, none of which is
// left out, and one table says how likely it does.
#pragma once

#include "../topologies/monotone.h"
#include "family.h"

namespace softdp {

struct Monotonic {
  using Topology = Monotone;
  enum Table { kLogP, kTables };
  static constexpr int kParameters = 0;
  static constexpr int kGapHalvings = 0;
  static constexpr unsigned kGapTables = 1u << kLogP;
  static constexpr bool kGapsAreGates = false;
  static constexpr bool kFlowReadsTables = false;
  static constexpr bool minimise = false;

  template <class T>
  SOFTDP_INLINE Numbers<T, 1> potentials(const T* tables, const T* /*parameters*/, T /*gamma*/) const {
    return {tables[kLogP]};
  }

  template <class T>
  SOFTDP_INLINE T flow(const T*, const T*, T, Numbers<T, 1> mass, T* table_gradients,
                       T* /*parameter_gradients*/) const {
    table_gradients[kLogP] = mass[Monotone::kMatch];
    return T(0);
  }
};

}  // namespace softdp
