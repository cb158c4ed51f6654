// The sweeps of csrc/wavefront/cuda_run.cuh as a driver: one function, forward and backward of any family.
#include "csrc/recurrence/edit.h"
#include "csrc/recurrence/lcs.h"
#include "csrc/recurrence/soft_dtw.h"
#include "csrc/wavefront/cuda_run.cuh"
#include "tests/cuda_on_cpu/request.h"

using namespace softdp;
using namespace softdp::cuda;
using namespace softdp::cuda_on_cpu;

namespace {

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

// "table<k>" is memory; its layout: the offset of the first element, strides of the batch, of rows, of columns, and
// whether it has one row, one column.
Table table_of(const Request& request, int k, int batch_dims) {
  const std::string name = "table" + std::to_string(k);
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

// A plan is asked for piece by piece; what is not said is as plan_for would have it.
Plan adjusted(Plan plan, const Request& request, std::int64_t n, std::int64_t m, int rows) {
  const std::int64_t strips = std::max<std::int64_t>(1, strips_for(n, rows));
  plan.teams = int(request.integer_or("teams", plan.teams));
  if (request.has("warps")) {
    plan.warps = int(request.integer("warps"));
    plan.tiled = false;
    plan.tiles = 1;
    plan.columns = std::max<std::int64_t>(m, 1);
  }
  plan.groups = int((strips + plan.warps - 1) / plan.warps);
  if (request.has("columns")) {
    plan.tiled = true;
    plan.columns = request.integer("columns");
    plan.tiles = std::max(1, int((m + plan.columns - 1) / plan.columns));
  }
  return plan;
}

template <class Family, class T>
void sweep(Family family, const Request& request, Reply& reply) {
  using Word = typename StoredWeights<T>::Word;
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
  const std::int64_t pairs = problem.batch.count;
  for (int k = 0; k < Family::kTables; ++k) problem.tables[k] = table_of(request, k, problem.batch.dims);
  const auto numbers = [&](const std::string& name) {
    const auto given = request.array<const T>(name);
    return PairNumbers<T>{given.data(), request.shape(name).empty() ? 0 : 1};
  };
  problem.gamma = numbers("gamma");
  for (int k = 0; k < Family::kParameters; ++k) problem.parameters[k] = numbers("parameter" + std::to_string(k));
  const bool ragged = request.has("n_lengths");
  if (ragged) {
    problem.n_lengths = request.array<const std::int64_t>("n_lengths").data();
    problem.m_lengths = request.array<const std::int64_t>("m_lengths").data();
  }
  const std::string& gaps = request.text("leading_gaps");
  problem.leading_gaps = gaps == "free"   ? LeadingGaps::kFree
                         : gaps == "paid" ? LeadingGaps::kPaid
                                          : LeadingGaps::kForbidden;

  Card card;
  check(look_at_card(card));
  const Plan plan = adjusted(plan_for(problem, card), request, problem.n, problem.m, kRows<T>);
  const std::int64_t strip_words = std::int64_t(plan.lanes) * kRows<T> * StoredWeights<T>::kWords;
  const auto weights =
      reply.array<Word>("weights", {pairs * strips_for(problem.n, kRows<T>) * problem.m * strip_words});
  const auto scores = reply.array<T>("scores", {pairs});
  Scratch count;
  check(forward(problem, plan, scores.data(), weights.data(), count, {}));
  const auto memory = reply.array<double>("forward_scratch", {std::int64_t(count.bytes / 8 + 2)});
  Scratch scratch{reinterpret_cast<std::byte*>(memory.data())};
  const bool keep = request.integer_or("keep_weights", 1) != 0;
  check(forward(problem, plan, scores.data(), keep ? weights.data() : nullptr, scratch, {}));
  if (scratch.bytes != count.bytes) throw std::runtime_error("scratch was counted wrong");
  if (!keep) return;

  const std::int64_t wanted = request.integer_or("wanted", ~0);
  Gradients<Family, T> gradients;
  for (int k = 0; k < Family::kTables; ++k) {
    if (!(wanted >> k & 1)) continue;
    const Table& table = problem.tables[k];
    const std::vector<std::int64_t> shape = {pairs, table.one_row ? 1 : problem.n, table.one_column ? 1 : problem.m};
    const std::string name = "gradient" + std::to_string(k);
    const auto output = [&](auto zero) {
      const auto to = reply.array<decltype(zero)>(name, shape);
      if (ragged) std::fill(to.begin(), to.end(), zero);
      gradients.tables[k] = to.data();
    };
    table.element == Element::kFloat    ? output(0.0f)
    : table.element == Element::kDouble ? output(0.0)
                                        : output(std::uint16_t(0));
  }
  for (int k = 0; k <= Family::kParameters; ++k) {
    if (!(wanted >> (Family::kTables + k) & 1)) continue;
    T* const to = reply.array<T>(k == 0 ? "gradient_gamma" : "gradient_parameter0", {pairs}).data();
    (k == 0 ? gradients.gamma : gradients.parameters[k - 1]) = to;
  }
  Scratch count_backward;
  const T* const upstream = request.array<const T>("score_gradients").data();
  check(backward(problem, plan, scores.data(), upstream, weights.data(), gradients, count_backward, {}));
  const auto more = reply.array<double>("backward_scratch", {std::int64_t(count_backward.bytes / 8 + 2)});
  Scratch scratch_backward{reinterpret_cast<std::byte*>(more.data())};
  check(backward(problem, plan, scores.data(), upstream, weights.data(), gradients, scratch_backward, {}));
}

template <class T>
void sweep_family(const Request& request, Reply& reply) {
  const std::string& family = request.text("family");
  if (family == "edit") return sweep<Edit, T>({request.integer("minimise") != 0}, request, reply);
  if (family == "soft_dtw") return sweep<SoftDtw, T>({}, request, reply);
  const double gate_width = request.real("gate_width");
  if (gate_width > 0) return sweep<Lcs<true>, T>({gate_width}, request, reply);
  return sweep<Lcs<false>, T>({}, request, reply);
}

void float32(const Request& request, Reply& reply) { sweep_family<float>(request, reply); }
void float64(const Request& request, Reply& reply) { sweep_family<double>(request, reply); }

// The plan for a shape and a card.
void plan(const Request& request, Reply& reply) {
  Card card;
  check(look_at_card(card));
  const Plan plan = softdp::cuda::plan_for(request.integer("pairs"), request.integer("n"), request.integer("m"),
                                           int(request.integer("rows")), std::size_t(request.integer("strip_bytes")),
                                           card.shared_bytes, card.multiprocessors);
  const auto to = reply.array<std::int64_t>("plan", {7});
  const std::int64_t numbers[] = {plan.lanes, plan.warps,   plan.teams, plan.groups,
                                  plan.tiles, plan.columns, plan.tiled};
  std::copy(std::begin(numbers), std::end(numbers), to.begin());
}

}  // namespace

int main() { return serve({{"float32", float32}, {"float64", float64}, {"plan", plan}}); }
