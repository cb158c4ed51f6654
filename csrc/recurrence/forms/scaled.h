// The running value as exp(V / gamma) = mantissa * 2^exponent, the exponent a number of its own. A cell is then three
// products and a sum: no logarithm, and the exponential of a potential waits for no other cell. The relative rounding
// of a mantissa is a rounding of V by gamma * 2^-24, whatever the size of V.
//
// It holds where gamma > 0 and potentials are finite or -inf, |potential| log2(e) / gamma <= reach(n + m).
#pragma once

#include "../two_float.h"
#include "smoothing.h"

namespace softdp {

// Exponents: integers in float32 work. No vector unit has all of 64-bit integer arithmetic, so whole numbers in float64
// in float64 work.
template <class T>
struct ScaledLimits;
template <>
struct ScaledLimits<float> {
  using Exponent = std::int32_t;
  // Exponents on a path stay within 2^28 of 0. Those where no path leads stay within 2^28 of kNoPath, well below, and
  // an arc of potential -inf, about -1.27e9 (the bits of -inf), takes neither out of the integers.
  static constexpr float kLargest = 4194304.0f, kAll = 268435456.0f;
  static constexpr Exponent kNoPath = -600000000, kSomePath = -300000000, kClosed = -1270874112;
};
template <>
struct ScaledLimits<double> {
  using Exponent = double;
  static constexpr double kLargest = 1e15, kAll = 4e15;
  static constexpr Exponent kNoPath = -1e300, kSomePath = -1e16, kClosed = -kInfinity<double>;
};

template <class T>
struct Scaled {
  using Limits = ScaledLimits<T>;
  using Exponent = typename Limits::Exponent;

  struct alignas(2 * sizeof(T)) Value {
    T mantissa;  // [1, 2)
    Exponent exponent;
  };
  using Arc = Value;  // of an arc the mantissa is in [0.7, 1.42], or 0

  SOFTDP_INLINE static Value origin() { return {T(1), Exponent(0)}; }
  SOFTDP_INLINE static Value no_path() { return {T(1), Limits::kNoPath}; }

  // The largest |potential| log2(e) / gamma of a table with `steps` rows and columns together.
  SOFTDP_INLINE static T reach(std::int64_t steps) {
    const T each = Limits::kAll / T(steps + 2);
    return each < Limits::kLargest ? each : Limits::kLargest;
  }
  // Of a value on a border that was given; a table's own then has half of the exponents.
  SOFTDP_INLINE static bool border_beyond_reach(T value, Smoothness<T> smoothness) {
    return !(absolute(value * smoothness.scale) <= T(Limits::kAll / 2)) && value != -kInfinity<T>;
  }
  // On a GPU by the exponent that weigh() has anyway.
  SOFTDP_INLINE static bool beyond_reach(T potential, Smoothness<T> smoothness, T reach) {
    const T x = kOnGpu ? multiply_add(potential, smoothness.scale, Bits<T>::kRound) - Bits<T>::kRound
                       : rounded_product(potential, smoothness.scale);
    return !(absolute(x) <= reach) && potential != -kInfinity<T>;
  }

  SOFTDP_INLINE static Arc unpaid() { return {T(1), Exponent(0)}; }
  SOFTDP_INLINE static Arc weigh(T potential, Smoothness<T> smoothness) {
    T shifted, fraction;
    if constexpr (kOnGpu) {
      shifted = multiply_add(potential, smoothness.scale, Bits<T>::kRound);
      fraction = multiply_add(potential, smoothness.scale, -(shifted - Bits<T>::kRound));
      fraction = multiply_add(potential, smoothness.scale_low, fraction);
    } else {
      const T x = rounded_product(potential, smoothness.scale);
      const T rounding = product_error(potential, smoothness.scale, x) + potential * smoothness.scale_low;
      shifted = x + Bits<T>::kRound;
      fraction = (x - (shifted - Bits<T>::kRound)) + rounding;
    }
    const T mantissa = exp2_of_fraction(fraction);
    Exponent exponent;
    if constexpr (std::is_same_v<T, float>) {
      exponent = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(Bits<T>::kRound);
    } else {
      exponent = shifted - Bits<T>::kRound;
    }
    return {mantissa > 0 ? mantissa : T(0), exponent};  // it is NaN for -inf
  }
  template <class Family>
  SOFTDP_INLINE static Arc weigh_gap(T potential, Smoothness<T> smoothness) {
    constexpr Exponent halvings = Family::kGapHalvings;
    if constexpr (Family::kGapsAreGates) {
      const bool open = potential == T(0);
      return {open ? T(1) : T(0), open ? -halvings : Limits::kClosed};
    } else {
      const Arc arc = weigh(potential, smoothness);
      return {arc.mantissa, arc.exponent - halvings};
    }
  }

  // Of a value on the border, gathered as a sum.
  SOFTDP_INLINE static Value from(TwoFloat<T> value, Smoothness<T> smoothness) {
    if (value.high == -kInfinity<T>) return no_path();
    const double scale = double(smoothness.scale) + double(smoothness.scale_low);
    const double x = double(value.high) * scale + double(value.low) * scale;
    constexpr double most = double(Limits::kAll);  // beyond reach, where the sum is worth nothing
    const double rounded = (x + Bits<double>::kRound) - Bits<double>::kRound;
    if (!(absolute(rounded) <= most)) return no_path();
    return normalised(T(exp2_of_fraction(x - rounded)), Exponent(rounded) - Bits<T>::kBias);
  }
  SOFTDP_INLINE static double value_of(Value value, Smoothness<T> smoothness) {
    if (!(value.exponent > Limits::kSomePath)) return -kInfinity<double>;
    const double log2 = double(value.exponent) + kLog2E<double> * softdp::log(double(value.mantissa));
    return log2 * kLog2<double> * double(smoothness.gamma);
  }

