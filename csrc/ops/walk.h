// Paths through tables, by the weights that any family's forward op has kept: how many states a cell has, the caller
// says.
#pragma once

#include <torch/csrc/stable/library.h>

#include "../recurrence/walk.h"
#include "call.h"
#include "states.h"

namespace softdp {

// What belongs to the pairs of a first table. Keep `tensor` alive: it may be a contiguous copy.
template <class Device, class X>
const X* of_pairs(std::optional<Tensor>& tensor, const Tensor& first, ScalarType type,
                  const std::vector<std::int64_t>& beyond, const char* name) {
  if (!tensor) return nullptr;
  auto sizes = batch_sizes(first);
  sizes.insert(sizes.end(), beyond.begin(), beyond.end());
  SOFTDP_CHECK(tensor->scalar_type() == type && tensor->device() == first.device() && has_sizes(*tensor, sizes), name,
               " must be ", type == ScalarType::Long ? "int64" : "in the dtype of the computation",
               " on the device of the first table, of shape ", shape_text(sizes), ", got ", shape_text(*tensor));
  tensor = contiguous<Device>(*tensor, name);
  return tensor->template const_data_ptr<X>();
}

// -> pairs (batch..., paths, n + m, 2), arcs (batch..., paths, n + m), lengths (batch..., paths)
template <class Device>
std::tuple<Tensor, Tensor, Tensor> walk(Tensor weights, Tensor first, std::optional<Tensor> n_lengths,
                                        std::optional<Tensor> m_lengths, std::optional<Tensor> band, Tensor score,
                                        std::optional<Tensor> cells, int64_t paths, int64_t states,
                                        int64_t leading_gaps, bool minimise, std::optional<Tensor> seeds) {
  return as_op("softdp::walk", [&] {
    return with_compute_type(first, [&](auto type) {
      using T = decltype(type);
      using Word = typename StoredWeights<T>::Word;
      return with_states(states, [&](auto family) {
        // Weights do not say of which family they are. Of its problem a walk takes sizes, lengths, band and ends alone.
        using Any = decltype(family);
        // (Made before the call is, of which gcc 12 would destroy the parts twice if one of them were refused.)
        const Ends ends = ends_of(leading_gaps, 3);
        const Tensor gamma = Device::new_zeros(first, {}, compute_type(first));
        Inputs inputs{{std::size_t(Any::kTables), {"first", first}}, {}, gamma, {}, n_lengths, m_lengths, band};
        Call<Any> call{std::move(inputs), {}, ends};
        const auto problem = call.template problem<Device, T>();
        check_weights<Device>(problem, weights, first);
        SOFTDP_CHECK(paths >= 0, "paths must be at least 0, got ", paths);
        SOFTDP_CHECK(call.kHasScore || cells, "cells must say in which of ", int(call.kStates), " states paths end");
        const std::int64_t most = sum(problem.n, problem.m);
        std::optional<Tensor> total = score;
        Walks<T> walks{of_pairs<Device, T>(total, first, compute_type(first), {}, "score"),
                       minimise,
                       of_pairs<Device, std::int64_t>(cells, first, ScalarType::Long, {paths, 3}, "cells"),
                       paths,
                       {of_pairs<Device, std::int64_t>(seeds, first, ScalarType::Long, {}, "seeds")},
                       most};
        const auto output = [&](const char* name, std::vector<std::int64_t> beyond, std::int64_t*& to) {
          auto sizes = batch_sizes(first);
          sizes.insert(sizes.end(), beyond.begin(), beyond.end());
          Tensor tensor = call.template new_tensor<Device>(name, sizes, ScalarType::Long);
          to = tensor.template mutable_data_ptr<std::int64_t>();
          return tensor;
        };
        const Tensor pairs = output("the pairs", {paths, most, 2}, walks.path_cells);
        const Tensor arcs = output("the arcs", {paths, most}, walks.arcs);
        const Tensor lengths = output("the lengths", {paths}, walks.steps);
        if (lengths.numel() > 0)
          Device::walk(problem, walks, static_cast<const Word*>(weights.const_data_ptr()), weights.numel(), first);
        return std::tuple(pairs, arcs, lengths);
      });
    });
  });
}

template <class Device>
void implement_walk(torch::stable::detail::StableLibrary& library) {
  library.impl("walk", TORCH_BOX(&walk<Device>));
}

}  // namespace softdp
