// How the weights of a cell are stored: 4 bytes in float32 work (two 16-bit fractions), 16 bytes in float64 work.
#pragma once

#include "smooth_max.h"

namespace softdp {

template <class T>
struct StoredWeights;

template <>
struct StoredWeights<float> {
  using Word = std::uint32_t;
  static constexpr int kWords = 1;
  static constexpr float kOne = 65535.0f;

  SOFTDP_INLINE static Word fraction(float x) {
    return Word(std::int32_t((x > 0 ? x : 0.0f) * kOne + 0.5f));  // NaN becomes 0
  }

  // Rounding the running sums, not the weights, keeps zero weights zero and the total exactly 1.
  SOFTDP_INLINE static void store(Word* words, int /*stride*/, Weights<float> w) {
    *words = fraction(w.remove) | (fraction(w.remove_and_insert) << 16);
  }

  // The weights times `mass`.
  SOFTDP_INLINE static Arcs<float> share(const Word* words, int /*stride*/, float mass) {
    const auto remove = std::int32_t(*words & 0xffffu);
    const auto both = std::int32_t(*words >> 16);
    const float unit = mass * (1.0f / kOne);
    return {unit * float(65535 - both), unit * float(remove), unit * float(both - remove)};
  }
};

template <>
struct StoredWeights<double> {
  using Word = double;
  static constexpr int kWords = 2;

  SOFTDP_INLINE static void store(Word* words, int stride, Weights<double> w) {
    words[0] = w.remove;
    words[stride] = w.remove_and_insert;
  }

  SOFTDP_INLINE static Arcs<double> share(const Word* words, int stride, double mass) {
    const Arcs<double> weights = Weights<double>{words[0], words[stride]}.arcs();
    return {weights.match * mass, weights.remove * mass, weights.insert * mass};
  }
};

}  // namespace softdp
