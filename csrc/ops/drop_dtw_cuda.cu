#include "drop_dtw.h"

#include "cuda.h"

STABLE_TORCH_LIBRARY_IMPL(softdp, CUDA, m) { softdp::implement<softdp::cuda::Device, softdp::DropDtwOp>(m); }
