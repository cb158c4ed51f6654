// The CPU's kernels for a family, called as the GPU's are. They are compiled on their own and without sanitizers, under
// which that takes ten minutes.
#pragma once

#include "csrc/recurrence/families/affine.h"
#include "csrc/recurrence/weights.h"
#include "csrc/wavefront/table.h"

namespace softdp::cuda_on_cpu {

template <class T>
struct AffineOnCpu {
  using Word = typename StoredWeights<T>::Word;

  const Problem<AffineEdit, T>& problem;
  int threads;

  std::int64_t weights_numel() const;
  void forward(const Outputs<T>& outputs, Word* weights) const;
  void backward(const Upstream<T>& upstream, const Word* weights, const Gradients<AffineEdit, T>& gradients) const;
  void tangent(const Problem<AffineEdit, T>& direction, const Kept<T>& kept, const Word* weights,
               const Outputs<T>& outputs, T* changes) const;
  void tangent_backward(const Problem<AffineEdit, T>& direction, const Upstream<T>& upstream, const Word* weights,
                        const T* changes, const Gradients<AffineEdit, T>& gradients) const;
};

}  // namespace softdp::cuda_on_cpu
