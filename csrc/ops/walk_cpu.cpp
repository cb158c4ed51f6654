#include "walk.h"

#include "cpu.h"

STABLE_TORCH_LIBRARY_IMPL(softdp, CPU, m) { softdp::implement_walk<softdp::cpu::Device>(m); }
