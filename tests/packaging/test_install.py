"""What pip installs: a wheel with the libraries and the types, importable from any folder."""

import ast
import email.message
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import torch

import softdp

ROOT = Path(__file__).parents[2]


SITE_PACKAGES = sysconfig.get_path("purelib")


def python_with(site: Path) -> dict[str, str]:
    """An environment for `python -S`: this one's packages, but softdp from `site`."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), SITE_PACKAGES])}


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built_wheel(source: Path, folder: Path) -> Path:
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the tree, whose objects are there; one of the source distribution compiles them again."""
    return built_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def model_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source") / "ftcl_model"
    clutter = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT / "ftcl_model", source, ignore=clutter)
    return built_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, wheel)
    return folder


def test_the_wheel_carries_libraries_and_types_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("softdp/_C.") and name.endswith(".so") for name in names)
    assert {"softdp/py.typed", "softdp/libsoftdp_cpu.so"} <= set(names)
    here = Path(softdp.__file__).parent  # built by the same rules
    assert ("softdp/libsoftdp_cuda.so" in names) == (here / "libsoftdp_cuda.so").exists()
    assert not [name for name in names if not name.startswith(("softdp/", "softdp-"))]


def test_the_wheel_of_the_model_is_its_package_alone(
    model_wheel: Path,
) -> None:
    names = set(zipfile.ZipFile(model_wheel).namelist())
    package = [*modules("ftcl_model"), *ROOT.glob("ftcl_model/configs/*.yaml")]
    wanted = {path.relative_to(ROOT).as_posix() for path in package}
    assert {*wanted, "ftcl_model/py.typed"} <= names
    assert not [name for name in names if not name.startswith(("ftcl_model/", "ftcl_model-"))]
    assert "ftcl_model/setup.py" not in names


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


@pytest.mark.parametrize("which", ["wheel", "model_wheel"])
def test_the_licence_is_told_as_the_standard_has_it(
    which: str, request: pytest.FixtureRequest
) -> None:
    told = metadata(request.getfixturevalue(which))
    assert told.get_all("License-Expression") == ["MIT"]
    assert told.get_all("License-File") == ["LICENSE"]
    assert not [c for c in told.get_all("Classifier", []) if c.startswith("License")]


def modules(package: str) -> list[Path]:
    """Its files of Python, without the one that only builds it."""
    return [path for path in (ROOT / package).rglob("*.py") if path.name != "setup.py"]


def imported(package: str) -> set[str]:
    """What the package's modules import from elsewhere, as it is called where it comes from."""
    names = set()
    for path in modules(package):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names.add(str(node.module).partition(".")[0])
    sources = packages_distributions()
    names -= {package, "av", "wandb", "scipy"}  # only videos, --wandb and a data set want these
    foreign = names - sys.stdlib_module_names
    return {source.lower() for name in foreign for source in sources[name]}


def required(wheel: Path) -> set[str]:
    """What it needs without an extra."""
    told = metadata(wheel).get_all("Requires-Dist", [])
    lines = [line for line in told if "extra ==" not in line]
    names = [re.match(r"[\w.-]+", line) for line in lines]
    return {name[0].lower() for name in names if name}


def test_what_is_required_is_what_is_imported(wheel: Path, model_wheel: Path) -> None:
    assert required(wheel) == imported("softdp") == {"torch"}
    assert required(model_wheel) == imported("ftcl_model")


def test_softdp_runs_where_there_is_no_numpy(installed: Path, tmp_path: Path) -> None:
    code = """
import sys
sys.modules["numpy"] = None  # as if it were not there
import torch, softdp
x = torch.rand(2, 3, 4, requires_grad=True)
lengths = torch.tensor([3, 2]), torch.tensor([4, 0])
scores = [
    softdp.edit_similarity(x, -1.0, -1.0, lengths=lengths),
    softdp.edit_distance(x, 1.0, 1.0, gamma=0.0),
    softdp.lcs(x, 0.5, gamma=0.1, gate_width=0.1),
    softdp.SoftDTW()(x),
    softdp.reference.soft_dtw(x),
]
torch.stack(scores).sum().backward()
assert x.grad.isfinite().all() and x.grad.any()
"""
    run(sys.executable, "-S", "-c", code, cwd=tmp_path, env=python_with(installed))


