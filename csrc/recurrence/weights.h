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
  // `lag` columns behind is at column t - lag. On a GPU it is counted from the lowest place, in units of 2^-16.
  using Dither = std::conditional_t<kOnGpu, std::uint32_t, float>;
  static constexpr float kLowest = kOnGpu ? 0.0390625f : 0.03125f;  // more than 65535 loses by rounding a weight of 1
  static constexpr float kHighest = kOnGpu ? 0.9609375f : 0.98f;    // 65535 and this are below 65536 in float
  SOFTDP_INLINE static Dither lane_dither(std::int64_t row, std::int64_t lag) {
    return part(0.7548776662466927 * double(row) - 0.5698402909980532 * double(lag), kOnGpu ? 0 : kLowest);
  }
  SOFTDP_INLINE static Dither step_dither(std::int64_t step) { return part(0.5698402909980532 * double(step), 0); }
  SOFTDP_INLINE static Dither dither(Dither lane, Dither step) {
    if constexpr (kOnGpu) {
      const Dither sum = lane + step, wrapped = sum - Dither((kHighest - kLowest) * kFixed);
      return wrapped < sum ? wrapped : sum;  // what is below 0 is large
    } else {
      return lane + step >= kHighest ? lane + step - (kHighest - kLowest) : lane + step;
    }
  }

  // Rounding the running sums, not the weights, keeps zero weights zero and the total exactly 1.
  SOFTDP_INLINE static void store(Word* words, int /*stride*/, Weights<float> w, Dither dither) {
    if constexpr (kOnGpu) {
      *words = upper_halves(fixed(w.remove) + dither, fixed(w.remove_and_insert) + dither);
    } else {
      *words = rounded(w.remove, dither) | (rounded(w.remove_and_insert, dither) << 16);
    }
  }

  // The weights times `mass`; match gets what the others leave. kTheirs: those of the place that are this state's.
  template <Fractions kTheirs>
  SOFTDP_INLINE static Arcs<float> share(const Word* words, int /*stride*/, float mass) {
    constexpr bool kThree = kTheirs == Fractions::kBoth, kUpper = kTheirs == Fractions::kSecond;
    float remove, insert;
    bool all;
    if constexpr (kOnGpu) {  // without a conversion: numbers of 16 bits are the lowest of those of 2^23 and more
      constexpr float two_to_23 = 8388608.0f;
      constexpr auto above = std::bit_cast<std::uint32_t>(two_to_23);
      const auto lower = [&] { return std::bit_cast<float>(lower_and_upper_half(*words, above)); };
      const auto upper = [&] { return std::bit_cast<float>(upper_halves(*words, above)); };
      const auto raised_remove = kUpper ? upper() : lower();
      const auto raised_both = kThree ? upper() : raised_remove;
      remove = raised_remove - two_to_23;
      insert = kThree ? raised_both - raised_remove : 0.0f;
      all = raised_both == two_to_23 + kOne;
    } else {
      const auto stored_remove = std::int32_t(kUpper ? *words >> 16 : *words & 0xffffu);
      const auto both = kThree ? std::int32_t(*words >> 16) : stored_remove;
      remove = float(stored_remove);
      insert = float(both - stored_remove);
      all = both == 65535;
    }
    const float unit = mass * (1.0f / kOne);
    // Rounded before they are taken from the mass: what leaves a cell is what has arrived in it.
    const float to_remove = rounded_product(unit, remove);
    const float to_insert = rounded_product(unit, insert);
    return {all ? 0.0f : (mass - to_remove) - to_insert, to_remove, to_insert};
  }

 private:
  static constexpr float kFixed = 65536.0f;  // units of 2^-16

  // A sum of weights is 1 and some units in the last place at most; 65536 would be 0.
  SOFTDP_INLINE static Word rounded(float x, float dither) {
    const auto fraction = std::int32_t(x * kOne + dither);
    return Word(fraction < 65535 ? fraction : 65535);
  }
  // On a GPU, where a conversion takes the time of eight sums: the fraction and the lowest dither in units of 2^-16.
  // Between 2^16 and 2^17 a float has 7 bits behind the point, which is a fifth of the dither's lowest.
  SOFTDP_INLINE static std::uint32_t fixed(float x) {
    constexpr int kBehindPoint = 7;
    return std::bit_cast<std::uint32_t>(multiply_add(x, kOne / Weights<float>::kOne, kFixed + kLowest))
           << (16 - kBehindPoint);
  }
  SOFTDP_INLINE static Dither part(double x, float lowest) {
    const float scale = kHighest - kLowest, between = float(x - std::floor(x)) * scale;
    return Dither(kOnGpu ? between * kFixed : lowest + between);
  }
};

template <>
struct StoredWeights<double> {
  using Word = double;
  using Dither = double;
  static constexpr int kWords = 2;

  SOFTDP_INLINE static Dither lane_dither(std::int64_t, std::int64_t) { return 0; }
  SOFTDP_INLINE static Dither step_dither(std::int64_t) { return 0; }
  SOFTDP_INLINE static Dither dither(Dither, Dither) { return 0; }

  SOFTDP_INLINE static void store(Word* words, int stride, Weights<double> w, Dither) {
    words[0] = w.remove;
    words[stride] = w.remove_and_insert;
  }

  template <Fractions kTheirs>
  SOFTDP_INLINE static Arcs<double> share(const Word* words, int stride, double mass) {
    const double remove = words[kTheirs == Fractions::kSecond ? stride : 0];
    const double both = kTheirs == Fractions::kBoth ? words[stride] : remove;
    return {(1 - both) * mass, remove * mass, (both - remove) * mass};
  }
};

}  // namespace softdp
