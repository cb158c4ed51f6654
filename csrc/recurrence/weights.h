// How the weights of a cell are stored: 4 bytes in float32 work (two 16-bit fractions), 16 bytes in float64 work.
#pragma once

#include <cmath>

#include "forms/smoothing.h"

namespace softdp {

template <class T>
struct StoredWeights;

template <>
struct StoredWeights<float> {
  using Word = std::uint32_t;
  static constexpr int kWords = 1;
  static constexpr float kOne = 65535.0f;

  // A fraction is rounded up from another place in its last bit at each cell (an additive sequence along rows and
  // columns), so that the roundings of a table of equal cells do not add up along a path. At step t a lane that is
  // `lag` columns behind is at column t - lag.
  static constexpr float kLowest = 0.03125f;  // more than 65535 loses by the rounding of a weight of 1
  static constexpr float kHighest = 0.98f;    // 65535 and this are below 65536 in float
  SOFTDP_INLINE static float lane_dither(std::int64_t row, std::int64_t lag) {
    return kLowest + part(0.7548776662466927 * double(row) - 0.5698402909980532 * double(lag));
  }
  SOFTDP_INLINE static float step_dither(std::int64_t step) { return part(0.5698402909980532 * double(step)); }
  SOFTDP_INLINE static float dither(float lane, float step) {
    return lane + step >= kHighest ? lane + step - (kHighest - kLowest) : lane + step;
  }

  // Rounding the running sums, not the weights, keeps zero weights zero and the total exactly 1.
  SOFTDP_INLINE static void store(Word* words, int /*stride*/, Weights<float> w, float dither) {
    *words = rounded(w.remove, dither) | (rounded(w.remove_and_insert, dither) << 16);
  }

  // The weights times `mass`; match gets what the others leave.
  SOFTDP_INLINE static Arcs<float> share(const Word* words, int /*stride*/, float mass) {
    const auto remove = std::int32_t(*words & 0xffffu);
    const auto both = std::int32_t(*words >> 16);
    const float unit = mass * (1.0f / kOne);
    // Rounded before they are taken from the mass: what leaves a cell is what has arrived in it.
    const float to_remove = rounded_product(unit, float(remove));
    const float to_insert = rounded_product(unit, float(both - remove));
    return {both == 65535 ? 0.0f : (mass - to_remove) - to_insert, to_remove, to_insert};
  }

 private:
  // A sum of weights is 1 and some units in the last place at most; 65536 would be 0.
  SOFTDP_INLINE static Word rounded(float x, float dither) {
    const auto fraction = std::int32_t(x * kOne + dither);
    return Word(fraction < 65535 ? fraction : 65535);
  }
  SOFTDP_INLINE static float part(double x) { return float(x - std::floor(x)) * (kHighest - kLowest); }
};

template <>
struct StoredWeights<double> {
  using Word = double;
  static constexpr int kWords = 2;

  SOFTDP_INLINE static double lane_dither(std::int64_t, std::int64_t) { return 0; }
  SOFTDP_INLINE static double step_dither(std::int64_t) { return 0; }
  SOFTDP_INLINE static double dither(double, double) { return 0; }

  SOFTDP_INLINE static void store(Word* words, int stride, Weights<double> w, double /*dither*/) {
    words[0] = w.remove;
    words[stride] = w.remove_and_insert;
  }

  SOFTDP_INLINE static Arcs<double> share(const Word* words, int stride, double mass) {
    const Arcs<double> weights = Weights<double>{words[0], words[stride]}.arcs();
    return {weights.match * mass, weights.remove * mass, weights.insert * mass};
  }
};

}  // namespace softdp
