// An op on any device: what it was called with, checked and allocated for, before a Device sweeps it.
#pragma once

#include <concepts>

#include "../recurrence/masses.h"
#include "../recurrence/weights.h"
#include "arguments.h"

namespace softdp {

// What an op was called with, but for its options.
struct Inputs {
  std::vector<std::pair<const char*, Tensor>> tables;      // the first has the full shape (..., n, m)
  std::vector<std::pair<const char*, Tensor>> parameters;  // numbers per pair
  Tensor gamma;
  std::optional<Tensor> border, n_lengths, m_lengths, band;
};

// And what these mean, before the type of the computation is known.
template <class Family>
struct Call : Inputs {
  static constexpr int kStates = Family::Topology::kStates;
  static constexpr bool kHasScore = Family::Topology::kEnd != kNoState;

  Family family;
  Ends ends;

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
    for (int k = 0; k < Family::kParameters; ++k)
      problem.parameters[k] = numbers_of<Device, T>(parameters[k].second, first(), parameters[k].first);
    problem.gamma = numbers_of<Device, T>(gamma, first(), "gamma");
    check_gamma(problem.gamma, gamma);
    problem.border = border_of<Device>(border, first(), kStates);
    SOFTDP_CHECK(n_lengths.has_value() == m_lengths.has_value(), "lengths must be given for both sequences");
    problem.n_lengths = lengths_of<Device>(n_lengths, first(), problem.n, "n_lengths");
    problem.m_lengths = lengths_of<Device>(m_lengths, first(), problem.m, "m_lengths");
    SOFTDP_CHECK(Family::Topology::kMayLackArcs || !band, "band must be None: paths of this family have none");
    problem.band = band_of<Device>(band, first());
    problem.band_stride = band && band->dim() > 2 ? problem.n : 0;
    problem.ends = ends;
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
        [&] { return zeros ? Device::new_zeros(first(), sizes, dtype) : Device::new_tensor(first(), sizes, dtype); },
        [&] { return name_and_shape_of_first(); });
  }
};

template <class X, class Family, class T>
concept Device = requires(const Problem<Family, T>& problem, const Outputs<T>& outputs, const Upstream<T>& upstream,
                          const Gradients<Family, T>& gradients, const Kept<T>& kept,
                          typename StoredWeights<T>::Word* weights, std::int64_t numel, T* changes, const Tensor& like,
                          const std::vector<std::int64_t>& sizes, ScalarType dtype) {
  { X::kReadsAllWeights } -> std::convertible_to<bool>;    // a backward's, beyond the lengths
  { X::too_large(problem) } -> std::same_as<const char*>;  // why its places cannot be counted; null: they can
  { X::fault() } -> std::same_as<const char*>;             // why memory may not be had; null: nothing is known
  { X::template weights_numel<T>(problem, like) } -> std::same_as<std::int64_t>;  // words that its weights take
  { X::template fits<T>(problem, numel, like) } -> std::convertible_to<bool>;     // whether so many may be they
  { X::new_tensor(like, sizes, dtype) } -> std::same_as<Tensor>;                  // memory that is written once
  { X::new_zeros(like, sizes, dtype) } -> std::same_as<Tensor>;
  X::forward(problem, outputs, weights, like);
  X::backward(problem, upstream, weights, numel, gradients, like);
  // Along a direction, which is a problem too; changes: of the weights, null where nobody asks.
  X::tangent(problem, problem, kept, weights, numel, outputs, changes, like);
  X::tangent_backward(problem, problem, upstream, weights, numel, changes, gradients, like);
};

template <class X, class Family>
concept DeviceOf = Device<X, Family, float> && Device<X, Family, double>;

// What the boxing of ops takes.
template <std::size_t kCount>
auto tuple_of(const std::vector<Tensor>& tensors) {
  return [&]<std::size_t... k>(std::index_sequence<k...>) {
    return std::tuple(tensors[k]...);
  }(std::make_index_sequence<kCount>());
}

template <class F>
auto with_compute_type(const Tensor& tensor, const F& f) {
  return compute_type(tensor) == ScalarType::Double ? f(double{}) : f(float{});
}

template <class T>
constexpr ScalarType kWeightsType = std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Int;

// -> score (batch...), weights (empty without keep_weights), border (batch..., m + 1 + n; empty without keep_border).
// Where paths end in several states, which the border has before its length, there is no score: it is zeros.
template <class Device, class Family>
  requires DeviceOf<Device, Family>
