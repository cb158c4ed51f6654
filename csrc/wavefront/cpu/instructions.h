// What is swept is compiled for several instruction sets, whole; the best one that this machine has is chosen at run
// time.
#pragma once

#include <cstdlib>
#include <string_view>

#include "../../recurrence/scalar.h"

// What a sweep does once a chunk or a strip is compiled by itself, not into each of the functions that are compiled
// whole for each instruction set: that takes minutes. It has no more than the baseline's instructions then, unless it
// is run_vectorised() itself; and nothing called oftener may be left to the compiler, which may do the same to it.
#define SOFTDP_APART __attribute__((noinline))

namespace softdp::cpu {

// Where all of the code may use fused products there is nothing to choose.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__FMA__)
#define SOFTDP_HAS_CHOICE
#if defined(__clang__)  // which prefers the widest, and ignores the attribute for a word that it does not know
#define SOFTDP_WIDEST ""
#else
#define SOFTDP_WIDEST ",prefer-vector-width=512"
#endif
#define SOFTDP_FOR_AVX512 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma" SOFTDP_WIDEST), flatten))
#define SOFTDP_FOR_AVX2 __attribute__((target("avx2,fma"), flatten))

enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// SOFTDP_INSTRUCTIONS=baseline or avx2 holds back the better ones, to test the others.
inline InstructionSet instruction_set() {
  static const InstructionSet best = [] {
    __builtin_cpu_init();
    const char* name = std::getenv("SOFTDP_INSTRUCTIONS");
    const std::string_view limit = name ? name : "";
    if (limit == "baseline") return InstructionSet::kBaseline;
    if (limit != "avx2" && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
      return InstructionSet::kAvx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::kAvx2;
    return InstructionSet::kBaseline;
  }();
  return best;
}

template <class F>
SOFTDP_FOR_AVX512 void run_avx512(const F& f) {
  f();
}
template <class F>
SOFTDP_FOR_AVX2 void run_avx2(const F& f) {
  f();
}
#endif

// Whether a * b + c is one instruction, and not a call of a library.
inline bool has_fused_products() {
#if defined(SOFTDP_HAS_CHOICE)
  return instruction_set() != InstructionSet::kBaseline;
#else
  return true;
#endif
}

inline const char* instruction_set_name() {
#if defined(SOFTDP_HAS_CHOICE)
  constexpr const char* names[] = {"baseline", "AVX2", "AVX-512"};
  return names[int(instruction_set())];
#else
  return "of the build";
#endif
}

// f(), as the best instructions have it. kBaseline: also where products are not fused.
template <bool kBaseline, class F>
void run_vectorised(const F& f) {
#if defined(SOFTDP_HAS_CHOICE)
  switch (instruction_set()) {
    case InstructionSet::kAvx512:
      return run_avx512(f);
    case InstructionSet::kAvx2:
      return run_avx2(f);
    case InstructionSet::kBaseline:
      if constexpr (kBaseline) f();
      return;
  }
#else
  f();
#endif
}

}  // namespace softdp::cpu
