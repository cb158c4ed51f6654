#include "affine_on_cpu.h"

#include "csrc/wavefront/cpu/run.h"

namespace softdp::cuda_on_cpu {
namespace {

struct Serially {
  template <class F>
  void operator()(std::int64_t count, std::int64_t /*grain*/, const F& f) const {
    if (count > 0) f(0, count);
  }
};
constexpr Serially serially;

template <class T>
using Runner = cpu::Runner<AffineEdit, T, Serially>;

}  // namespace

template <class T>
std::int64_t AffineOnCpu<T>::weights_numel() const {
  const Runner<T> runner{problem, serially, threads};
  return runner.layout.groups * runner.layout.strips * runner.layout.words_per_strip(runner.kWords);
}

template <class T>
void AffineOnCpu<T>::forward(const Outputs<T>& outputs, Word* weights) const {
  Runner<T>{problem, serially, threads}.forward(outputs, weights);
}

template <class T>
void AffineOnCpu<T>::backward(const Upstream<T>& upstream, const Word* weights,
                              const Gradients<AffineEdit, T>& gradients) const {
  Runner<T>{problem, serially, threads}.backward(upstream, weights, gradients);
}

template struct AffineOnCpu<float>;
template struct AffineOnCpu<double>;

}  // namespace softdp::cuda_on_cpu
