// softdp._C: facts of this build, and whether it computes right here. It runs without torch, and the ops without it.
#include <pybind11/pybind11.h>

#include "self_test.h"

PYBIND11_MODULE(_C, m) {
  m.doc() = "Facts of this build of softdp, and its self-test.";
  m.attr("torch_version") = SOFTDP_TORCH_VERSION;
  m.attr("compiler") = SOFTDP_COMPILER " " __VERSION__;
  m.def("instruction_set", &softdp::cpu::instruction_set_name, "What the sweeps use of this processor.");
  m.def(
      "self_test",
      [](int threads) {
        const softdp::SelfTest found(threads);
        return pybind11::make_tuple(found.score, found.gradient);
      },
      pybind11::arg("threads") = 1,
      "Largest errors of soft-DTW's scores (relative) and gradients in float32, beside its recurrence in float64.");
}
