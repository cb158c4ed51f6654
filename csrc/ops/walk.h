// Paths through tables, by the weights that any family's forward op has kept.
#pragma once

#include <torch/csrc/stable/library.h>

#include "../recurrence/families/edit.h"
#include "../recurrence/walk.h"
#include "call.h"

namespace softdp {

// -> pairs (batch..., paths, n + m, 2), arcs (batch..., paths, n + m), lengths (batch..., paths)
template <class Device>
std::tuple<Tensor, Tensor, Tensor> walk(Tensor weights, Tensor first, std::optional<Tensor> n_lengths,
                                        std::optional<Tensor> m_lengths, std::optional<Tensor> band, Tensor cells,
                                        int64_t leading_gaps, std::optional<Tensor> seeds) {
  return as_op("softdp::walk", [&] {
    return with_compute_type(first, [&](auto type) {
      using T = decltype(type);
      using Word = typename StoredWeights<T>::Word;
      // Weights do not say of which family they are. Of its problem a walk takes sizes, lengths, band and ends alone.
      Call<Edit> call{{},
                      {{"first", first}, {"first", first}, {"first", first}},
                      {},
                      Device::new_zeros(first, {}, compute_type(first)),
                      {},
                      n_lengths,
                      m_lengths,
                      band,
                      ends_of(leading_gaps, 3)};
      const auto problem = call.template problem<Device, T>();
      check_weights<Device>(problem, weights, first);
      auto sizes = batch_sizes(first);
      const std::int64_t of_pair = cells.dim() >= 2 ? cells.size(-2) : 0;
      sizes.insert(sizes.end(), {of_pair, 2});
      SOFTDP_CHECK(
          cells.scalar_type() == ScalarType::Long && cells.device() == first.device() && has_sizes(cells, sizes),
          "cells must be int64 on the device of the first table, of shape (..., paths, 2), got ", shape_text(cells));
      cells = contiguous<Device>(cells, "cells");
      const std::int64_t* seed_of_pair = nullptr;
      if (seeds) {
        SOFTDP_CHECK(seeds->scalar_type() == ScalarType::Long && seeds->device() == first.device() &&
                         has_sizes(*seeds, batch_sizes(first)),
                     "seeds must be int64 on the device of the first table, one for each pair, got ",
                     shape_text(*seeds));
        seeds = contiguous<Device>(*seeds, "seeds");
        seed_of_pair = seeds->template const_data_ptr<std::int64_t>();
      }
      const std::int64_t most = sum(problem.n, problem.m);
      sizes.back() = most;
      Tensor arcs = call.template new_tensor<Device>("the arcs", sizes, ScalarType::Long);
      sizes.push_back(2);
      Tensor pairs = call.template new_tensor<Device>("the pairs", sizes, ScalarType::Long);
      sizes.resize(sizes.size() - 2);
      Tensor lengths = call.template new_tensor<Device>("the lengths", sizes, ScalarType::Long);
      const Walks walks{cells.template const_data_ptr<std::int64_t>(),
                        of_pair,
                        {seed_of_pair},
                        most,
                        pairs.template mutable_data_ptr<std::int64_t>(),
                        arcs.template mutable_data_ptr<std::int64_t>(),
                        lengths.template mutable_data_ptr<std::int64_t>()};
      if (lengths.numel() > 0)
        Device::walk(problem, walks, static_cast<const Word*>(weights.const_data_ptr()), weights.numel(), first);
      return std::tuple(pairs, arcs, lengths);
    });
  });
}

template <class Device>
void implement_walk(torch::stable::detail::StableLibrary& library) {
  library.impl("walk", TORCH_BOX(&walk<Device>));
}

}  // namespace softdp
