// The three ops of a family, on any device, from what its header says of them: what they are called with, and which
// family that is.
#pragma once

#include <torch/csrc/stable/library.h>

#include <array>
#include <string>

#include "call.h"

namespace softdp {

// What an op has beside tensors: int64_t, bool or double each.
template <class... Options>
struct OptionTypes {};

// What paid leading gaps cost is asked of the gaps themselves, in x and in y the tables at these places, which then do
// not vary along the other sequence; or the border says it.
inline void check_leading(const Inputs& inputs, const Ends& ends, std::initializer_list<int> in_y,
                          std::initializer_list<int> in_x) {
  const auto varies = [&](std::initializer_list<int> places, std::int64_t dim) {
    return std::any_of(places.begin(), places.end(), [&](int k) {
      const Tensor& gap = inputs.tables[k].second;
      return gap.dim() >= dim && gap.size(-dim) != 1;
    });
  };
  SOFTDP_CHECK(inputs.border || ((ends.leading_y != Gaps::kPaid || !varies(in_y, 2)) &&
                                 (ends.leading_x != Gaps::kPaid || !varies(in_x, 1))),
               "paid leading gaps need inserts that do not vary along n and deletes that do not vary along m, or a "
               "border");
}

// A type as often as there are numbers. (Not a mere name for it: nvcc loses the numbers then.)
template <std::size_t, class X>
struct EachOf {
  using Type = X;
};
template <std::size_t k, class X>
using Each = typename EachOf<k, X>::Type;

template <class Indices>
struct TensorsOf;
template <std::size_t... k>
struct TensorsOf<std::index_sequence<k...>> {
  using Tuple = std::tuple<Each<k, Tensor>...>;
};
template <std::size_t kCount>
using TensorTuple = typename TensorsOf<std::make_index_sequence<kCount>>::Tuple;

// Op: kName; the names kTables, kParameters and kOptions; Options, an OptionTypes; and with_family(inputs, options...,
// f), which checks what is this family's own to check and returns f(family, ends).
template <class Device, class Op, class Tables = std::make_index_sequence<Op::kTables.size()>,
          class Parameters = std::make_index_sequence<Op::kParameters.size()>, class Options = typename Op::Options>
struct FamilyOp;

template <class Device, class Op, std::size_t... table, std::size_t... parameter, class... Options>
struct FamilyOp<Device, Op, std::index_sequence<table...>, std::index_sequence<parameter...>, OptionTypes<Options...>> {
  static_assert(Op::kOptions.size() == sizeof...(Options));
  static constexpr std::size_t kGradients = sizeof...(table) + sizeof...(parameter) + 2;
  using MaybeTensor = std::optional<Tensor>;

  static std::tuple<Tensor, Tensor, Tensor> forward(Each<table, Tensor>... tables,
                                                    Each<parameter, Tensor>... parameters, Tensor gamma,
                                                    MaybeTensor border, MaybeTensor n_lengths, MaybeTensor m_lengths,
                                                    MaybeTensor band, Options... options, bool keep_weights,
                                                    bool keep_border) {
    return with_call("", inputs(tables..., parameters..., gamma, border, n_lengths, m_lengths, band), options...,
                     [&](auto call) { return softdp::forward<Device>(std::move(call), keep_weights, keep_border); });
  }

  static TensorTuple<kGradients> backward(Tensor score_gradient, MaybeTensor border_gradient, Tensor score,
                                          Tensor weights, Tensor border_out, Each<table, Tensor>... tables,
                                          Each<parameter, Tensor>... parameters, Tensor gamma, MaybeTensor border,
                                          MaybeTensor n_lengths, MaybeTensor m_lengths, MaybeTensor band,
                                          Options... options, int64_t wanted) {
    return with_call("_backward", inputs(tables..., parameters..., gamma, border, n_lengths, m_lengths, band),
                     options..., [&](auto call) {
                       return tuple_of<kGradients>(softdp::backward<Device>(
                           std::move(call), score_gradient, border_gradient, score, weights, border_out, wanted));
                     });
  }

