#include "walk.h"

#include "cuda.h"

STABLE_TORCH_LIBRARY_IMPL(softdp, CUDA, m) { softdp::implement_walk<softdp::cuda::Device>(m); }