std::tuple<Tensor, Tensor, Tensor> forward(Call<Family> call, bool keep_weights, bool keep_border) {
  const Tensor& first = call.first();
  return with_compute_type(first, [&](auto type) {
    using T = decltype(type);
    using Word = typename StoredWeights<T>::Word;
    const auto problem = call.template problem<Device, T>();
    Tensor score =
        call.template new_tensor<Device>("the score", batch_sizes(first), compute_type(first), !call.kHasScore);
    const std::int64_t numel = keep_weights ? Device::template weights_numel<T>(problem, first) : 0;
    // Nothing is written beyond the lengths, and where it would be read it must be zeros.
    Tensor weights = call.template new_tensor<Device>("the weights for a gradient", {numel}, kWeightsType<T>,
                                                      call.n_lengths && Device::kReadsAllWeights);
    Word* words = weights.numel() > 0 ? static_cast<Word*>(weights.mutable_data_ptr()) : nullptr;
    const auto sizes = keep_border ? border_sizes(first, call.kStates) : std::vector<std::int64_t>{0};
    Tensor border = call.template new_tensor<Device>("the border", sizes, ScalarType::Double);
    // No path leads beyond the lengths or out of the band.
    if (keep_border && (call.n_lengths || call.band))
      torch::stable::fill_(border, score_of_value(-kInfinity<double>, call.family.minimise));
    const Outputs<T> outputs{score.template mutable_data_ptr<T>(),
                             keep_border ? border.template mutable_data_ptr<double>() : nullptr};
    if (problem.batch.count > 0) Device::forward(problem, outputs, words, first);
    return std::tuple(score, weights, border);
  });
}

template <class Device, class Family, class T>
void check_weights(const Problem<Family, T>& problem, const Tensor& weights, const Tensor& first) {
  SOFTDP_CHECK(weights.dim() == 1 && Device::template fits<T>(problem, weights.numel(), first) &&
                   weights.is_contiguous() && weights.scalar_type() == kWeightsType<T> &&
                   weights.device() == first.device(),
               "weights must be those of a forward call with keep_weights=True");
}

// The outputs of a forward call and their gradients, as a backward sweep begins with them. They are kept for as long.
template <class Device, class Family, class T>
class Given {
 public:
  Given(const Call<Family>& call, const Problem<Family, T>& problem, const Tensor& score, const Tensor& weights,
        const std::optional<Tensor>& border, const std::optional<Tensor>& score_gradient,
        const std::optional<Tensor>& border_gradient)
      : weights_(weights), border_(border), border_gradient_(border_gradient) {
    const Tensor& first = call.first();
    check_weights<Device>(problem, weights, first);
    for (const Tensor* tensor : {score_gradient ? &*score_gradient : &score, &score})
      SOFTDP_CHECK(
          tensor->scalar_type() == compute_type(first) && tensor->device() == first.device() &&
              has_sizes(*tensor, batch_sizes(first)),
          "the score and its gradient must have the batch shape, the device of the first table and the dtype of "
          "the computation, got ",
          shape_text(*tensor));
    score_ = contiguous<Device>(score, "score");
    upstream.scores = score_->template const_data_ptr<T>();
    if (score_gradient) {
      score_gradient_ = contiguous<Device>(*score_gradient, "score_gradient");
      upstream.score_gradients = score_gradient_->template const_data_ptr<T>();
    }
    upstream.border = border_of<Device>(border_, first, Call<Family>::kStates);
    upstream.border_gradients = border_of<Device>(border_gradient_, first, Call<Family>::kStates);
  }

  Upstream<T> upstream;

  const typename StoredWeights<T>::Word* words() const {
    return static_cast<const typename StoredWeights<T>::Word*>(weights_.const_data_ptr());
  }
  std::int64_t numel() const { return weights_.numel(); }

 private:
  Tensor weights_;
  std::optional<Tensor> score_, score_gradient_, border_, border_gradient_;
};

// Gradients, allocated: of each table (summed where it is broadcast along n or m), of each parameter and of gamma (a
// number for each pair), and of the border. Bit k of `wanted` asks for the k-th of these; the others are empty.
template <class Device, class Family, class T>
struct Wanted {
  std::vector<Tensor> outputs;
  Gradients<Family, T> gradients;

  Wanted(const Call<Family>& call, const Problem<Family, T>& problem, std::int64_t wanted) {
    const Tensor& first = call.first();
    const auto output = [&](const std::vector<std::int64_t>& shape, ScalarType dtype, int bit) {
      if (!(wanted >> bit & 1)) return Device::new_tensor(first, {0}, dtype);
      // What no path can reach keeps its zeros; without lengths and a band every element is written.
      return call.template new_tensor<Device>("a gradient", shape, dtype, call.n_lengths || call.band);
    };
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
    outputs.push_back(output(border_sizes(first, call.kStates), ScalarType::Double, bit));
    gradients.border = asked() ? outputs.back().template mutable_data_ptr<double>() : nullptr;
  }
};

