// Smoothed longest common subsequence (Gao, Chen, Xu, CVPR 2022) with the gate of width w made differentiable:
//
//     match = c + gamma log sigmoid((c - threshold) / w)        where the two snippets may be matched
//     gap   = gamma log sigmoid((threshold - c) / w) - gamma log 2
//
// w = 0 is the step: c > threshold forces the match, else it forbids it. The gaps' -gamma log 2 turns the smooth
// maximum of two gaps into a log-mean-exp: a table without one match scores 0, and no score exceeds the hard one.
#pragma once

#include "../topologies/linear.h"
#include "family.h"

namespace softdp {

// kGated: w > 0.
template <bool kGated>
struct Lcs {
  using Topology = Linear;
  enum Table { kSimilarity, kTables };
  enum Parameter { kThreshold, kParameters };
  static constexpr int kGapHalvings = 1;
  static constexpr unsigned kGapTables = 1u << kSimilarity;
  static constexpr bool kGapsAreGates = !kGated;
  static constexpr bool kFlowReadsTables = kGated;
  static constexpr bool minimise = false;
  double gate_width = 0;  // w

  template <class T>
  SOFTDP_INLINE Numbers<T, 3> potentials(const T* tables, const T* parameters, T gamma) const {
    const T c = tables[kSimilarity];
    const T threshold = parameters[kThreshold];
    const T excess = c - threshold;
    T match, gap;
    if constexpr (kGated) {
      // Without smoothing there is no gate, whatever its x: gamma log sigmoid(x) tends to 0 with gamma for every x.
      const T x = excess / T(gate_width);
      match = c + (gamma > 0 ? gamma * log_sigmoid(x) : T(0));
      gap = gamma > 0 ? gamma * log_sigmoid(-x) : T(0);
      match = c != c ? c : match;
    } else {
      match = c <= threshold ? T(-kInfinity<float>) : c;
      gap = c <= threshold ? T(0) : T(-kInfinity<float>);
    }
    match = threshold != threshold ? threshold : match;
    return {match, gap, gap};
  }

  template <class T>
  SOFTDP_INLINE T flow(const T* tables, const T* parameters, T gamma, Numbers<T, 3> mass, T* table_gradients,
                       T* parameter_gradients) const {
    const T matched = mass[Linear::kMatch], gaps = mass[Linear::kRemove] + mass[Linear::kInsert];
    T through_gate = 0;  // d score / d (excess / width), over gamma
    T through_gamma = -gaps * T(kLog2<double>);
    if constexpr (kGated) {
      const T x = (tables[kSimilarity] - parameters[kThreshold]) / T(gate_width);
      // No mass (in padding for one) brings nothing, whatever the threshold, nor does a gate that is not there.
      const bool flows = (matched != 0 || gaps != 0) && gamma > 0;
      const T gate = (matched * sigmoid(-x) - gaps * sigmoid(x)) / T(gate_width);  // by itself, or it is a branch
      through_gate = flows ? gate : T(0);
      // An empty arc beside an infinite logarithm is worth nothing.
      through_gamma += (matched != 0 ? matched * log_sigmoid(x) : T(0)) + (gaps != 0 ? gaps * log_sigmoid(-x) : T(0));
    }
    table_gradients[kSimilarity] = matched + gamma * through_gate;
    parameter_gradients[kThreshold] = -gamma * through_gate;
    return gamma > 0 ? through_gamma : T(0);
  }
};

}  // namespace softdp
