// Facts of the CUDA library; its kernels follow.
#include <torch/csrc/stable/library.h>

#include <string>

namespace softdp {
namespace {

std::string cuda_architectures() { return SOFTDP_CUDA_ARCHITECTURES; }

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(softdp, m) { m.def("cuda_architectures() -> str"); }

STABLE_TORCH_LIBRARY_IMPL(softdp, CompositeExplicitAutograd, m) {
  m.impl("cuda_architectures", TORCH_BOX(&cuda_architectures));
}

}  // namespace softdp
