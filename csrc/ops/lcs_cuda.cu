#include "lcs.h"

#include "cuda.h"

STABLE_TORCH_LIBRARY_IMPL(softdp, CUDA, m) { softdp::implement_lcs<softdp::cuda::Device>(m); }
