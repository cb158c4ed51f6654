"""What setup.py asks of a machine and has compilers do, once; scripts stand in for most of them."""

import ctypes
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
NVCC = """#!/bin/sh
case $1 in
  --version) echo "release %s, V1"; exit ;;
  --list-gpu-arch) echo compute_80; exit ;;
esac
while [ $# -gt 0 ]; do
  case $1 in -MF) listed=$2 ;; -o) made=$2 ;; esac
  shift
done
echo half > "$made"
[ -e broken ] && exit 1
name=$(basename "$made")
echo "$name" >> calls
[ -n "$listed" ] || exit 0
printf '%%s : \\\\\\n csrc/%%s.h csrc/both.h\\n' "$made" "${name%%.o}" > "$listed"
"""
# Says of itself what the real one would, __clang_major__ and __GNUC__, and notes what it is told.
CXX = """#!/bin/sh
case " $* " in *" -E "*) echo "%s"; exit ;; esac
echo "$@" >> "$0.calls"
while [ $# -gt 0 ]; do
  case $1 in -MF|-o) : > "$2" ;; esac
  shift
done
"""
MACROS = {
    "gcc": lambda version: f"__clang_major__ {version}",
    "clang": lambda version: f"{version} 4",
}
REFUSED = "GCC 12 or newer, or clang 13 or newer, is needed; CXX names it"
ROUNDING = """
#include "../scalar.h"
#if defined(__x86_64__)
#define FUSED extern "C" __attribute__((target("fma"), visibility("default")))
#else
#define FUSED extern "C" __attribute__((visibility("default")))
#endif
FUSED double together(double a, double b, double c) { return a * b + c; }
FUSED double apart(double a, double b, double c) { return softdp::rounded_product(a, b) + c; }
FUSED double in_order(double a, double b, double c) { return (a + b) - c; }
extern "C" void* PyInit__C() { return nullptr; }
"""


