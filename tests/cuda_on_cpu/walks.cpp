// The walks of csrc/wavefront/cuda/walk.cuh as a driver: a forward sweep of a family, and paths by its weights.
#include "csrc/recurrence/families/affine.h"
#include "csrc/recurrence/families/drop_dtw.h"
#include "csrc/recurrence/families/edit.h"
#include "csrc/recurrence/families/monotonic.h"
#include "csrc/recurrence/families/soft_dtw.h"
#include "csrc/wavefront/cuda/walk.cuh"
#include "tests/cuda_on_cpu/request.h"

using namespace softdp;
using cuda::Card;
using cuda::Plan;
using cuda::Scratch;
using cuda_on_cpu::check;
using cuda_on_cpu::Reply;
using cuda_on_cpu::Request;

namespace {

// An array that may be left out.
template <class T>
const T* array_or_null(const Request& request, const std::string& name) {
  return request.has(name) ? request.array<const T>(name).data() : nullptr;
}

const Range* range_or_null(const Request& request, const std::string& name) {
  return reinterpret_cast<const Range*>(array_or_null<std::int64_t>(request, name));
}

// Of contiguous tables [pairs, n, m].
template <class Family, class T>
Problem<Family, T> problem_of(const Request& request) {
  Problem<Family, T> problem;
  const auto& shape = request.shape("table0");
  problem.batch.dims = 1;
  problem.batch.sizes[0] = problem.batch.count = shape[0];
  problem.n = shape[1];
  problem.m = shape[2];
  for (int k = 0; k < Family::kTables; ++k) {
    Table& table = problem.tables[k];
    table.data = request.array<const T>("table" + std::to_string(k)).data();
    table.element = cuda::kElement<T>;
    table.batch_strides[0] = shape[1] * shape[2];
    table.row_stride = shape[2];
    table.column_stride = 1;
    table.one_row = shape[1] == 1;
    table.one_column = shape[2] == 1;
  }
  problem.gamma = {request.array<const T>("gamma").data(), 0};
  problem.n_lengths = array_or_null<std::int64_t>(request, "n_lengths");
  problem.m_lengths = array_or_null<std::int64_t>(request, "m_lengths");
  problem.border = array_or_null<double>(request, "border");
  problem.band = range_or_null(request, "band");
  problem.band_stride = problem.band != nullptr ? problem.n : 0;
  const std::int64_t leading = request.integer("leading_gaps");
  problem.ends = {static_cast<Gaps>(leading % 3), static_cast<Gaps>(leading / 3), true, true};
  return problem;
}

template <class Sweep>
void with_scratch(const std::string& name, Reply& reply, const Sweep& sweep) {
  Scratch count;
  check(sweep(count));
  const auto memory = reply.array<double>(name, {std::int64_t(count.bytes / 8 + 2)});
  Scratch scratch{reinterpret_cast<std::byte*>(memory.data())};
  check(sweep(scratch));
}

template <class Family, class T>
void sweep_and_walk(const Request& request, Reply& reply) {
  using Word = typename StoredWeights<T>::Word;
  const auto problem = problem_of<Family, T>(request);
  const std::int64_t pairs = problem.batch.count, of_pair = request.shape("cells")[1], most = problem.n + problem.m;
  Card card;
  check(cuda::look_at_card(card));
  const Plan plan = cuda::plan_for(problem, card);
  constexpr int places = kPlaces<typename Family::Topology>;
  std::int64_t numel = cuda::weights_numel<T>(pairs, problem.n, problem.m, places);
  if (problem.band != nullptr) {
    with_scratch("band_scratch", reply,
                 [&](Scratch& scratch) { return cuda::columns_in_band(problem, scratch, {}, numel); });
    numel *= cuda::weights_per_column<T>(problem.n, places);
  }
  const auto weights = reply.array<Word>("weights", {numel});
  const Outputs<T> outputs{reply.array<T>("scores", {pairs}).data(), nullptr};
  if (Family::Topology::kEnd == kNoState) std::fill_n(outputs.scores, pairs, T(0));
  with_scratch("forward_scratch", reply,
               [&](Scratch& scratch) { return cuda::forward(problem, plan, outputs, weights.data(), scratch, {}); });
  // As the op has it: of the family that it knows, whatever family the weights are of.
  Problem<std::conditional_t<Family::Topology::kStates == 1, Edit, Family>, T> same;
  same.batch = problem.batch;
  same.n = problem.n;
  same.m = problem.m;
  same.n_lengths = problem.n_lengths;
  same.m_lengths = problem.m_lengths;
  same.band = request.has("walk_band") ? range_or_null(request, "walk_band") : problem.band;
  same.band_stride = problem.band_stride;
  same.ends = problem.ends;
  const std::int64_t* seeds = request.has("seeds") ? request.array<const std::int64_t>("seeds").data() : nullptr;
  const Walks<T> walks{outputs.scores,
                       problem.family.minimise,
                       request.array<const std::int64_t>("cells").data(),
                       of_pair,
                       {seeds},
                       most,
                       reply.array<std::int64_t>("pairs", {pairs, of_pair, most, 2}).data(),
                       reply.array<std::int64_t>("arcs", {pairs, of_pair, most}).data(),
                       reply.array<std::int64_t>("lengths", {pairs, of_pair}).data()};
  with_scratch("walk_scratch", reply, [&](Scratch& scratch) {
    return cuda::walk(same, walks, weights.data(), std::int64_t(weights.size()), scratch, {});
  });
}

template <class T>
void of_family(const Request& request, Reply& reply) {
  if (request.text("family") == "edit") return sweep_and_walk<Edit, T>(request, reply);
  if (request.text("family") == "affine") return sweep_and_walk<AffineEdit, T>(request, reply);
  if (request.text("family") == "drop_dtw") return sweep_and_walk<DropDtw, T>(request, reply);
  if (request.text("family") == "monotonic") return sweep_and_walk<Monotonic, T>(request, reply);
  if (request.text("family") == "local") return sweep_and_walk<LocalEdit, T>(request, reply);
  sweep_and_walk<SoftDtw, T>(request, reply);
}

void philox(const Request& request, Reply& reply) {
  const auto counter = request.array<const std::uint32_t>("counter"), key = request.array<const std::uint32_t>("key");
  const Philox random =
      Philox::of(counter[0], counter[1], counter[2], counter[3], std::uint64_t(key[1]) << 32 | key[0]);
  const auto to = reply.array<std::uint32_t>("words", {4});
  std::copy(std::begin(random.words), std::end(random.words), to.begin());
}

}  // namespace

int main() {
  return cuda_on_cpu::serve({{"float32", of_family<float>}, {"float64", of_family<double>}, {"philox", philox}});
}