// -> the gradients of Wanted
template <class Device, class Family>
std::vector<Tensor> backward(Call<Family> call, const Tensor& score_gradient,
                             const std::optional<Tensor>& border_gradient, const Tensor& score, const Tensor& weights,
                             const Tensor& border, std::int64_t wanted) {
  return with_compute_type(call.first(), [&](auto type) {
    using T = decltype(type);
    const auto problem = call.template problem<Device, T>();
    std::optional<Tensor> given_border;
    if (border_gradient) given_border = border;
    const Given<Device, Family, T> given(call, problem, score, weights, given_border, score_gradient, border_gradient);
    Wanted<Device, Family, T> found(call, problem, wanted);
    if (problem.batch.count > 0)
      Device::backward(problem, given.upstream, given.words(), given.numel(), found.gradients, call.first());
    return found.outputs;
  });
}

// A direction in which an op's inputs change, in the order of its inputs.
struct Direction {
  std::vector<Tensor> tables, parameters;  // that broadcast to the first table's shape; numbers per pair
  Tensor gamma;
  std::optional<Tensor> border;  // none: it stays

  // The problem whose numbers it is. `call` says of which.
  template <class Device, class Family, class T>
  Problem<Family, T> problem(const Call<Family>& call, Problem<Family, T> of) {
    for (int k = 0; k < Family::kTables; ++k) of.tables[k] = table_of(tables[k], call.first(), "a tangent of a table");
    for (int k = 0; k < Family::kParameters; ++k)
      of.parameters[k] = numbers_of<Device, T>(parameters[k], call.first(), "a tangent of a parameter");
    of.gamma = numbers_of<Device, T>(gamma, call.first(), "the tangent of gamma");
    of.border = border_of<Device>(border, call.first(), Call<Family>::kStates);
    return of;
  }
};

// -> how the score and the border (empty without keep_border) change along a direction, and how the gradients of Wanted
// do, which are those of a backward sweep from the given ones.
template <class Device, class Family>
std::vector<Tensor> tangent(Call<Family> call, Direction direction, const std::optional<Tensor>& score_gradient,
                            const std::optional<Tensor>& border_gradient, const Tensor& score, const Tensor& weights,
                            const Tensor& border, std::int64_t wanted, bool keep_border) {
  const Tensor& first = call.first();
  return with_compute_type(first, [&](auto type) {
    using T = decltype(type);
    const auto problem = call.template problem<Device, T>();
    const auto changing = direction.template problem<Device>(call, problem);
    SOFTDP_CHECK(wanted == 0 || score_gradient, "score_gradient must be given where gradients are wanted");
    std::optional<Tensor> given_border;
    if (border_gradient || keep_border) given_border = border;
    const Given<Device, Family, T> given(call, problem, score, weights, given_border, score_gradient, border_gradient);
    std::vector<Tensor> outputs{
        call.template new_tensor<Device>("a tangent", batch_sizes(first), compute_type(first), !call.kHasScore),
        call.template new_tensor<Device>("a tangent",
                                         keep_border ? border_sizes(first, call.kStates) : std::vector<std::int64_t>{0},
                                         ScalarType::Double, true)};
    const Outputs<T> changes{outputs[0].template mutable_data_ptr<T>(),
                             keep_border ? outputs[1].template mutable_data_ptr<double>() : nullptr};
    // As of the weights, nothing is written beyond the lengths.
    Tensor of_weights = call.template new_tensor<Device>(
        "how the weights change", {wanted ? given.numel() / StoredWeights<T>::kWords * kWeightTangents : 0},
        compute_type(first), call.n_lengths && Device::kReadsAllWeights);
    T* const weight_changes = of_weights.numel() > 0 ? of_weights.template mutable_data_ptr<T>() : nullptr;
    Wanted<Device, Family, T> found(call, problem, wanted);
    if (problem.batch.count > 0) {
      const Kept<T> kept{given.upstream.scores, given.upstream.border};
      Device::tangent(problem, changing, kept, given.words(), given.numel(), changes, weight_changes, first);
      if (wanted)
        Device::tangent_backward(problem, changing, given.upstream, given.words(), given.numel(), weight_changes,
                                 found.gradients, first);
    }
    outputs.insert(outputs.end(), found.outputs.begin(), found.outputs.end());
    return outputs;
  });
}

}  // namespace softdp