def compilers() -> list[str]:
    """The C++ compilers on the PATH that setup.py takes, by name."""
    places = os.environ["PATH"].split(os.pathsep)
    names = {path.name for place in places for path in Path(place).glob("*++*")}
    versions = {name: re.fullmatch(r"(g|clang)\+\+-(\d+)", name) for name in names}
    least = {"g": 12, "clang": 13}
    return ["c++", *sorted(n for n, v in versions.items() if v and int(v[2]) >= least[v[1]])]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree in a folder whose name has a space."""
    root = tmp_path / "source tree"
    files = {
        "setup.py": (ROOT / "setup.py").read_text(),
        "nvcc": NVCC % (torch.version.cuda or "13.0"),
        "csrc/ops/ops.cpp": "",
        "csrc/module/module.cpp": 'extern "C" void* PyInit__C() { return nullptr; }\n',
        "csrc/both.h": "",
        "softdp/__init__.py": "",
    }
    for name in ("one_cuda", "two_cuda"):
        files |= {f"csrc/ops/{name}.cu": "", f"csrc/{name}.h": ""}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "nvcc").chmod(0o755)
    return root


def setup(tree: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build in the tree, whatever is asked of the builds around it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SOFTDP_")}
    return subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=tree,
        env={**own, "NVCC": str(tree / "nvcc"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def build(tree: Path, **environment: str) -> set[str] | None:
    """What nvcc has made; None where the build failed."""
    (tree / "calls").unlink(missing_ok=True)
    done = setup(tree, SOFTDP_CUDA="1", **environment)
    made = set((tree / "calls").read_text().split()) if (tree / "calls").exists() else set()
    return made if done.returncode == 0 else None


def stand_in(folder: Path, kind: str, version: int) -> Path:
    """A compiler of this kind and version, as far as it says."""
    path = folder / f"{kind}-{version}"
    path.write_text(CXX % MACROS[kind](version))
    path.chmod(0o755)
    return path


def compiled(tree: Path, compiler: Path, **environment: str) -> list[str]:
    """What the compiler was told where it compiled, a line each time."""
    notes = compiler.with_name(f"{compiler.name}.calls")
    notes.unlink(missing_ok=True)
    done = setup(tree, CXX=str(compiler), SOFTDP_CUDA="0", **environment)
    assert done.returncode == 0, done.stderr
    told = notes.read_text().splitlines()
    return [f" {line} " for line in told if " -c " in f" {line} "]


def test_other_pythons_have_modules_of_their_own(tree: Path, tmp_path: Path) -> None:
    other, headers = tmp_path / "python3.99", tmp_path / "of the other"
    other.write_text(f"#!/bin/sh\necho .cpython-399.so '{headers}'\n")
    other.chmod(0o755)
    commands = compiled(tree, stand_in(tmp_path, "gcc", 12), SOFTDP_PYTHONS=shlex.quote(str(other)))
    of_module = [told for told in commands if "module.cpp" in told]
    assert [f"-I{headers}" in told for told in of_module] == [False, True]
    made = {path.name for path in (tree / "softdp").glob("*.so")}
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    assert made == {"libsoftdp_cpu.so", f"_C{suffix}", "_C.cpython-399.so"}
    other.unlink()
    refused = setup(tree, SOFTDP_PYTHONS=shlex.quote(str(other)))
    assert refused.returncode != 0
    assert f"softdp: SOFTDP_PYTHONS: {other} does not run" in refused.stderr


def test_nvcc_makes_what_has_changed_and_nothing_twice(tree: Path) -> None:
    one, two, library = "one_cuda.o", "two_cuda.o", "libsoftdp_cuda.so"
    assert build(tree) == {one, two, library}
    assert build(tree) == set()
    (tree / "csrc/two_cuda.h").touch()
    assert build(tree) == {two, library}
    (tree / "csrc/both.h").touch()
    (tree / "broken").touch()
    assert build(tree) is None
    (tree / "broken").unlink()
    assert build(tree) == {one, two, library}
    assert build(tree, SOFTDP_CUDA_ARCHITECTURES="90") == {one, two, library}


def test_the_architectures_of_this_machine(tree: Path, tmp_path: Path) -> None:
    told = tmp_path / "nvidia-smi"
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    told.write_text("#!/bin/sh\nexit 9\n")
    told.chmod(0o755)
    done = setup(tree, SOFTDP_CUDA="1", SOFTDP_CUDA_ARCHITECTURES="native", PATH=path)
    assert done.returncode != 0
    assert "native, but nvidia-smi names no GPU" in done.stderr.splitlines()[-1]
    told.write_text("#!/bin/sh\nprintf '9.0\\n8.6\\n9.0\\n'\n")
    assert build(tree, SOFTDP_CUDA_ARCHITECTURES="native", PATH=path)
    logs = list(tree.rglob("one_cuda.log"))
    assert "code=[sm_86,sm_90,compute_86]" in logs[0].read_text()


@pytest.mark.parametrize(
    ("kind", "version", "contraction"),
    [
        ("gcc", 12, " -ffp-contract=fast "),
        ("clang", 13, " -Xclang -ffp-contract=fast-honor-pragmas "),
    ],
)
def test_the_standard_and_the_contraction_are_named_to_each_compiler(
    tree: Path, tmp_path: Path, kind: str, version: int, contraction: str
) -> None:
    commands = compiled(tree, stand_in(tmp_path, kind, version))
    assert len(commands) == 2  # the ops, the module
    for told in commands:
        assert re.findall(r" -std=(\S+)", told) == ["c++20"]
        assert contraction in told
        assert "-ffast-math" not in told


@pytest.mark.parametrize("ninja", ["", "exit 127"], ids=["ninja", "no ninja"])
def test_another_compiler_compiles_again(tree: Path, tmp_path: Path, ninja: str) -> None:
    environment = {}
    if ninja:
        (tmp_path / "ninja").write_text(f"#!/bin/sh\n{ninja}\n")
        (tmp_path / "ninja").chmod(0o755)
        environment["PATH"] = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    for version in (12, 13):
        assert len(compiled(tree, stand_in(tmp_path, "gcc", version), **environment)) == 2


@pytest.mark.parametrize(
    ("kind", "version", "told"), [("gcc", 11, "GCC 11"), ("clang", 12, "clang 12")]
)
def test_a_compiler_that_is_too_old_is_refused_in_one_line(
    tree: Path, tmp_path: Path, kind: str, version: int, told: str
) -> None:
    compiler = stand_in(tmp_path, kind, version)
    done = setup(tree, CXX=str(compiler))
    assert done.returncode == 1
    assert done.stderr == f"softdp: {compiler} is {told}; {REFUSED}\n"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("nowhere-c++ -O1", "no C++ compiler: nowhere-c++ -O1: No such file or directory"),
        ("false", "false is no C++ compiler"),
        ("true", "true is no C++ compiler"),
    ],
)
def test_no_compiler_at_all_is_said_in_one_line(tree: Path, command: str, told: str) -> None:
    done = setup(tree, CXX=command)
    assert done.returncode == 1
    assert done.stderr == f"softdp: {told}; {REFUSED}\n"


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [
        ("setuptools", "65.5.0", "setuptools>=77 (here 65.5.0): pip install 'setuptools>=77'"),
        ("torch", "2.9.1+cu128", "torch>=2.10 (here 2.9.1+cu128): pip install 'torch>=2.10'"),
    ],
)
def test_a_package_that_is_too_old_is_named_in_one_line(
    tree: Path, tmp_path: Path, name: str, version: str, told: str
) -> None:
    facts = tmp_path / "site" / f"{name}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    done = setup(tree, PYTHONPATH=str(facts.parent))
    assert done.returncode == 1
    assert done.stderr == f"softdp: the build needs {told}\n"


def test_what_is_missing_is_what_the_build_requires(tree: Path) -> None:
    listed = re.search(r"^requires = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.M)
    assert listed
    required = [name for name in re.findall(r'"(.+?)"', listed[1]) if name != "ninja"]  # a help
    done = subprocess.run(
        [sys.executable, "-S", "-E", "setup.py", "--version"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"softdp: the build needs {', '.join(f'{name} (missing)' for name in required)}: "
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="no fused products on this machine"
)
@pytest.mark.parametrize("compiler", compilers())
def test_products_fuse_where_they_may_and_sums_keep_their_order(tree: Path, compiler: str) -> None:
    shutil.copy(ROOT / "csrc/recurrence/scalar.h", tree / "csrc")
    (tree / "csrc/module/module.cpp").write_text(ROUNDING)
    done = setup(tree, CXX=compiler, SOFTDP_CUDA="0")
    assert done.returncode == 0, done.stderr
    (library,) = (tree / "softdp").glob("_C.*so")
    built = ctypes.CDLL(str(library))
    for name in ("together", "apart", "in_order"):
        getattr(built, name).restype = ctypes.c_double
        getattr(built, name).argtypes = [ctypes.c_double] * 3
    a = 1 + 2.0**-30
    assert built.together(a, a, -(1 + 2.0**-29)) == 2.0**-60
    assert built.apart(a, a, -(1 + 2.0**-29)) == 0
    assert built.in_order(1.0, 2.0**-60, 1.0) == 0