  static TensorTuple<kGradients + 2> tangent(MaybeTensor score_gradient, MaybeTensor border_gradient, Tensor score,
                                             Tensor weights, Tensor border_out, Each<table, Tensor>... table_tangents,
                                             Each<parameter, Tensor>... parameter_tangents, Tensor gamma_tangent,
                                             MaybeTensor border_tangent, Each<table, Tensor>... tables,
                                             Each<parameter, Tensor>... parameters, Tensor gamma, MaybeTensor border,
                                             MaybeTensor n_lengths, MaybeTensor m_lengths, MaybeTensor band,
                                             Options... options, int64_t wanted, bool keep_border) {
    return with_call(
        "_tangent", inputs(tables..., parameters..., gamma, border, n_lengths, m_lengths, band), options...,
        [&](auto call) {
          return tuple_of<kGradients + 2>(softdp::tangent<Device>(
              std::move(call), {{table_tangents...}, {parameter_tangents...}, gamma_tangent, border_tangent},
              score_gradient, border_gradient, score, weights, border_out, wanted, keep_border));
        });
  }

 private:
  static Inputs inputs(Each<table, Tensor>... tables, Each<parameter, Tensor>... parameters, Tensor gamma,
                       MaybeTensor border, MaybeTensor n_lengths, MaybeTensor m_lengths, MaybeTensor band) {
    return {{{Op::kTables[table], tables}...},
            {{Op::kParameters[parameter], parameters}...},
            gamma,
            border,
            n_lengths,
            m_lengths,
            band};
  }

  template <class F>
  static auto with_call(const char* kind, const Inputs& given, Options... options, const F& f) {
    return as_op(text("softdp::", Op::kName, kind).c_str(), [&] {
      return Op::with_family(given, options..., [&](auto family, const Ends& ends) {
        return f(Call<decltype(family)>{given, family, ends});
      });
    });
  }
};

template <class Device, class Op>
void implement(torch::stable::detail::StableLibrary& library) {
  using Its = FamilyOp<Device, Op>;
  const std::string name = Op::kName;
  library.impl(name.c_str(), TORCH_BOX(&Its::forward));
  library.impl((name + "_backward").c_str(), TORCH_BOX(&Its::backward));
  library.impl((name + "_tangent").c_str(), TORCH_BOX(&Its::tangent));
}

// ---- their schemas ----

inline const char* schema_type(std::int64_t) { return "int"; }
inline const char* schema_type(bool) { return "bool"; }
inline const char* schema_type(double) { return "float"; }

template <class... Options>
std::vector<std::string> option_types(OptionTypes<Options...>) {
  return {schema_type(Options{})...};
}

template <class Op>
void define(torch::stable::detail::StableLibrary& library) {
  const std::string name = Op::kName;
  std::string tensors, tangents, options, gradients;
  for (const auto& names : {std::vector<std::string>(Op::kTables.begin(), Op::kTables.end()),
                            std::vector<std::string>(Op::kParameters.begin(), Op::kParameters.end()),
                            {"gamma"}}) {
    for (const std::string& each : names) {
      tensors += "Tensor " + each + ", ";
      tangents += "Tensor " + each + "_tangent, ";
      gradients += "Tensor " + each + ", ";
    }
  }
  tensors += "Tensor? border, Tensor? n_lengths, Tensor? m_lengths, Tensor? band, ";
  tangents += "Tensor? border_tangent, ";
  gradients += "Tensor border)";
  const auto types = option_types(typename Op::Options());
  for (std::size_t k = 0; k < types.size(); ++k) options += types[k] + " " + Op::kOptions[k] + ", ";
  const std::string outputs = "Tensor? border_gradient, Tensor score, Tensor weights, Tensor border_out, ";
  library.def((name + "(" + tensors + options + "bool keep_weights, bool keep_border) -> " +
               "(Tensor score, Tensor weights, Tensor border)")
                  .c_str());
  library.def(
      (name + "_backward(Tensor score_gradient, " + outputs + tensors + options + "int wanted) -> (" + gradients)
          .c_str());
  library.def((name + "_tangent(Tensor? score_gradient, " + outputs + tangents + tensors + options +
               "int wanted, bool keep_border) -> (Tensor score, Tensor border_out, " + gradients)
                  .c_str());
}

}  // namespace softdp
