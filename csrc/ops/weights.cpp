// How many words the weights of tables without a band take, for those who allocate none (softdp/registrations.py).
#include <torch/csrc/stable/library.h>

#include "../wavefront/cpu/lanes.h"
#include "../wavefront/cuda/plan.h"
#include "states.h"

namespace softdp {
namespace {

template <class T>
std::int64_t words_for(std::int64_t pairs, std::int64_t n, std::int64_t m, int places, bool cuda) {
  if (cuda) return cuda::weights_numel<T>(pairs, n, m, places);
  return cpu::Layout(pairs, n, m).words_of_all(StoredWeights<T>::kWords * places);
}

std::int64_t weights_numel(std::int64_t pairs, std::int64_t n, std::int64_t m, std::int64_t states, bool wide,
                           bool cuda) {
  return as_op("softdp::weights_numel", [&] {
    for (const std::int64_t size : {pairs, n, m})
      SOFTDP_CHECK(0 <= size && size < kTooLarge, "pairs, n and m must be at least 0 and below 2^62, got ", size);
    const int places = with_states(states, [](auto family) { return kPlaces<typename decltype(family)::Topology>; });
    return wide ? words_for<double>(pairs, n, m, places, cuda) : words_for<float>(pairs, n, m, places, cuda);
  });
}

}  // namespace

// wide: of float64. cuda: as the kernels of a GPU lay them.
STABLE_TORCH_LIBRARY_FRAGMENT(softdp, m) {
  m.def("weights_numel(int pairs, int n, int m, int states, bool wide, bool cuda) -> int");
}

STABLE_TORCH_LIBRARY_IMPL(softdp, CompositeExplicitAutograd, m) { m.impl("weights_numel", TORCH_BOX(&weights_numel)); }

}  // namespace softdp
