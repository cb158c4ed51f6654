// An op on any device: what it was called with, checked and allocated for, before a Device sweeps it. A Device offers
//
//   kReadsAllWeights                                        whether a backward reads weights beyond the lengths
//   too_large(problem)                                      why its places cannot be counted; null where they can
//   fault()                                                 why memory may not be had; null where nothing is known
//   weights_numel<T>(problem)                               how many words the weights of a problem take
//   new_tensor(like, sizes, dtype)                          memory that is written once
//   forward(problem, scores, weights, like), backward(problem, scores, score_gradients, weights, gradients, like)
#pragma once

#include "../recurrence/weights.h"
#include "arguments.h"

namespace softdp {

// What an op was called with, before the type of the computation is known.
template <class Family>
struct Call {
  Family family;
  std::vector<std::pair<const char*, Tensor>> tables;      // the first has the full shape (..., n, m)
  std::vector<std::pair<const char*, Tensor>> parameters;  // numbers per pair
  Tensor gamma;
  std::optional<Tensor> n_lengths, m_lengths;
  LeadingGaps leading_gaps;

  const Tensor& first() const { return tables[0].second; }

  std::string name_and_shape_of_first() const { return name_and_shape(tables[0].first, first()); }

  template <class Device, class T>
  Problem<Family, T> problem() {
    Problem<Family, T> problem;
    problem.family = family;
    problem.batch = batch_of(first(), tables[0].first);
    problem.n = first().size(-2);
    problem.m = first().size(-1);
    const char* const reason = Device::too_large(problem);
    SOFTDP_CHECK(reason == nullptr, name_and_shape_of_first(), " is too large: ", reason);
    for (int k = 0; k < Family::kTables; ++k) problem.tables[k] = table_of(tables[k].second, first(), tables[k].first);
    problem.gamma = numbers_of<Device, T>(gamma, first(), "gamma");
    check_gamma(problem.gamma, gamma);
    for (int k = 0; k < Family::kParameters; ++k)
      problem.parameters[k] = numbers_of<Device, T>(parameters[k].second, first(), parameters[k].first);
    SOFTDP_CHECK(n_lengths.has_value() == m_lengths.has_value(), "lengths must be given for both sequences");
    problem.n_lengths = lengths_of<Device>(n_lengths, first(), problem.n, "n_lengths");
    problem.m_lengths = lengths_of<Device>(m_lengths, first(), problem.m, "m_lengths");
    problem.leading_gaps = leading_gaps;
    return problem;
  }

  // A tensor beside the first table, whose elements are all written unless it is to be `zeros`.
  template <class Device>
  Tensor new_tensor(const char* what, const std::vector<std::int64_t>& sizes, ScalarType dtype,
                    bool zeros = false) const {
    std::int64_t bytes = bytes_of(dtype);
    for (const std::int64_t size : sizes) bytes = product({bytes, size});
    return with_memory<Device>(
        bytes, what,
        [&] {
          return zeros ? torch::stable::new_zeros(first(), sizes, dtype) : Device::new_tensor(first(), sizes, dtype);
        },
        [&] { return name_and_shape_of_first(); });
  }
};

template <class F>
auto with_compute_type(const Tensor& tensor, const F& f) {
  return compute_type(tensor) == ScalarType::Double ? f(double{}) : f(float{});
}

template <class T>
constexpr ScalarType kWeightsType = std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Int;

// -> score (batch...), weights (empty without keep_weights)
template <class Device, class Family>
std::tuple<Tensor, Tensor> forward(Call<Family> call, bool keep_weights) {
  const Tensor& first = call.first();
  return with_compute_type(first, [&](auto type) {
    using T = decltype(type);
    using Word = typename StoredWeights<T>::Word;
    const auto problem = call.template problem<Device, T>();
    Tensor score = call.template new_tensor<Device>("the score", batch_sizes(first), compute_type(first));
    const std::int64_t numel = keep_weights ? Device::template weights_numel<T>(problem) : 0;
    Tensor weights = call.template new_tensor<Device>("the weights for a gradient", {numel}, kWeightsType<T>);
    // Nothing is written beyond the lengths, and where it would be read it must be zeros.
    if (call.n_lengths && Device::kReadsAllWeights) torch::stable::zero_(weights);
    Word* words = weights.numel() > 0 ? static_cast<Word*>(weights.mutable_data_ptr()) : nullptr;
    if (problem.batch.count > 0) Device::forward(problem, score.template mutable_data_ptr<T>(), words, first);
    return std::tuple(score, weights);
  });
}

// -> the gradient of each table (summed where it is broadcast along n or m), of gamma and of each parameter (a number
// for each pair). Bit k of `wanted` asks for the k-th of these; the others are empty.
template <class Device, class Family>
std::vector<Tensor> backward(Call<Family> call, const Tensor& score_gradient, const Tensor& score,
                             const Tensor& weights, std::int64_t wanted) {
  const Tensor& first = call.first();
  return with_compute_type(first, [&](auto type) {
    using T = decltype(type);
    const auto problem = call.template problem<Device, T>();
    const std::int64_t numel = Device::template weights_numel<T>(problem);
    SOFTDP_CHECK(weights.dim() == 1 && weights.numel() == numel && numel < kTooLarge && weights.is_contiguous() &&
                     weights.scalar_type() == kWeightsType<T> && weights.device() == first.device(),
                 "weights must be those of the forward call with keep_weights=True");
    for (const Tensor* tensor : {&score_gradient, &score}) {
      const auto batch = batch_sizes(first);
      const auto shape = tensor->sizes();
      SOFTDP_CHECK(
          tensor->scalar_type() == compute_type(first) && tensor->device() == first.device() &&
              std::equal(shape.begin(), shape.end(), batch.begin(), batch.end()),
          "the score and its gradient must have the batch shape, the device of the first table and the dtype of "
          "the computation, got ",
          shape_text(*tensor));
    }
    const auto output = [&](const std::vector<std::int64_t>& shape, ScalarType dtype, int bit) {
      if (!(wanted >> bit & 1)) return Device::new_tensor(first, {0}, dtype);
      // Padding keeps its zeros; without lengths every element is written.
      return call.template new_tensor<Device>("a gradient", shape, dtype, call.n_lengths.has_value());
    };
    std::vector<Tensor> outputs;
    Gradients<Family, T> gradients;
    for (int k = 0; k < Family::kTables; ++k) {
      outputs.push_back(output(gradient_sizes(problem.tables[k], first), call.tables[k].second.scalar_type(), k));
      gradients.tables[k] = wanted >> k & 1 ? outputs.back().mutable_data_ptr() : nullptr;
    }
    for (int k = 0; k <= Family::kParameters; ++k) {
      const int bit = Family::kTables + k;
      outputs.push_back(output(batch_sizes(first), compute_type(first), bit));
      T* data = wanted >> bit & 1 ? outputs.back().template mutable_data_ptr<T>() : nullptr;
      (k == 0 ? gradients.gamma : gradients.parameters[k - 1]) = data;
    }
    if (problem.batch.count > 0) {
      const Tensor given_score = contiguous<Device>(score, "score");
      const Tensor given_gradient = contiguous<Device>(score_gradient, "score_gradient");
      Device::backward(problem, given_score.template const_data_ptr<T>(), given_gradient.template const_data_ptr<T>(),
                       static_cast<const typename StoredWeights<T>::Word*>(weights.const_data_ptr()), gradients, first);
    }
    return outputs;
  });
}

}  // namespace softdp
