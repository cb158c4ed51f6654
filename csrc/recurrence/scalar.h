// Scalar functions that the recurrences are made of: branch-free, so that a compiler turns a loop over
// lanes into vector code, and the same on the CPU and on a GPU.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#if defined(__CUDACC__)
#define SOFTDP_INLINE __host__ __device__ __forceinline__
#else
#if !defined(SOFTDP_ALWAYS_INLINE)  // setup.py leaves it empty where only the time to compile counts
#define SOFTDP_ALWAYS_INLINE __attribute__((always_inline))
#endif
#define SOFTDP_INLINE inline SOFTDP_ALWAYS_INLINE
#endif

namespace softdp {

// Whether this is compiled for a GPU, or as for one (tests/cuda_on_cpu). There lanes are threads, which pass over what
// they do not need, and what counts is how many instructions there are; a vector unit counts those that it lacks.
#if defined(__CUDA_ARCH__) || defined(SOFTDP_DEVICE_HEADER)
constexpr bool kOnGpu = true;
#else
constexpr bool kOnGpu = false;
#endif

template <class T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();

template <class T>
constexpr T kUndefined = std::numeric_limits<T>::quiet_NaN();

template <class T>
constexpr T kLog2E = T(1.44269504088896340736);

template <class T>
constexpr T kLog2 = T(0.69314718055994530942);

template <class T>
struct Bits;
template <>
struct Bits<float> {
  using Integer = std::uint32_t;
  static constexpr int kMantissa = 23, kBias = 127;
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves round(x) in the low bits
};
template <>
struct Bits<double> {
  using Integer = std::uint64_t;
  static constexpr int kMantissa = 52, kBias = 1023;
  static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
};

// c0 + c1 x + c2 x^2 + ...
template <class T>
SOFTDP_INLINE T polynomial(T /*x*/, T c) {
  return c;
}
template <class T, class... Rest>
SOFTDP_INLINE T polynomial(T x, T c, Rest... rest) {
  return polynomial(x, rest...) * x + c;
}

// a * b rounded, where a compiler would otherwise fuse it with a sum that follows.
template <class T>
SOFTDP_INLINE T rounded_product(T a, T b) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, float>) return __fmul_rn(a, b);
  return __dmul_rn(a, b);
#elif defined(__clang__)
#pragma clang fp contract(off)
  return a * b;
#else
  return __builtin_assoc_barrier(a * b);
#endif
}

// 2^f for -1/2 <= f <= 1/2 (and a little beyond), exactly 1 at 0. (2^f - 1) / f is interpolated at the Chebyshev nodes:
// relative error 4e-9 and 9e-20 before rounding.
template <class T>
SOFTDP_INLINE T exp2_of_fraction(T f) {
  T tail;
  if constexpr (std::is_same_v<T, float>) {
    tail =
        polynomial(f, 0.693147188f, 0.2402265076f, 0.05550357114f, 0.009618082557f, 0.001339086336f, 0.0001545316295f);
  } else {
    tail = polynomial(f, 0.69314718055994530925, 0.24022650695910071233, 0.055504108664821627039,
                      0.0096181291076284794928, 0.0013333558146406470697, 0.00015403530393370733411,
                      0.000015252733841556772589, 1.321548680870556279e-6, 1.0178057087733941105e-7,
                      7.0548973041554992774e-9, 4.455817908336064493e-10, 2.5729324177362304214e-11);
  }
  return f * tail + T(1);
}

// 2^x for x <= 0; 0 below 2^-127 or 2^-1023, exactly 1 at 0, NaN for NaN.
template <class T>
SOFTDP_INLINE T exp2(T x) {
  using B = Bits<T>;
  using Integer = typename B::Integer;
  constexpr T lowest = -T(B::kBias);  // its exponent field is 0, and so is the result
  const T clamped = x < lowest ? lowest : x;
  const T shifted = clamped + B::kRound;
  const T f = clamped - (shifted - B::kRound);
  const Integer exponent = std::bit_cast<Integer>(shifted) - std::bit_cast<Integer>(B::kRound) + Integer(B::kBias);
  return std::bit_cast<T>(Integer(exponent << B::kMantissa)) * exp2_of_fraction(f);
}

// 1 / x for a normal x; on a GPU in float32 to one unit in the last place, which the rounding of weights to 16 bits has
// room for.
template <class T>
SOFTDP_INLINE T inverse(T x) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, float>) {
    float result;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
  }
#endif
  return T(1) / x;
}

// 16 bits of one number and above them the upper 16 of another: the upper ones, the lower ones.
SOFTDP_INLINE std::uint32_t upper_halves(std::uint32_t one, std::uint32_t other) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(one, other, 0x7632);
#else
  return one >> 16 | (other & 0xffff0000u);
