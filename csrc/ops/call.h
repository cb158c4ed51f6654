// An op on any device: what it was called with, checked and allocated for, before a Device sweeps it. A Device offers
//
//   kReadsAllWeights                                        whether a backward reads weights beyond the lengths
//   weights_numel<T>(problem)                               how many words the weights of a problem take
//   new_tensor(like, sizes, dtype)                          memory that is written once
//   forward(problem, outputs, weights, like), backward(problem, upstream, weights, gradients, like)
#pragma once

#include "../recurrence/weights.h"
#include "arguments.h"

namespace softdp {

// What an op was called with, before the type of the computation is known.
template <class Family>
struct Call {
  static constexpr int kStates = Family::Topology::kStates;

  const char* op;
  Family family;
  std::vector<std::pair<const char*, Tensor>> tables;      // the first has the full shape (..., n, m)
  std::vector<std::pair<const char*, Tensor>> parameters;  // numbers per pair
  Tensor gamma;
  std::optional<Tensor> border, n_lengths, m_lengths, band;
  Ends ends;

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
    for (int k = 0; k < Family::kParameters; ++k)
      problem.parameters[k] = numbers_of<T>(parameters[k].second, first(), op, parameters[k].first);
    problem.gamma = numbers_of<T>(gamma, first(), op, "gamma");
    check_gamma(problem.gamma, gamma, op);
    problem.border = border_of(border, first(), kStates, op);
    STD_TORCH_CHECK(n_lengths.has_value() == m_lengths.has_value(), op, ": lengths must be given for both sequences");
    problem.n_lengths = lengths_of(n_lengths, first(), problem.n, op, "n_lengths");
    problem.m_lengths = lengths_of(m_lengths, first(), problem.m, op, "m_lengths");
    problem.band = band_of(band, first(), op);
    problem.band_stride = band && band->dim() > 2 ? problem.n : 0;
    problem.ends = ends;
    return problem;
  }
};

template <class F>
auto with_compute_type(const Tensor& tensor, const F& f) {
  return compute_type(tensor) == ScalarType::Double ? f(double{}) : f(float{});
}

template <class T>
constexpr ScalarType kWeightsType = std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Int;

// -> score (batch...), weights (empty without keep_weights), border (batch..., state, m + 1 + n; empty without
// keep_border)
template <class Device, class Family>
std::tuple<Tensor, Tensor, Tensor> forward(Call<Family> call, bool keep_weights, bool keep_border) {
  const Tensor& first = call.first();
  return with_compute_type(first, [&](auto type) {
    using T = decltype(type);
    using Word = typename StoredWeights<T>::Word;
    const auto problem = call.template problem<T>();
    Tensor score = Device::new_tensor(first, batch_sizes(first), compute_type(first));
    const std::int64_t numel = keep_weights ? Device::template weights_numel<T>(problem) : 0;
    Tensor weights = Device::new_tensor(first, {numel}, kWeightsType<T>);
    // Nothing is written beyond the lengths, and where it would be read it must be zeros.
    if (call.n_lengths && Device::kReadsAllWeights) torch::stable::zero_(weights);
    Word* words = weights.numel() > 0 ? static_cast<Word*>(weights.mutable_data_ptr()) : nullptr;
    Tensor border = Device::new_tensor(
        first, keep_border ? border_sizes(first, Call<Family>::kStates) : std::vector<std::int64_t>{0},
        ScalarType::Double);
    // No path leads beyond the lengths or out of the band.
    if (keep_border && (call.n_lengths || call.band))
      torch::stable::fill_(border, score_of_value(-kInfinity<double>, call.family.minimise));
    Outputs<T> outputs{score.template mutable_data_ptr<T>(),
                       keep_border ? border.template mutable_data_ptr<double>() : nullptr};
    if (problem.batch.count > 0) Device::forward(problem, outputs, words, first);
    return std::tuple(score, weights, border);
  });
}

// -> the gradient of each table (summed where it is broadcast along n or m), of each parameter and of gamma (a number
// for each pair), and of the border. Bit k of `wanted` asks for the k-th of these; the others are empty.
template <class Device, class Family>
std::vector<Tensor> backward(Call<Family> call, const Tensor& score_gradient,
                             const std::optional<Tensor>& border_gradient, const Tensor& score, const Tensor& weights,
                             const Tensor& border, std::int64_t wanted) {
  const Tensor& first = call.first();
  return with_compute_type(first, [&](auto type) {
    using T = decltype(type);
    const auto problem = call.template problem<T>();
    STD_TORCH_CHECK(weights.dim() == 1 && weights.numel() == Device::template weights_numel<T>(problem) &&
                        weights.is_contiguous() && weights.scalar_type() == kWeightsType<T> &&
                        weights.device() == first.device(),
                    call.op, ": weights must be those of the forward call with keep_weights=True");
    for (const Tensor* tensor : {&score_gradient, &score})
      STD_TORCH_CHECK(tensor->scalar_type() == compute_type(first) && tensor->device() == first.device() &&
                          has_sizes(*tensor, batch_sizes(first)),
                      call.op, ": the score and its gradient must have the batch shape, got ", shape_text(*tensor));
    std::optional<Tensor> given_border, given_border_gradient = border_gradient;
    if (border_gradient) given_border = border;
    const Tensor given_score = torch::stable::contiguous(score);
    const Tensor given_gradient = torch::stable::contiguous(score_gradient);
    const Upstream<T> upstream{given_score.template const_data_ptr<T>(), given_gradient.template const_data_ptr<T>(),
                               border_of(given_border, first, Call<Family>::kStates, call.op),
                               border_of(given_border_gradient, first, Call<Family>::kStates, call.op)};
    const auto output = [&](const std::vector<std::int64_t>& shape, ScalarType dtype, int bit) {
      if (!(wanted >> bit & 1)) return Device::new_tensor(first, {0}, dtype);
      // What no path can reach keeps its zeros; without lengths and a band every element is written.
      return call.n_lengths || call.band ? torch::stable::new_zeros(first, shape, dtype)
                                         : Device::new_tensor(first, shape, dtype);
    };
    std::vector<Tensor> outputs;
    Gradients<Family, T> gradients;
    int bit = 0;
    const auto asked = [&] { return wanted >> bit & 1; };
    for (int k = 0; k < Family::kTables; ++k, ++bit) {
      outputs.push_back(output(gradient_sizes(problem.tables[k], first), call.tables[k].second.scalar_type(), bit));
      gradients.tables[k] = asked() ? outputs.back().mutable_data_ptr() : nullptr;
    }
    for (int k = 0; k <= Family::kParameters; ++k, ++bit) {
      outputs.push_back(output(batch_sizes(first), compute_type(first), bit));
      T* data = asked() ? outputs.back().template mutable_data_ptr<T>() : nullptr;
      (k < Family::kParameters ? gradients.parameters[k] : gradients.gamma) = data;
    }
    outputs.push_back(output(border_sizes(first, Call<Family>::kStates), ScalarType::Double, bit));
    gradients.border = asked() ? outputs.back().template mutable_data_ptr<double>() : nullptr;
    if (problem.batch.count > 0)
      Device::backward(problem, upstream, static_cast<const typename StoredWeights<T>::Word*>(weights.const_data_ptr()),
                       gradients, first);
    return outputs;
  });
}

}  // namespace softdp
