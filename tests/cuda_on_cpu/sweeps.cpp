// The sweeps of csrc/wavefront/cuda/run.cuh as a driver: one function, forward and backward of a family, and both along
// a direction if there is one. Each family has a driver of its own, or they would take too long to compile:
// -DSOFTDP_EDIT, ...
#include "csrc/recurrence/families/affine.h"
#include "csrc/recurrence/families/drop_dtw.h"
#include "csrc/recurrence/families/edit.h"
#include "csrc/recurrence/families/lcs.h"
#include "csrc/recurrence/families/monotonic.h"
#include "csrc/recurrence/families/soft_dtw.h"
#include "csrc/wavefront/cuda/run.cuh"
#include "tests/cuda_on_cpu/request.h"

using namespace softdp;
using cuda::Card;
using cuda::Plan;
using cuda::Scratch;
using cuda_on_cpu::check;
using cuda_on_cpu::Reply;
using cuda_on_cpu::Request;

namespace {

// ---- the problem that is asked for ----

Element element_named(const std::string& name) {
  return name == "float32"   ? Element::kFloat
         : name == "float64" ? Element::kDouble
         : name == "float16" ? Element::kHalf
                             : Element::kBFloat16;
}

const void* memory_of(const Request& request, const std::string& name, Element element) {
  switch (element) {
    case Element::kFloat:
      return request.array<const float>(name).data();
    case Element::kDouble:
      return request.array<const double>(name).data();
    default:
      return request.array<const std::uint16_t>(name).data();
  }
}

// A table's name is its memory's; its layout: the offset of the first element, strides of the batch, of rows, of
// columns, and whether it has one row, one column.
Table table_of(const Request& request, const std::string& name, int batch_dims) {
  const auto layout = request.array<const std::int64_t>(name + "_layout");
  Table table;
  table.element = element_named(request.text(name + "_element"));
  const std::size_t size = table.element == Element::kFloat ? 4 : table.element == Element::kDouble ? 8 : 2;
  table.data = static_cast<const std::byte*>(memory_of(request, name, table.element)) + layout[0] * size;
  for (int d = 0; d < batch_dims; ++d) table.batch_strides[d] = layout[1 + d];
  table.row_stride = layout[1 + batch_dims];
  table.column_stride = layout[2 + batch_dims];
  table.one_row = layout[3 + batch_dims] != 0;
  table.one_column = layout[4 + batch_dims] != 0;
  return table;
}

// An array that may be left out.
template <class T>
const T* array_or_null(const Request& request, const std::string& name) {
  return request.has(name) ? request.array<const T>(name).data() : nullptr;
}

const Range* range_or_null(const Request& request, const std::string& name) {
  return reinterpret_cast<const Range*>(array_or_null<std::int64_t>(request, name));
}

// What a direction has, too: its names begin with "direction_".
template <class Family, class T>
void read_numbers(Problem<Family, T>& problem, const Request& request, const std::string& prefix) {
  for (int k = 0; k < Family::kTables; ++k)
    problem.tables[k] = table_of(request, prefix + "table" + std::to_string(k), problem.batch.dims);
  const auto numbers = [&](const std::string& name) {
    const auto given = request.array<const T>(prefix + name);
    return PairNumbers<T>{given.data(), request.shape(prefix + name).empty() ? 0 : 1};
  };
  problem.gamma = numbers("gamma");
  for (int k = 0; k < Family::kParameters; ++k) problem.parameters[k] = numbers("parameter" + std::to_string(k));
  problem.border = array_or_null<double>(request, prefix + "border");
}

template <class Family, class T>
Problem<Family, T> problem_of(Family family, const Request& request) {
  Problem<Family, T> problem;
  problem.family = family;
  const auto sizes = request.array<const std::int64_t>("sizes");  // batch..., n, m
  problem.batch.dims = int(sizes.size()) - 2;
  for (int d = 0; d < problem.batch.dims; ++d) {
    problem.batch.sizes[d] = sizes[d];
    problem.batch.count *= sizes[d];
  }
  problem.n = sizes[sizes.size() - 2];
  problem.m = sizes[sizes.size() - 1];
  read_numbers(problem, request, "");
  problem.n_lengths = array_or_null<std::int64_t>(request, "n_lengths");
  problem.m_lengths = array_or_null<std::int64_t>(request, "m_lengths");
  const std::int64_t leading = request.integer("leading_gaps"), trailing = request.integer("trailing_gaps");
  problem.ends = {static_cast<Gaps>(leading % 3), static_cast<Gaps>(leading / 3), trailing % 2 == 1, trailing / 2 == 1};
  problem.band = range_or_null(request, "band");
  problem.band_stride = problem.band != nullptr && request.shape("band").size() > 2 ? problem.n : 0;
  return problem;
}

// ---- who sweeps it ----

// Long tables may be swept by any number of blocks.
Plan adjusted(Plan plan, const Request& request) {
  if (plan.is_long()) plan.blocks = request.integer_or("blocks", plan.blocks);
  return plan;
}

template <class Family, class T>
class Gpu {
 public:
  using Word = typename StoredWeights<T>::Word;

