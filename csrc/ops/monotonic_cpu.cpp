#include "monotonic.h"

#include "cpu.h"

STABLE_TORCH_LIBRARY_IMPL(softdp, CPU, m) { softdp::implement<softdp::cpu::Device, softdp::MonotonicOp>(m); }