#endif
}
SOFTDP_INLINE std::uint32_t lower_and_upper_half(std::uint32_t one, std::uint32_t other) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(one, other, 0x7610);
#else
  return (one & 0xffffu) | (other & 0xffff0000u);
#endif
}

template <class T>
SOFTDP_INLINE T absolute(T x) {
#if defined(__CUDA_ARCH__)
  return fabs(x);  // which costs nothing there
#endif
  using Integer = typename Bits<T>::Integer;
  return std::bit_cast<T>(Integer(std::bit_cast<Integer>(x) & ~Integer(0) >> 1));
}

SOFTDP_INLINE float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
SOFTDP_INLINE double multiply_add(double a, double b, double c) { return __builtin_fma(a, b, c); }

// What rounding took from a product: a * b - product, where product is a * b rounded.
template <class T>
SOFTDP_INLINE T product_error(T a, T b, T product) {
  return multiply_add(a, b, -product);
}

template <class T>
struct LogAndInverse {
  T log, inverse;
};

// log(1 + r) for -1/4 <= r <= 2, and 1 / (1 + r), for one division: log(1 + r) = 2 atanh(r / (2 + r)), after halving
// 1 + r where r > 1/2. The odd series of atanh beyond its first term is interpolated: relative error 1e-8 and 5e-21.
template <class T>
SOFTDP_INLINE LogAndInverse<T> log1p_and_inverse(T r) {
  const bool high = r > T(0.5);
  const T reduced = high ? T(0.5) * (r - T(1)) : r;
  const T sum = T(1) + r;
  const T denominator = T(2) + reduced;
  const T both = T(1) / (sum * denominator);
  const T s = reduced * (sum * both);
  const T z = s * s;
  T tail;
  if constexpr (std::is_same_v<T, float>) {
    tail = polynomial(z, 0.6666671338f, 0.3997901771f, 0.2995560432f);
  } else {
    tail = polynomial(z, 0.66666666666666666689, 0.39999999999999908878, 0.28571428571489250156, 0.22222222206682106111,
                      0.18181820172758788504, 0.15384472388467799588, 0.1333934633459552905, 0.1161829703188869121,
                      0.12417905987914865013);
  }
  return {(high ? kLog2<T> : T(0)) + (s * z * tail + T(2) * s), denominator * both};
}

template <class T>
SOFTDP_INLINE T log1p(T r) {
  return log1p_and_inverse(r).log;
}

// log(x) for normal positive x; 0 log 0 terms are the caller's to mask.
template <class T>
SOFTDP_INLINE T log(T x) {
  using B = Bits<T>;
  using Integer = typename B::Integer;
  constexpr Integer one = Integer(B::kBias) << B::kMantissa;
  constexpr Integer quarter = Integer(1) << (B::kMantissa - 2);  // splits at 1.5, so that the mantissa is in [3/4, 3/2)
  const Integer bits = std::bit_cast<Integer>(x);
  const Integer exponent = ((bits + 2 * quarter) >> B::kMantissa);
  const T mantissa = std::bit_cast<T>(Integer(bits - (exponent << B::kMantissa) + one));
  // An integer below 2^kMantissa as a float without a conversion instruction.
  constexpr Integer two_to_mantissa = Integer(B::kBias + B::kMantissa) << B::kMantissa;
  const T exponent_as_float =
      std::bit_cast<T>(Integer(exponent | two_to_mantissa)) - std::bit_cast<T>(two_to_mantissa) - T(B::kBias);
  return exponent_as_float * kLog2<T> + log1p(mantissa - T(1));
}

// log(x) of a weight, or 0 where that is 0. On a GPU in float32 by the hardware, whose error, up to 2^-22, is small
// beside what the rounding to 16 bits has done to x.
template <class T>
SOFTDP_INLINE T log_of_weight(T x) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, float>) {
    float log2;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(log2) : "f"(x));
    return x > 0 ? log2 * kLog2<float> : 0.0f;
  }
#endif
  return x > 0 ? log(x) : T(0);
}

// log(1 / (1 + exp(-x)))
template <class T>
SOFTDP_INLINE T log_sigmoid(T x) {
  const T magnitude = x < 0 ? -x : x;
  return (x < 0 ? x : T(0)) - log1p(exp2(-magnitude * kLog2E<T>));
}

// 1 / (1 + exp(-x))
template <class T>
SOFTDP_INLINE T sigmoid(T x) {
  const T small = exp2(-(x < 0 ? -x : x) * kLog2E<T>);
  return (x < 0 ? small : T(1)) / (T(1) + small);
}

}  // namespace softdp
