#include "affine.h"

#include "cpu.h"

STABLE_TORCH_LIBRARY_IMPL(softdp, CPU, m) { softdp::implement_affine<softdp::cpu::Device>(m); }
