#include "edit.h"

#include "cpu.h"

STABLE_TORCH_LIBRARY_IMPL(softdp, CPU, m) { softdp::implement_edit<softdp::cpu::Device>(m); }
