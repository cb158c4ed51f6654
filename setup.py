"""Builds the libraries of softdp, and nothing else; pyproject.toml declares the rest.

softdp/libsoftdp_cpu.so    C++: the ops' schemas and CPU kernels
softdp/libsoftdp_cuda.so   CUDA kernels; built wherever an nvcc is found
softdp/_C                  a Python module: facts of the build, and its self-test, without torch

The first two use LibTorch's stable ABI of 2.10 only, and nothing of Python: one build serves later
versions of both. The module is of one Python, and small: a wheel may have it for several.

Environment: CXX names the C++ compiler; SOFTDP_CUDA=0 leaves the CUDA library out, =1 insists on
it; NVCC names its compiler; SOFTDP_CUDA_ARCHITECTURES, e.g. "80;90", what that compiles for, where
"native" is the GPUs of this machine; SOFTDP_DEBUG=1 builds without optimisation; SOFTDP_SANITIZE=1
builds the CPU library alone, under the sanitizers and for this machine (tests/fuzz/); MAX_JOBS
limits the compilers that run at a time; SOFTDP_PYTHONS, e.g. "python3.10 python3.13", what else to
compile softdp._C for: such a wheel is for every Python, and has the self-test for these.
"""

from __future__ import annotations  # an older Python, too, shall get as far as to be refused

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

# As pyproject.toml has them, where pip does not look under --no-build-isolation.
NEEDED = {"setuptools": (77,), "torch": (2, 10), "pybind11": ()}


def check_packages() -> None:
    """End with one line where Python or a package that builds softdp is too old or missing."""
    if sys.version_info < (3, 10):  # noqa: UP036  pip reads requires-python from what this makes
        raise SystemExit(f"softdp: Python 3.10 or newer is needed, got {platform.python_version()}")
    lacking = {}
    for name, least in NEEDED.items():
        wanted = f"{name}>={'.'.join(map(str, least))}" if least else name
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            lacking[wanted] = "missing"
        else:
            if tuple(map(int, re.findall(r"\d+", found))) < least:
                lacking[wanted] = f"here {found}"
    if lacking:
        told = ", ".join(f"{wanted} ({found})" for wanted, found in lacking.items())
        command = shlex.join(["pip", "install", *lacking])
        raise SystemExit(f"softdp: the build needs {told}: {command}")


def find_compiler() -> str:
    """Whether the C++ compiler is "GCC" or "clang", as its macros say; an older one is refused."""
    # torch compiles with c++ where nothing is named, setuptools would link with what built Python.
    name = os.environ["CXX"] = os.environ.get("CXX") or "c++"
    needed = "GCC 12 or newer, or clang 13 or newer, is needed; CXX names it"
    command = [*shlex.split(name), "-E", "-P", "-x", "c++", "-"]
    macros = "__clang_major__ __GNUC__"
    try:
        told = subprocess.run(command, input=macros, capture_output=True, text=True, check=True)
        clang, gcc = told.stdout.split()
    except OSError as error:
        raise SystemExit(f"softdp: no C++ compiler: {name}: {error.strerror}; {needed}") from error
    except (subprocess.CalledProcessError, ValueError) as error:
        raise SystemExit(f"softdp: {name} is no C++ compiler; {needed}") from error
    # clang says that it is GCC 4, too.
    kind, version, least = ("clang", clang, 13) if clang.isdigit() else ("GCC", gcc, 12)
    if int(version) < least:
        raise SystemExit(f"softdp: {name} is {kind} {version}; {needed}")
    return kind


check_packages()
COMPILER = find_compiler()
# Where pip puts ninja, which torch looks for on the PATH: an environment need not be activated.
os.environ["PATH"] += os.pathsep + sysconfig.get_path("scripts")

import pybind11
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from torch import __version__ as torch_version
from torch import version as torch_build
from torch.utils.cpp_extension import BuildExtension, include_paths, library_paths

ROOT = Path(__file__).parent
CSRC = Path("csrc")
TORCH_TARGET = "-DTORCH_TARGET_VERSION=0x020a000000000000"  # 2.10
DEBUG = os.environ.get("SOFTDP_DEBUG") == "1"
SANITIZE = os.environ.get("SOFTDP_SANITIZE") == "1"
# Code for 80 runs on 86 and 89 too: the last digit may be higher than what it was made for.
ARCHITECTURES = (80, 90, 100, 120)


