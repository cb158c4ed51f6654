#include "soft_dtw.h"

#include "cpu.h"

STABLE_TORCH_LIBRARY_IMPL(softdp, CPU, m) { softdp::implement_soft_dtw<softdp::cpu::Device>(m); }
