#include "affine_on_cpu.h"

#include "csrc/wavefront/cpu/run.h"

namespace softdp::cuda_on_cpu {
template <class T>
std::int64_t AffineOnCpu<T>::weights_numel() const {
  return cpu::Runner<AffineEdit, T>{problem, threads}.weights_numel();
}

template <class T>
void AffineOnCpu<T>::forward(const Outputs<T>& outputs, Word* weights) const {
  cpu::Runner<AffineEdit, T>{problem, threads}.forward(outputs, weights);
}

template <class T>
void AffineOnCpu<T>::backward(const Upstream<T>& upstream, const Word* weights,
                              const Gradients<AffineEdit, T>& gradients) const {
  cpu::Runner<AffineEdit, T>{problem, threads}.backward(upstream, weights, gradients);
}

template <class T>
void AffineOnCpu<T>::tangent(const Problem<AffineEdit, T>& direction, const Kept<T>& kept, const Word* weights,
                             const Outputs<T>& outputs, T* changes) const {
  cpu::Runner<AffineEdit, T>{problem, threads}.tangent(direction, kept, weights, outputs, changes);
}

template <class T>
void AffineOnCpu<T>::tangent_backward(const Problem<AffineEdit, T>& direction, const Upstream<T>& upstream,
                                      const Word* weights, const T* changes,
                                      const Gradients<AffineEdit, T>& gradients) const {
  cpu::Runner<AffineEdit, T>{problem, threads}.tangent_backward(direction, upstream, weights, changes, gradients);
}

template struct AffineOnCpu<float>;
template struct AffineOnCpu<double>;

}  // namespace softdp::cuda_on_cpu