def find_nvcc() -> str | None:
    """Torch's own CUDA_HOME is None under a CPU build of torch, even with an nvcc at hand."""
    if os.environ.get("SOFTDP_CUDA") == "0" or SANITIZE:
        return None
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    candidates = [os.environ.get("NVCC"), *(f"{home}/bin/nvcc" for home in homes)]
    candidates += [shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"]
    found = next((c for c in candidates if c and shutil.which(c)), None)
    if found is None and os.environ.get("SOFTDP_CUDA") == "1":
        raise SystemExit("softdp: SOFTDP_CUDA=1, but no nvcc was found; set NVCC or CUDA_HOME")
    if found is not None and torch_build.cuda is not None:
        told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
        release = re.search(r"release (\d+)\.", told.stdout)
        # The CUDA run-time library comes with nvcc, the driver was chosen for torch's.
        if release and release[1] != torch_build.cuda.partition(".")[0]:
            raise SystemExit(
                f"softdp: {found} is of CUDA {release[1]}, torch {torch_version} of CUDA "
                f"{torch_build.cuda}; set NVCC to one of the same major version, or SOFTDP_CUDA=0"
            )
    return found


def architectures(nvcc: str) -> list[int]:
    """The architectures to compile for: those asked for, else the usual ones of this nvcc."""
    named = os.environ.get("SOFTDP_CUDA_ARCHITECTURES", "")
    if named.strip() == "native":
        return native_architectures()
    asked = re.findall(r"\d+", named)
    if asked:
        return sorted(map(int, asked))
    listed = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True)
    known = set(map(int, re.findall(r"compute_(\d+)", listed.stdout)))
    return [a for a in ARCHITECTURES if a in known]


