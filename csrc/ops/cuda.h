// Runs a family of recurrences on CUDA tensors: on their device, on its current stream, without waiting for it.
#pragma once

#include <torch/csrc/stable/accelerator.h>

#include "../wavefront/cuda/run.cuh"
#include "call.h"

// Of libtorch_cuda; null where torch has no CUDA, where this library can be looked at but not used.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(std::int32_t device_index,
                                                                                   void** stream);

namespace softdp::cuda {

inline void check(const char* error) { STD_TORCH_CHECK(error == nullptr, "softdp: CUDA: ", error); }

struct Device {
  static constexpr bool kReadsAllWeights = false;

  template <class T, class Family>
  static std::int64_t weights_numel(const Problem<Family, T>& problem) {
    const int lanes = lanes_for(problem.n, kRows<T>);
    return problem.batch.count * strips_for(problem.n, kRows<T>) * lanes * kRows<T> * problem.m *
           StoredWeights<T>::kWords * Family::Topology::kStates;
  }

  static Tensor new_tensor(const Tensor& like, const std::vector<std::int64_t>& sizes, ScalarType dtype) {
    return torch::stable::new_empty(like, sizes, dtype);
  }

  template <class Family, class T>
  static void forward(const Problem<Family, T>& problem, const Outputs<T>& outputs,
                      typename StoredWeights<T>::Word* weights, const Tensor& like) {
    launch(problem, like, [&](const Plan& plan, Scratch& scratch, Stream stream) {
      return cuda::forward(problem, plan, outputs, weights, scratch, stream);
    });
  }

  template <class Family, class T>
  static void backward(const Problem<Family, T>& problem, const Upstream<T>& upstream,
                       const typename StoredWeights<T>::Word* weights, const Gradients<Family, T>& gradients,
                       const Tensor& like) {
    launch(problem, like, [&](const Plan& plan, Scratch& scratch, Stream stream) {
      return cuda::backward(problem, plan, upstream, weights, gradients, scratch, stream);
    });
  }

 private:
  // sweep(plan, scratch, stream): called once to count its scratch memory, and once to launch.
  template <class Family, class T, class Sweep>
  static void launch(const Problem<Family, T>& problem, const Tensor& like, const Sweep& sweep) {
    STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream != nullptr, "softdp: this torch has no CUDA");
    // Places in a table are numbers of 32 bits, its offsets are not.
    STD_TORCH_CHECK(problem.n < (std::int64_t(1) << 30) && problem.m < (std::int64_t(1) << 30),
                    "softdp: CUDA: n and m must be below 2^30, got ", problem.n, " and ", problem.m);
    const torch::stable::accelerator::DeviceGuard guard(like.get_device_index());
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(like.get_device_index(), &stream));
    Card card;
    check(look_at_card(card));
    const Plan plan = plan_for(problem, card);
    Scratch count;
    check(sweep(plan, count, static_cast<Stream>(stream)));
    // Given back at the end of this function to an allocator that keeps it for what the stream does next.
    Tensor memory = torch::stable::new_empty(like, {std::int64_t(count.bytes) + 16}, ScalarType::Byte);
    Scratch scratch{static_cast<std::byte*>(memory.mutable_data_ptr())};
    check(sweep(plan, scratch, static_cast<Stream>(stream)));
  }
};

}  // namespace softdp::cuda
