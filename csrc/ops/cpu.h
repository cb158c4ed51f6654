// Runs a family of recurrences on CPU tensors: allocate, choose the type of the computation, sweep.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "../wavefront/cpu_run.h"
#include "arguments.h"

namespace softdp::cpu {

struct TorchThreads {
  template <class F>
  void operator()(std::int64_t count, std::int64_t grain, const F& f) const {
    if (count > 0) torch::stable::parallel_for(0, count, grain, f);
  }
};

// What an op was called with, before the type of the computation is known.
template <class Family>
struct Call {
  const char* op;
  Family family;
  std::vector<std::pair<const char*, Tensor>> tables;      // the first has the full shape (..., n, m)
  std::vector<std::pair<const char*, Tensor>> parameters;  // numbers per pair
  Tensor gamma;
  std::optional<Tensor> n_lengths, m_lengths;
  LeadingGaps leading_gaps;

  const Tensor& first() const { return tables[0].second; }

  template <class T>
  Problem<Family, T> problem() {
    Problem<Family, T> problem;
    problem.family = family;
    problem.batch = batch_of(first(), op, tables[0].first);
    problem.n = first().size(-2);
    problem.m = first().size(-1);
    for (int k = 0; k < Family::kTables; ++k)
      problem.tables[k] = table_of(tables[k].second, first(), op, tables[k].first);
    problem.gamma = numbers_of<T>(gamma, first(), op, "gamma");
    check_gamma(problem.gamma, problem.batch.count, op);
    for (int k = 0; k < Family::kParameters; ++k)
      problem.parameters[k] = numbers_of<T>(parameters[k].second, first(), op, parameters[k].first);
    STD_TORCH_CHECK(n_lengths.has_value() == m_lengths.has_value(), op, ": lengths must be given for both sequences");
    problem.n_lengths = lengths_of(n_lengths, first(), problem.n, op, "n_lengths");
    problem.m_lengths = lengths_of(m_lengths, first(), problem.m, op, "m_lengths");
    problem.leading_gaps = leading_gaps;
    return problem;
  }
};

template <class F>
auto with_compute_type(const Tensor& tensor, const F& f) {
  return compute_type(tensor) == ScalarType::Double ? f(double{}) : f(float{});
}

// A tensor that is written once, front to back. The first touch of each page is a good part of the time of a large one,
// so it asks for large pages.
inline Tensor new_tensor(const Tensor& like, const std::vector<std::int64_t>& sizes, ScalarType dtype) {
  Tensor tensor = torch::stable::new_empty(like, sizes, dtype);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t page = std::uintptr_t(2) << 20;
  const std::uintptr_t begin = (reinterpret_cast<std::uintptr_t>(tensor.mutable_data_ptr()) + page - 1) / page * page;
  const std::uintptr_t end =
      (reinterpret_cast<std::uintptr_t>(tensor.mutable_data_ptr()) + tensor.numel() * tensor.element_size()) / page *
      page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // a wish: no is no harm
#endif
  return tensor;
}

template <class T>
std::vector<std::int64_t> weights_sizes(const Layout& layout) {
  return {layout.groups * layout.strips * layout.words_per_strip(StoredWeights<T>::kWords)};
}

template <class T>
constexpr ScalarType kWeightsType = std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Int;

// -> score (batch...), weights (empty without keep_weights)
template <class Family>
std::tuple<Tensor, Tensor> forward(Call<Family> call, bool keep_weights) {
  const Tensor& first = call.first();
  return with_compute_type(first, [&](auto type) {
    using T = decltype(type);
    const auto problem = call.template problem<T>();
    Tensor score = torch::stable::new_empty(first, batch_sizes(first), compute_type(first));
    const Layout layout(problem.batch.count, problem.n, problem.m);
    const auto sizes = keep_weights ? weights_sizes<T>(layout) : std::vector<std::int64_t>{0};
    Tensor weights = new_tensor(first, sizes, kWeightsType<T>);
    if (call.n_lengths) torch::stable::zero_(weights);  // nothing is written beyond the lengths
    using Word = typename StoredWeights<T>::Word;
    Word* words = weights.numel() > 0 ? static_cast<Word*>(weights.mutable_data_ptr()) : nullptr;
    if (problem.batch.count > 0) {
      const TorchThreads parallel;
      const Runner<Family, T, TorchThreads> runner{problem, parallel, int(torch::stable::get_num_threads())};
      runner.forward(score.template mutable_data_ptr<T>(), words);
    }
    return std::tuple(score, weights);
  });
}

// -> the gradient of each table (summed where it is broadcast along n or m), of gamma and of each parameter (a number
// for each pair). Bit k of `wanted` asks for the k-th of these; the others are empty.
template <class Family>
std::vector<Tensor> backward(Call<Family> call, const Tensor& score_gradient, const Tensor& score,
                             const Tensor& weights, std::int64_t wanted) {
  const Tensor& first = call.first();
  return with_compute_type(first, [&](auto type) {
    using T = decltype(type);
    const auto problem = call.template problem<T>();
    const Layout layout(problem.batch.count, problem.n, problem.m);
    const auto sizes = weights_sizes<T>(layout);
    const auto given = weights.sizes();
    STD_TORCH_CHECK(std::equal(given.begin(), given.end(), sizes.begin(), sizes.end()) && weights.is_contiguous() &&
                        weights.scalar_type() == kWeightsType<T>,
                    call.op, ": weights must be those of the forward call with keep_weights=True");
    for (const Tensor* tensor : {&score_gradient, &score}) {
      const auto batch = batch_sizes(first);
      const auto shape = tensor->sizes();
      STD_TORCH_CHECK(tensor->scalar_type() == compute_type(first) &&
                          std::equal(shape.begin(), shape.end(), batch.begin(), batch.end()),
                      call.op, ": the score and its gradient must have the batch shape, got ", shape_text(*tensor));
    }
    const auto output = [&](const std::vector<std::int64_t>& shape, ScalarType dtype, int bit) {
      if (!(wanted >> bit & 1)) return torch::stable::new_empty(first, {0}, dtype);
      // Padding keeps its zeros; without lengths every element is written.
      return call.n_lengths ? torch::stable::new_zeros(first, shape, dtype) : new_tensor(first, shape, dtype);
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
      const TorchThreads parallel;
      const Runner<Family, T, TorchThreads> runner{problem, parallel, int(torch::stable::get_num_threads())};
      const Tensor given_score = torch::stable::contiguous(score);
      const Tensor given_gradient = torch::stable::contiguous(score_gradient);
      runner.backward(given_score.template const_data_ptr<T>(), given_gradient.template const_data_ptr<T>(),
                      static_cast<const typename StoredWeights<T>::Word*>(weights.const_data_ptr()), gradients);
    }
    return outputs;
  });
}

}  // namespace softdp::cpu
