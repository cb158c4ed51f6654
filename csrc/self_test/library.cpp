// libsoftdp_self_test.so: facts of this build, and whether it computes right here. It runs without torch, and needs no
// Python: softdp/_build.py calls it.
#include "self_test.h"

#define SOFTDP_SHOWN extern "C" __attribute__((visibility("default")))

SOFTDP_SHOWN const char* softdp_torch_version() { return SOFTDP_TORCH_VERSION; }
SOFTDP_SHOWN const char* softdp_compiler() { return SOFTDP_COMPILER " " __VERSION__; }
// What the sweeps use of this processor.
SOFTDP_SHOWN const char* softdp_instruction_set() { return softdp::cpu::instruction_set_name(); }
// Largest errors of soft-DTW's scores (relative) and gradients in float32, beside its recurrence in float64.
SOFTDP_SHOWN void softdp_self_test(int threads, double* score, double* gradient) noexcept {
  const softdp::SelfTest found(threads);
  *score = found.score;
  *gradient = found.gradient;
}
