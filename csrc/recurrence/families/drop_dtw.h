// Drop-DTW (Dvornik, Hadji, Derpanis, Garg, Jepson, NeurIPS 2021): a cost for each match, however many steps of the
// other sequence a step is matched with, and one for each step that is dropped.
#pragma once

#include "../topologies/drops.h"
#include "family.h"

namespace softdp {

struct DropDtw {
  using Topology = Drops;
  enum Table { kCost, kDropX, kDropY, kTables };
  static constexpr int kParameters = 0;
  static constexpr int kGapHalvings = 0;
  static constexpr unsigned kGapTables = 1u << kCost | 1u << kDropX | 1u << kDropY;
  static constexpr bool kGapsAreGates = false;
  static constexpr bool kFlowReadsTables = false;
  static constexpr bool minimise = true;
  // At most so much is it worth to match a step of x with several of y, and several of x with one of y: infinity, or
  // -infinity where it may not be. (A condition would keep the loops over lanes from the vector units.)
  float one_to_many = kInfinity<float>, many_to_one = kInfinity<float>;

  DropDtw() = default;
  DropDtw(bool may_one_to_many, bool may_many_to_one)
      : one_to_many(may_one_to_many ? kInfinity<float> : -kInfinity<float>),
        many_to_one(may_many_to_one ? kInfinity<float> : -kInfinity<float>) {}

  template <class T>
  SOFTDP_INLINE Numbers<T, Drops::kPotentials> potentials(const T* tables, const T* /*parameters*/, T /*gamma*/) const {
    const T match = -tables[kCost], most_above = T(many_to_one), most_left = T(one_to_many);
    return {match, most_above < match ? most_above : match, most_left < match ? most_left : match, -tables[kDropX],
            -tables[kDropY]};
  }

  template <class T>
  SOFTDP_INLINE T flow(const T*, const T*, T, Numbers<T, Drops::kPotentials> mass, T* table_gradients,
                       T* /*parameter_gradients*/) const {
    table_gradients[kCost] = mass[Drops::kMatch] + (mass[Drops::kManyToOne] + mass[Drops::kOneToMany]);
    table_gradients[kDropX] = mass[Drops::kDropX];
    table_gradients[kDropY] = mass[Drops::kDropY];
    return T(0);
  }
};

}  // namespace softdp