  Gpu(const Problem<Family, T>& problem, const Request& request, Reply& reply)
      : problem_(problem), request_(request), reply_(reply) {
    check(cuda::look_at_card(card_));
    plan_ = adjusted(cuda::plan_for(problem, card_), request);
  }

  std::int64_t weights_numel() {
    constexpr int places = kPlaces<typename Family::Topology>;
    if (problem_.band == nullptr) return cuda::weights_numel<T>(problem_.batch.count, problem_.n, problem_.m, places);
    std::int64_t columns = 0;
    run("band_scratch", [&](Scratch& scratch) { return cuda::columns_in_band(problem_, scratch, {}, columns); });
    return columns * cuda::weights_per_column<T>(problem_.n, places);
  }

  void forward(const Outputs<T>& outputs, Word* weights) {
    run("forward_scratch",
        [&](Scratch& scratch) { return cuda::forward(problem_, plan_, outputs, weights, scratch, {}); });
  }

  void backward(const Upstream<T>& upstream, std::span<const Word> weights, const Gradients<Family, T>& gradients) {
    run("backward_scratch", [&](Scratch& scratch) {
      return cuda::backward(problem_, plan_, upstream, weights.data(), std::int64_t(weights.size()), gradients, scratch,
                            {});
    });
  }

  void tangent(const Problem<Family, T>& direction, const Kept<T>& kept, std::span<const Word> weights,
               const Outputs<T>& outputs, T* changes) {
    run("tangent_scratch", [&](Scratch& scratch) {
      return cuda::tangent(problem_, direction, plan_along(direction), kept, weights.data(),
                           std::int64_t(weights.size()), outputs, changes, scratch, {});
    });
  }

  void tangent_backward(const Problem<Family, T>& direction, const Upstream<T>& upstream, std::span<const Word> weights,
                        const T* changes, const Gradients<Family, T>& gradients) {
    run("tangent_backward_scratch", [&](Scratch& scratch) {
      return cuda::tangent_backward(problem_, direction, plan_along(direction), upstream, weights.data(),
                                    std::int64_t(weights.size()), changes, gradients, scratch, {});
    });
  }

 private:
  Plan plan_along(const Problem<Family, T>& direction) const {
    return adjusted(cuda::plan_for(problem_, direction, card_), request_);
  }

  template <class Sweep>
  void run(const std::string& name, const Sweep& sweep) {
    Scratch count;
    check(sweep(count));
    const auto memory = reply_.array<double>(name, {std::int64_t(count.bytes / 8 + 2)});
    Scratch scratch{reinterpret_cast<std::byte*>(memory.data())};
    check(sweep(scratch));
    if (scratch.bytes != count.bytes) throw std::runtime_error("scratch was counted wrong");
  }

