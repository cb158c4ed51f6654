#include "monotonic.h"

#include "cuda.h"

STABLE_TORCH_LIBRARY_IMPL(softdp, CUDA, m) { softdp::implement<softdp::cuda::Device, softdp::MonotonicOp>(m); }
