#include "affine.h"

#include "cuda.h"

STABLE_TORCH_LIBRARY_IMPL(softdp, CUDA, m) { softdp::implement_affine<softdp::cuda::Device>(m); }