  const Problem<Family, T>& problem_;
  const Request& request_;
  Reply& reply_;
  Card card_;
  Plan plan_;
};

// ---- the sweeps ----

// Memory for the gradients that are wanted, whose names have this prefix; where lengths or a band leave some of it out,
// it has its zeros already.
template <class Family, class T>
Gradients<Family, T> gradients_of(const Problem<Family, T>& problem, const Request& request, Reply& reply,
                                  const std::string& prefix) {
  const std::int64_t pairs = problem.batch.count;
  const bool ragged = problem.n_lengths != nullptr || problem.band != nullptr;  // not everything is written
  const std::int64_t wanted = request.integer_or("wanted", ~0);
  Gradients<Family, T> gradients;
  int bit = 0;
  const auto output = [&](const std::string& name, const std::vector<std::int64_t>& shape, auto zero) {
    using E = decltype(zero);
    if (!(wanted >> bit++ & 1)) return static_cast<E*>(nullptr);
    const auto to = reply.array<E>(prefix + "gradient_" + name, shape);
    if (ragged) std::fill(to.begin(), to.end(), zero);
    return to.data();
  };
  for (int k = 0; k < Family::kTables; ++k) {
    const Table& table = problem.tables[k];
    const std::vector<std::int64_t> shape = {pairs, table.one_row ? 1 : problem.n, table.one_column ? 1 : problem.m};
    const std::string name = "table" + std::to_string(k);
    if (table.element == Element::kFloat) {
      gradients.tables[k] = output(name, shape, 0.0f);
    } else if (table.element == Element::kDouble) {
      gradients.tables[k] = output(name, shape, 0.0);
    } else {
      gradients.tables[k] = output(name, shape, std::uint16_t(0));
    }
  }
  for (int k = 0; k < Family::kParameters; ++k)
    gradients.parameters[k] = output("parameter" + std::to_string(k), {pairs}, T(0));
  gradients.gamma = output("gamma", {pairs}, T(0));
  gradients.border = output("border", {pairs, Family::Topology::kStates, problem.border_length()}, 0.0);
  return gradients;
}

template <class Family, class T>
void sweep(Family family, const Request& request, Reply& reply) {
  using Word = typename StoredWeights<T>::Word;
  auto problem = problem_of<Family, T>(family, request);
  const std::int64_t pairs = problem.batch.count;
  const bool ragged = problem.n_lengths != nullptr || problem.band != nullptr;  // not everything is written
  const std::vector<std::int64_t> border_shape = {pairs, Family::Topology::kStates, problem.border_length()};
  Gpu<Family, T> device(problem, request, reply);

  const auto weights = reply.array<Word>("weights", {device.weights_numel()});
  Outputs<T> outputs;
  outputs.scores = reply.array<T>("scores", {pairs}).data();
  if (request.integer_or("keep_border", 0) != 0) {
    const auto border = reply.array<double>("border", border_shape);
    if (ragged) std::fill(border.begin(), border.end(), score_of_value(-kInfinity<double>, family.minimise));
    outputs.border = border.data();
  }
  const bool keep = request.integer_or("keep_weights", 1) != 0;
  device.forward(outputs, keep ? weights.data() : nullptr);
  if (!keep) return;

  const auto gradients = gradients_of(problem, request, reply, "");
  const Upstream<T> upstream{outputs.scores, request.array<const T>("score_gradients").data(), outputs.border,
                             array_or_null<double>(request, "border_gradients")};
  if (request.has("backward_band")) problem.band = range_or_null(request, "backward_band");
  device.backward(upstream, weights, gradients);
  if (!request.has("direction_gamma")) return;

  Problem<Family, T> direction = problem;
  read_numbers(direction, request, "direction_");
  T* changes = nullptr;
  if (request.integer_or("keep_changes", 1) != 0) {
    const auto all =
        reply.array<T>("weight_changes", {std::int64_t(weights.size()) / StoredWeights<T>::kWords * kWeightTangents});
    changes = all.data();
  }
  Outputs<T> tangents;
  tangents.scores = reply.array<T>("tangent_scores", {pairs}).data();
  if (outputs.border != nullptr) {
    const auto border = reply.array<double>("tangent_border", border_shape);
    std::fill(border.begin(), border.end(), 0.0);
    tangents.border = border.data();
  }
  device.tangent(direction, {outputs.scores, outputs.border}, weights, tangents, changes);
  if (changes != nullptr)
    device.tangent_backward(direction, upstream, weights, changes, gradients_of(problem, request, reply, "tangent_"));
}

template <class T>
void sweep_family(const Request& request, Reply& reply) {
#if defined(SOFTDP_EDIT)
  sweep<Edit, T>({request.integer("minimise") != 0}, request, reply);
#elif defined(SOFTDP_SOFT_DTW)
  sweep<SoftDtw, T>({}, request, reply);
#elif defined(SOFTDP_MONOTONIC)
  sweep<Monotonic, T>({}, request, reply);
#elif defined(SOFTDP_LCS)
  const double gate_width = request.real("gate_width");
  if (gate_width > 0) return sweep<Lcs<true>, T>({gate_width}, request, reply);
  sweep<Lcs<false>, T>({}, request, reply);
#elif defined(SOFTDP_AFFINE)
  sweep<AffineEdit, T>({}, request, reply);
#elif defined(SOFTDP_LOCAL)
  sweep<LocalEdit, T>({}, request, reply);
#elif defined(SOFTDP_DROP_DTW)
  const bool one_to_many = request.integer_or("one_to_many", 1) != 0;
  sweep<DropDtw, T>({one_to_many, request.integer_or("many_to_one", 1) != 0}, request, reply);
#endif
}

// The plan for a shape and a card.
void plan(const Request& request, Reply& reply) {
  Card card;
  check(cuda::look_at_card(card));
  const Plan plan =
      cuda::plan_for(request.integer("pairs"), request.integer("n"), int(request.integer("rows")),
                     std::size_t(request.integer("strip_bytes")), card.shared_bytes, card.multiprocessors);
  const auto to = reply.array<std::int64_t>("plan", {4});
  const std::int64_t numbers[] = {plan.lanes, plan.in_block, plan.strips, plan.blocks};
  std::copy(std::begin(numbers), std::end(numbers), to.begin());
}

std::map<std::string, cuda_on_cpu::Function> functions() {
  return {{"float32", sweep_family<float>},
#if !defined(SOFTDP_RACES)  // which are looked for in float32
          {"float64", sweep_family<double>},
#endif
          {"plan", plan}};
}

}  // namespace

int main() { return cuda_on_cpu::serve(functions()); }