  template <bool kTwo>
  SOFTDP_INLINE static Cell<Value, T> step(Value diagonal, Value above, Value left, Arcs<Arc> arcs, Smoothness<T>) {
    const Exponent match_exponent = plus(diagonal.exponent, arcs.match.exponent);
    const Exponent remove_exponent = plus(above.exponent, arcs.remove.exponent);
    const Exponent insert_exponent = kTwo ? remove_exponent : plus(left.exponent, arcs.insert.exponent);
    const Exponent gap_exponent = remove_exponent > insert_exponent ? remove_exponent : insert_exponent;
    const Exponent top = match_exponent > gap_exponent ? match_exponent : gap_exponent;
    const Exponent base = floored(separate(plus(top, Exponent(-Bits<T>::kBias))));
    const T match = diagonal.mantissa * arcs.match.mantissa * power_of_two(match_exponent, base);
    const T remove = above.mantissa * arcs.remove.mantissa * power_of_two(remove_exponent, base);
    const T insert = kTwo ? T(0) : left.mantissa * arcs.insert.mantissa * power_of_two(insert_exponent, base);
    const T sum = match + (remove + insert);
    const T inverse_of_sum = inverse(at_least_smallest(sum));  // it is 0 where no arc exists
    return {normalised<kFloorsBase>(sum, base), Weights<T>::from_terms(match, remove, insert, inverse_of_sum)};
  }

 private:
  // Whether exponents are kept from falling below kNoPath in the base that they are sums of: on a GPU that is the sum's
  // own instruction. Where no path leads, terms are then worth nothing beside the base.
  static constexpr bool kFloorsBase = kOnGpu && std::is_same_v<T, float>;

  SOFTDP_INLINE static Exponent floored(Exponent base) {
    return kFloorsBase && base < Limits::kNoPath ? Limits::kNoPath : base;
  }

  // Exponents of what is beyond reach may overflow; they are worth nothing, but they may not be undefined.
  SOFTDP_INLINE static std::int32_t plus(std::int32_t a, std::int32_t b) {
    return std::int32_t(std::uint32_t(a) + std::uint32_t(b));
  }
  SOFTDP_INLINE static std::int32_t minus(std::int32_t a, std::int32_t b) {
    return std::int32_t(std::uint32_t(a) - std::uint32_t(b));
  }
  SOFTDP_INLINE static double plus(double a, double b) { return a + b; }

  // x, or the smallest normal number if that is more: so that 0 / x is 0.
  SOFTDP_INLINE static T at_least_smallest(T x) {
    constexpr T smallest = std::numeric_limits<T>::min();
    if constexpr (std::is_same_v<T, float>) {  // of integers a vector unit has the maximum in one instruction
      const auto bits = std::bit_cast<std::int32_t>(x);
      constexpr auto least = std::bit_cast<std::int32_t>(smallest);
      return std::bit_cast<T>(bits > least ? bits : least);
    } else {
      return x > smallest ? x : smallest;
    }
  }

  // x, where a compiler would otherwise take apart the sum that it is, and add for each of its three uses.
  SOFTDP_INLINE static Exponent separate(Exponent x) {
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
    return __builtin_assoc_barrier(x);
#else
    return x;
#endif
  }

  // 2^(exponent - base - kBias) for what is at most 1; 0 where that is less than the smallest normal number.
  SOFTDP_INLINE static T power_of_two(Exponent exponent, Exponent base) {
    if constexpr (std::is_same_v<T, float>) {
      const Exponent biased = minus(exponent, base);
      return std::bit_cast<T>((biased > 0 ? biased : 0) << Bits<T>::kMantissa);
    } else {
      const T biased = exponent - base;
      const T shifted = (biased > 0 ? biased : T(0)) + Bits<T>::kRound;
      return std::bit_cast<T>((std::bit_cast<std::uint64_t>(shifted)) << Bits<T>::kMantissa);
    }
  }

  // sum * 2^(base + kBias) with a mantissa in [1, 2); no path where the sum is 0 or the exponent far below. kFloored:
  // the base is none far below.
  template <bool kFloored = false>
  SOFTDP_INLINE static Value normalised(T sum, Exponent base) {
    using Integer = typename Bits<T>::Integer;
    constexpr Integer one = Integer(Bits<T>::kBias) << Bits<T>::kMantissa;
    constexpr Integer fraction = (Integer(1) << Bits<T>::kMantissa) - 1;
    const Integer bits = std::bit_cast<Integer>(sum);
    Exponent exponent;
    if constexpr (std::is_same_v<T, float>) {
      exponent = plus(base, Exponent(bits >> Bits<T>::kMantissa));
    } else {
      constexpr Integer two_to_mantissa = Integer(Bits<T>::kBias + Bits<T>::kMantissa) << Bits<T>::kMantissa;
      const T raised = std::bit_cast<T>(Integer((bits >> Bits<T>::kMantissa) | two_to_mantissa));
      exponent = base + (raised - std::bit_cast<T>(two_to_mantissa));
    }
    if constexpr (!kFloored) exponent = exponent > Limits::kNoPath ? exponent : Limits::kNoPath;
    return {std::bit_cast<T>(Integer((bits & fraction) | one)), exponent};
  }
};

}  // namespace softdp
