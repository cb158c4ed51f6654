#include "edit.h"

#include "cuda.h"

STABLE_TORCH_LIBRARY_IMPL(softdp, CUDA, m) { softdp::implement_edit<softdp::cuda::Device>(m); }