def test_the_source_distribution_has_all_that_a_build_needs(tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = [path for path in ROOT.glob("csrc/**/*") if path.is_file()]
    package = ROOT.glob("softdp/**/*.py")
    wanted = [*sources, *package, *(ROOT / name for name in ("setup.py", "pyproject.toml"))]
    assert {path.relative_to(ROOT).as_posix() for path in wanted} <= names


def test_it_imports_from_another_folder(installed: Path, tmp_path: Path) -> None:
    code = (
        "import torch, softdp; x = torch.zeros(2, 3, 4, requires_grad=True);"
        "softdp.edit_similarity(x, -1.0, -1.0).sum().backward(); print(softdp.__file__)"
    )
    printed = run(sys.executable, "-S", "-c", code, cwd=tmp_path, env=python_with(installed))
    assert Path(printed.strip()).is_relative_to(installed)


@pytest.mark.parametrize("damage", ["missing", "broken", "broken cuda"])
def test_a_bad_library_gives_one_clear_import_error(
    installed: Path, tmp_path: Path, damage: str
) -> None:
    copy = tmp_path / "site"
    shutil.copytree(installed, copy)
    library = copy / "softdp" / "libsoftdp_cpu.so"
    code = "import softdp"
    if damage == "missing":
        library.unlink()
    elif damage == "broken cuda":
        library.with_name("libsoftdp_cuda.so").write_bytes(b"not a library")
        code = "import torch; torch.version.cuda = '13.0'; import softdp"  # as under a CUDA build
    else:
        library.write_bytes(b"not a library")
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        env=python_with(copy),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: softdp: its compiled library does not load")
    assert "pip install --no-build-isolation" in last


def test_the_libraries_use_the_stable_interface_of_torch_alone(installed: Path) -> None:
    nm = shutil.which("nm")
    assert nm is not None, "binutils come with every compiler"
    libraries = sorted((installed / "softdp").glob("*.so"))
    assert libraries
    for library in libraries:
        undefined = run(nm, "-D", "-C", "--undefined-only", library)
        unstable = [line for line in undefined.splitlines() if "at::" in line or "c10::" in line]
        assert unstable == [], library.name


def test_the_cuda_library_loads_without_a_gpu_and_names_its_architectures(installed: Path) -> None:
    library = installed / "softdp" / "libsoftdp_cuda.so"
    if not library.exists():
        pytest.skip("built without nvcc")
    code = (
        "import sys, torch, softdp; torch.ops.load_library(sys.argv[1]);"
        "print(torch.ops.softdp.cuda_architectures())"
    )
    printed = run(sys.executable, "-S", "-c", code, library, env=python_with(installed))
    assert all(name.isdigit() for name in printed.split())
    assert printed.split()


def test_a_build_tells_its_facts_and_tests_itself(installed: Path, tmp_path: Path) -> None:
    told = run(sys.executable, "-S", "-m", "softdp", cwd=tmp_path, env=python_with(installed))
    facts = dict(line.split(None, 1) for line in told.splitlines())
    assert facts["torch"].startswith(torch.__version__)
    assert facts["instructions"] in ("AVX-512", "AVX2", "baseline", "of the build")
    assert "passed" in facts["self-test"]
    assert "FAILED" not in told


def test_the_self_test_needs_no_torch(installed: Path) -> None:
    (library,) = (installed / "softdp").glob("_C.*.so")
    code = f"""
import importlib.util, sys
sys.modules["torch"] = None  # as if it were not there
spec = importlib.util.spec_from_file_location("_C", {str(library)!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for threads in (1, 2):
    score, gradient = module.self_test(threads)
    assert 0 < score < 1e-5 and 0 < gradient < 1e-4, (score, gradient)
"""
    run(sys.executable, "-S", "-c", code)
