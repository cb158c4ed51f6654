// Launches a sweep on a stream: no synchronisation, no allocation, nothing that a CUDA graph could not capture; but for
// columns_in_band.
#pragma once

#include "band.cuh"
#include "gradients.cuh"
#include "tangent_border.cuh"

namespace softdp::cuda {

// Memory that the sweeps need beside inputs and outputs, laid out one after another from `begin`; with begin null it
// only counts.
struct Scratch {
  std::byte* begin = nullptr;
  std::int64_t bytes = 0;

  // An array of this many by this many, and so on.
  template <class V>
  V* take(std::initializer_list<std::int64_t> sizes) {
    const std::int64_t at = (bytes + 15) / 16 * 16, own = product({product(sizes), sizeof(V)});
    bytes = std::min(at + own, kTooLarge);
    return begin != nullptr && own > 0 ? reinterpret_cast<V*>(begin + at) : nullptr;
  }
};

// Null, or why the kernels cannot count the places of a problem: those in a table are numbers of 32 bits, which hold
// the sum of a column and the steps around a table, pairs are blocks of a launch, and cells are places in the weights.
template <class Family, class T>
const char* too_large(const Problem<Family, T>& problem) {
  constexpr std::int64_t kMostSteps = (std::int64_t(1) << 30) - 1, kMostPairs = (std::int64_t(1) << 31) - 1;
  const std::int64_t pairs = problem.batch.count, n = problem.n, m = problem.m;
  if (pairs > kMostPairs || n > kMostSteps || m > kMostSteps) return "2^31 pairs or 2^30 steps, or more, on a GPU";
  return weights_numel<T>(pairs, n, m, kPlaces<typename Family::Topology>) < kTooLarge ? nullptr
                                                                                       : "2^62 cells, or more";
}

template <class Family, class T>
int strip_rows(const Problem<Family, T>& problem) {
  return lanes_for(problem.n, kRows<T>) * kRows<T>;
}

// Of sweeps whose strips take so much shared memory.
template <class Family, class T>
Plan plan_for(const Problem<Family, T>& problem, int strip_bytes, const Card& card) {
  return plan_for(problem.batch.count, problem.n, kRows<T>, std::size_t(strip_bytes), card.shared_bytes,
                  card.multiprocessors);
}

template <class Family, class T>
Plan plan_for(const Problem<Family, T>& problem, const Card& card) {
  const int rows = strip_rows(problem);
  const auto forward = ForwardMemory<Family, typename Scaled<T>::Value>::of(problem, rows);
  const auto backward = BackwardMemory<Family, T, false>::of(problem, {}, rows, ~0u);
  return plan_for(problem, std::max(forward.bytes, backward.bytes), card);
}

// Of the two sweeps along a direction, whose strips take more. What they read and keep of the weights lies in the same
// place whatever the plan.
template <class Family, class T>
Plan plan_for(const Problem<Family, T>& problem, const Problem<Family, T>& direction, const Card& card) {
  const int rows = strip_rows(problem);
  const Along<Family, T, true> along{direction};
  const auto tangent = TangentMemory<Family, T>::of(problem, along, rows);
  const auto backward = BackwardMemory<Family, T, true>::of(problem, along, rows, ~0u);
  return plan_for(problem, std::max(tangent.bytes, backward.bytes), card);
}

// Takes and fills `begins` of a sweep's work.
template <class Family, class T>
const char* lay_band(const Problem<Family, T>& problem, Scratch& scratch, Stream stream, const std::int64_t*& begins) {
  BandWork<Family, T> work{problem, nullptr};
  begins = work.begins = scratch.take<std::int64_t>({work.strips() + 1});
  if (begins == nullptr) return nullptr;
  return launch(lay_band_kernel<Family, T>, {1, kBorderThreads, kBorderThreads / kWarp * sizeof(double)}, stream, work);
}

// Of how many columns weights are kept where there is a band. Waits for the stream.
template <class Family, class T>
const char* columns_in_band(const Problem<Family, T>& problem, Scratch& scratch, Stream stream, std::int64_t& columns) {
  const std::int64_t* begins = nullptr;
  if (const char* error = lay_band(problem, scratch, stream, begins)) return error;
  const std::int64_t strips = BandWork<Family, T>{problem, nullptr}.strips();
  return begins == nullptr ? nullptr : read(&columns, begins + strips, sizeof columns, stream);
}

template <class Work>
const char* launch_sweep(void (*kernel)(Work), const Work& work, Stream stream) {
  const Plan& plan = work.plan;
  const std::int64_t counters = Relay::counters_for(work.problem.batch.count, plan);
  if (plan.is_long())
    if (const char* error = clear(work.relay.counters, std::size_t(counters) * sizeof(int), stream)) return error;
  return launch(kernel, {plan.blocks, plan.threads(), std::size_t(work.memory.bytes) * plan.in_block}, stream, work);
}

template <class Family, class T, class Form>
const char* forward_in(const ForwardWork<Family, T, Scaled<T>>& scaled, Stream stream) {
  using Value = typename Form::Value;
  static_assert(sizeof(Value) == sizeof(typename Scaled<T>::Value));  // they share their scratch
  ForwardWork<Family, T, Form> work{scaled.problem,
                                    scaled.plan,
                                    scaled.relay,
                                    {},
                                    scaled.outputs,
                                    scaled.weights,
                                    scaled.begins,
                                    scaled.laid,
                                    reinterpret_cast<Value*>(scaled.above),
                                    reinterpret_cast<Value*>(scaled.left),
                                    scaled.beyond_reach};
  work.memory = ForwardMemory<Family, Value>::of(work.problem, work.plan.lanes * kRows<T>);
  const LaunchShape shape = border_shape(work.problem.batch.count, work.problem.n, work.problem.m);
  if (work.laid)
    if (const char* error = launch(lay_border_kernel<Family, T, Form>, shape, stream, work)) return error;
  auto kernel = forward_kernel<Family, T, Form, false>;
  if constexpr (Family::Topology::kMayLackArcs)
    if (work.problem.band) kernel = forward_kernel<Family, T, Form, true>;
  if (const char* error = launch_sweep(kernel, work, stream)) return error;
  return work.keeps_border() ? launch(put_out_border_kernel<Family, T, Form>, shape, stream, work) : nullptr;
}

// weights: null or [pair][strip][m, or as many as the strip sweeps][place][word][lane][row]. Scratch: `scratch` counts
// what it needs when its memory is null, and nothing is launched. Returns null, or what went wrong.
template <class Family, class T>
const char* forward(const Problem<Family, T>& problem, const Plan& plan, const Outputs<T>& outputs,
                    typename StoredWeights<T>::Word* weights, Scratch& scratch, Stream stream) {
  using Work = ForwardWork<Family, T, Scaled<T>>;
  using Value = typename Work::Value;
  const std::int64_t pairs = problem.batch.count;
  const bool counting = scratch.begin == nullptr;
  Work work{problem, plan, {}, {}, outputs, weights, nullptr, false, nullptr, nullptr, nullptr};
  work.laid = problem.border != nullptr || pays(problem) || work.keeps_border();
  work.beyond_reach = scratch.take<int>({pairs});
  work.relay.counters = scratch.take<int>({Relay::counters_for(pairs, plan)});
  if (work.strips_above() > 1 || work.laid)
    work.above = scratch.take<Value>({pairs, work.strips_above(), Work::kStates, work.above_length()});
  if (work.laid) work.left = scratch.take<Value>({pairs, Work::kStates, problem.n + 1});
  if (problem.band != nullptr && weights != nullptr)
    if (const char* error = lay_band(problem, scratch, stream, work.begins)) return error;
  if (counting || pairs == 0) return nullptr;
  if (const char* error = clear(work.beyond_reach, std::size_t(pairs) * sizeof(int), stream)) return error;
  if (const char* error = forward_in<Family, T, Scaled<T>>(work, stream)) return error;
  return forward_in<Family, T, Exact<T>>(work, stream);
}

constexpr const char* kUnaligned = "the weights must begin at a multiple of 16 bytes";

// weight_changes: along a direction, those that tangent() has put out.
template <bool kTangent, class Family, class T>
const char* sweep_back(const Problem<Family, T>& problem, const Along<Family, T, kTangent>& along, const Plan& plan,
                       const Upstream<T>& upstream, const typename StoredWeights<T>::Word* weights,
                       std::int64_t weights_numel, const T* weight_changes, const Gradients<Family, T>& gradients,
                       Scratch& scratch, Stream stream) {
  if (!is_aligned(weights) || !is_aligned(weight_changes)) return kUnaligned;
  using Work = BackwardWork<Family, T, kTangent>;
  const std::int64_t pairs = problem.batch.count;
  const bool counting = scratch.begin == nullptr;
  Work work{problem, plan,    {},      {}, upstream, gradients, weights, nullptr,       0,
            false,   nullptr, nullptr, {}, {},       {},        along,   weight_changes};
  if (problem.band != nullptr) {
    work.kept = weights_numel / weights_per_column<T>(problem.n, kPlaces<typename Family::Topology>);
    if (const char* error = lay_band(problem, scratch, stream, work.begins)) return error;
  }
  work.settles = pays(problem) || gradients.border != nullptr;
  work.relay.counters = scratch.take<int>({Relay::counters_for(pairs, plan)});
  if (work.strips_above() > 1 || work.settles)
    work.above =
        scratch.take<Upward<T>>({pairs, work.strips_above(), Work::kChannels, row_length<Upward<T>>(problem.m)});
  if (work.settles || work.seeds_border()) work.left = scratch.take<Leftward<T>>({pairs, Work::kChannels, problem.n});
  bool sums = work.settles, joins_strips = false;
  unsigned wanted = 0;
  const std::int64_t strips = strips_for(problem.n, kRows<T>);
  for (int k = 0; k < Family::kTables; ++k) {
    if (gradients.tables[k] == nullptr) continue;
    wanted |= 1u << k;
    if (problem.tables[k].one_row && !problem.tables[k].one_column) {
      work.column_sums[k] = scratch.take<T>({pairs, strips, problem.m});
      joins_strips = strips > 1 || problem.band != nullptr;  // not every strip has every column
    }
    sums = sums || problem.tables[k].one_row || problem.tables[k].one_column;
  }
  const std::int64_t row_sums_begin = (scratch.bytes + 15) / 16 * 16;
  for (int k = 0; k < Family::kTables; ++k)
    if (gradients.tables[k] != nullptr && problem.tables[k].one_column)
      work.row_sums[k] = scratch.take<double>({pairs, problem.n});
  for (int k = 0; k < Work::kNumbers; ++k) {
    if (work.number(k) == nullptr) continue;
    work.number_sums[k] = scratch.take<double>({pairs, problem.n});
    sums = true;
  }
  if (counting || pairs == 0) return nullptr;
  if (scratch.bytes > row_sums_begin)
    if (const char* error = clear(scratch.begin + row_sums_begin, std::size_t(scratch.bytes - row_sums_begin), stream))
      return error;
  work.memory = BackwardMemory<Family, T, kTangent>::of(problem, along, plan.lanes * kRows<T>, wanted);
  const LaunchShape border = border_shape(pairs, problem.n, problem.m);
  if (work.seeds_border())
    if (const char* error = launch(seed_border_kernel<Family, T, kTangent>, border, stream, work)) return error;
  auto kernel = backward_kernel<Family, T, false, kTangent>;
  if constexpr (Family::Topology::kMayLackArcs)
    if (problem.band) kernel = backward_kernel<Family, T, true, kTangent>;
  if (const char* error = launch_sweep(kernel, work, stream)) return error;
  if (joins_strips)
    if (const char* error =
            launch(sum_strips_kernel<Family, T, kTangent>, strips_shape(pairs, strips, problem.m), stream, work))
      return error;
  return sums ? launch(finish_kernel<Family, T, kTangent>, border, stream, work) : nullptr;
}

// gradients: of tables not broadcast along n or m, written for cells within the lengths; of others, sums.
template <class Family, class T>
const char* backward(const Problem<Family, T>& problem, const Plan& plan, const Upstream<T>& upstream,
                     const typename StoredWeights<T>::Word* weights, std::int64_t weights_numel,
                     const Gradients<Family, T>& gradients, Scratch& scratch, Stream stream) {
  return sweep_back<false>(problem, {}, plan, upstream, weights, weights_numel, static_cast<const T*>(nullptr),
                           gradients, scratch, stream);
}

// How the outputs of forward() change along a direction, which only its tables, numbers and border say. weight_changes:
// kWeightTangents numbers for each place and cell, where the weights' are, all that backward sweeps read written; or
// null.
template <class Family, class T>
const char* tangent(const Problem<Family, T>& problem, const Problem<Family, T>& direction, const Plan& plan,
                    const Kept<T>& kept, const typename StoredWeights<T>::Word* weights, std::int64_t weights_numel,
                    const Outputs<T>& outputs, T* weight_changes, Scratch& scratch, Stream stream) {
  if (!is_aligned(weights) || !is_aligned(weight_changes)) return kUnaligned;
  using Work = TangentWork<Family, T>;
  const std::int64_t pairs = problem.batch.count;
  const bool counting = scratch.begin == nullptr;
  Work work{problem, plan, {}, {}, {direction}, kept, outputs, weights, {}, 0, weight_changes, false, nullptr, nullptr};
  work.laid = direction.border != nullptr || pays(problem) || work.keeps_border();
  work.relay.counters = scratch.take<int>({Relay::counters_for(pairs, plan)});
  if (work.strips_above() > 1 || work.laid)
    work.above = scratch.take<T>({pairs, work.strips_above(), Work::kStates, work.above_length()});
  if (work.laid) work.left = scratch.take<T>({pairs, Work::kStates, problem.n + 1});
  if (problem.band != nullptr) {
    work.columns = weights_numel / weights_per_column<T>(problem.n, kPlaces<typename Family::Topology>);
    if (const char* error = lay_band(problem, scratch, stream, work.begins)) return error;
  }
  if (counting || pairs == 0) return nullptr;
  work.memory = TangentMemory<Family, T>::of(problem, work.along, plan.lanes * kRows<T>);
  const LaunchShape border = border_shape(pairs, problem.n, problem.m);
  if (work.laid)
    if (const char* error = launch(lay_tangent_kernel<Family, T>, border, stream, work)) return error;
  auto kernel = tangent_kernel<Family, T, false>;
  if constexpr (Family::Topology::kMayLackArcs)
    if (problem.band) kernel = tangent_kernel<Family, T, true>;
  if (const char* error = launch_sweep(kernel, work, stream)) return error;
  return work.keeps_border() ? launch(put_out_tangent_kernel<Family, T>, border, stream, work) : nullptr;
}

// How the results of backward() change along it.
template <class Family, class T>
const char* tangent_backward(const Problem<Family, T>& problem, const Problem<Family, T>& direction, const Plan& plan,
                             const Upstream<T>& upstream, const typename StoredWeights<T>::Word* weights,
                             std::int64_t weights_numel, const T* weight_changes, const Gradients<Family, T>& gradients,
                             Scratch& scratch, Stream stream) {
  return sweep_back<true>(problem, {direction}, plan, upstream, weights, weights_numel, weight_changes, gradients,
                          scratch, stream);
}

}  // namespace softdp::cuda