def native_architectures() -> list[int]:
    """Those of this machine's GPUs."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        told = done.stdout if done.returncode == 0 else ""
    except OSError:
        told = ""
    found = {int(major + minor) for major, minor in re.findall(r"^(\d+)\.(\d)\s*$", told, re.M)}
    if not found:
        raise SystemExit(
            "softdp: SOFTDP_CUDA_ARCHITECTURES=native, but nvidia-smi names no GPU; name the "
            'architectures, e.g. "80;90"'
        )
    return sorted(found)


class BuildLibraries(BuildExtension):
    """Compiles the C++ libraries, and the CUDA library beside them."""

    def finalize_options(self) -> None:
        """Objects outlive the build: an editable install and a wheel compile them once."""
        super().finalize_options()
        kind = "sanitized" if SANITIZE else "objects"
        self.build_temp = str(ROOT / "build" / f"{kind}-{sys.implementation.cache_tag}")
        self.force = True  # as torch has it with ninja, which knows what to compile again

    def get_ext_filename(self, ext_name: str) -> str:
        """A library has nothing of Python, and none of its tags; a module is NAME@TAG."""
        return ext_name.replace(".", os.sep).replace("@", ".") + ".so"

    def run(self) -> None:
        """Build them, and say first what will be built and why."""
        nvcc = find_nvcc()
        if nvcc is None:
            asked = os.environ.get("SOFTDP_CUDA") == "0"
            cuda = f"left out: {'SOFTDP_CUDA=0' if asked else 'no nvcc (set NVCC or CUDA_HOME)'}"
        else:
            cuda = f"with {nvcc}"
        print(
            f"softdp: CPU library for torch >= 2.10, against {torch_version}; CUDA library {cuda}"
        )
        for left in () if self.inplace else Path(self.build_lib).glob("softdp/*.so"):
            left.unlink()  # by an earlier build, of which this one may lack a library
        super().run()
        if nvcc is not None:
            self.build_cuda(nvcc)

    def build_cuda(self, nvcc: str) -> None:
        """Compile every csrc/ops/*_cuda.cu, side by side, and link one library."""
        folder = Path(self.build_temp) / "cuda"
        targets = architectures(nvcc)
        named = " ".join(map(str, targets))
        codes = [*(f"sm_{a}" for a in targets), f"compute_{targets[0]}"]
        command = [
            *(nvcc, "-c", "-O0" if DEBUG else "-O3", "-std=c++20"),
            *("-Xcompiler", "-fPIC,-fvisibility=hidden"),
            "--expt-relaxed-constexpr",  # std::bit_cast and numbers' limits in kernels
            *(TORCH_TARGET, "-DUSE_CUDA", f'-DSOFTDP_CUDA_ARCHITECTURES="{named}"'),
            # One intermediate code for all, as no kernel asks which of them it runs on.
            f"-gencode=arch=compute_{targets[0]},code=[{','.join(codes)}]",
            *("-Xptxas", "-v"),  # what each kernel takes of a multiprocessor; a test reads it
            *(f"-I{path}" for path in include_paths()),
        ]

        def compiled(source: Path) -> Path:
            """The source's object; nvcc lists the files that it is made of."""
            made, listed = (folder / f"{source.stem}.{suffix}" for suffix in ("o", "d"))
            rule = listed.read_text().replace("\\\n", " ") if listed.exists() else f":{source}"
            inputs = [Path(name) for name in shlex.split(rule.partition(":")[2])]
            make(made, [*command, *("-MD", "-MF", str(listed), str(source))], inputs)
            return made

        jobs = int(os.environ.get("MAX_JOBS") or os.cpu_count() or 1)
        with ThreadPoolExecutor(jobs) as pool:
            objects = list(pool.map(compiled, sorted(CSRC.glob("ops/*_cuda.cu"))))
        library = folder / "libsoftdp_cuda.so"
        # libtorch brings the CUDA half of torch, of which nothing is needed by name.
        libraries = [f"-L{path}" for path in library_paths()]
        libraries += ["-Xlinker", "--no-as-needed", "-ltorch", "-ltorch_cpu"]
        link = [nvcc, "-shared", "--no-device-link", *map(str, objects), *libraries]
        make(library, link, objects)
        # Beside the other, which is in the source tree for an editable install.
        destination = Path(self.get_ext_fullpath("softdp.libsoftdp_cpu")).parent
        destination.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, destination)


class Wheel(bdist_wheel):
    """Where SOFTDP_PYTHONS is said, for every Python, which may go without its module."""

    def get_tag(self) -> tuple[str, str, str]:
        """Python, its binary interface, the system."""
        tag: tuple[str, str, str] = super().get_tag()
        return ("py3", "none", tag[2]) if "SOFTDP_PYTHONS" in os.environ else tag


def modules() -> dict[str, str]:
    """What tells the file of softdp._C for a Python from those for others, and its headers."""
    found = {}
    code = "from sysconfig import *; print(get_config_var('EXT_SUFFIX'), get_path('include'))"
    for python in [sys.executable, *shlex.split(os.environ.get("SOFTDP_PYTHONS", ""))]:
        try:
            told = subprocess.check_output([python, "-c", code], text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"softdp: SOFTDP_PYTHONS: {python} does not run: {error}") from error
        suffix, headers = told.strip().split(" ", 1)
        found[suffix.removeprefix(".").removesuffix(".so")] = headers
    return found


def make(product: Path, command: list[str], inputs: list[Path]) -> None:
    """Run the command that makes the product of the inputs, unless it has been made so already.

    The log beside it is written when all went well: the command, and what it said.
    """
    command = [*command, "-o", str(product)]
    text, log = shlex.join(command) + "\n", product.with_suffix(".log")
    if product.exists() and log.exists() and log.read_text().startswith(text):
        made = product.stat().st_mtime
        if all(path.exists() and path.stat().st_mtime < made for path in inputs):
            return
    log.unlink(missing_ok=True)
    product.parent.mkdir(parents=True, exist_ok=True)
    print(text, end="", flush=True)
    begun = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"softdp: {text}{done.stdout}{done.stderr}")
    os.utime(product, (begun, begun))  # an input that has changed since is newer
    log.write_text(text + done.stdout + done.stderr)


flags = ["-std=c++20", *(["-O0", "-g"] if DEBUG else ["-O3", "-g0"])]
# No errno and no trap comes of a float operation, which lets loops over lanes become vector code;
# products and sums may fuse. Values are never reassociated: the two-float sums depend on it.
flags += ["-fno-math-errno", "-fno-trapping-math"]
flags += ["-fvisibility=hidden", "-Wall", "-pthread"]
flags += [f"-fmacro-prefix-map={ROOT.resolve()}/="]  # messages name files of the tree
if COMPILER == "clang":
    # The compiler has known this since clang 13; the command in front of it refuses it up to 16.
    flags += ["-Xclang", "-ffp-contract=fast-honor-pragmas"]
else:
    # gcc's redundancy elimination ties the lanes of a loop together.
    flags += ["-ffp-contract=fast", "-fno-tree-pre"]
sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"] if SANITIZE else []
if SANITIZE:  # nothing forced inline and one instruction set: a tenth of the time to compile
    flags += [*sanitizers, "-O1", "-g1", "-march=native", "-DSOFTDP_ALWAYS_INLINE=", "-Wno-psabi"]
    flags += ["-fno-wrapv"]  # Python's own flags would have it that no sum overflows

built = {"extra_link_args": ["-pthread", *sanitizers], "language": "c++"}
MODULES = modules()
told = [f'-DSOFTDP_TORCH_VERSION="{torch_version}"', f'-DSOFTDP_COMPILER="{COMPILER}"']

setup(
    ext_modules=[
        Extension(
            "softdp.libsoftdp_cpu",
            # The longest first, or one compiler would be left alone with it.
            sorted(map(str, CSRC.glob("ops/*.cpp")), key=lambda path: ("lcs" not in path, path)),
            include_dirs=include_paths(),
            library_dirs=library_paths(),
            libraries=["c10", "torch", "torch_cpu"],
            extra_compile_args=[*flags, TORCH_TARGET],
            **built,
        ),
        *(
            Extension(
                f"softdp._C@{tag}",
                [str(CSRC / "module" / "module.cpp")],
                # pybind11 before torch's copy of it; of torch itself some headers of 16-bit floats.
                include_dirs=[headers, pybind11.get_include(), *include_paths()],
                extra_compile_args=[*flags, *told],
                **built,
            )
            for tag, headers in MODULES.items()
        ),
    ],
    cmdclass={"build_ext": BuildLibraries, "bdist_wheel": Wheel},
)
