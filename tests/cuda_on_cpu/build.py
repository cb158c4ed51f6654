"""Drivers (see request.h): compiled under the host's sanitizers, once for a source, and called."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_CACHE = _ROOT / "build" / "cuda_on_cpu"

_COMMON = (
    "-std=c++20",
    "-O1",
    "-g1",  # which line it was: names of variables take a third of the time
    "-fno-omit-frame-pointer",
    "-ftrivial-auto-var-init=pattern",  # what is not initialised is no lucky zero
    f"-I{_ROOT}",
    '-DSOFTDP_DEVICE_HEADER="tests/cuda_on_cpu/device.h"',
)
_RACES = ("-DSOFTDP_RACES",)
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


class Fault(Exception):
    """What the driver found wrong; the layer's own words."""


class Died(Exception):
    """The driver's process ended; the words are its stderr, a sanitizer's report as a rule."""


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CXX", "g++"))


@functools.cache
def why_not(*sanitizers: str) -> str | None:
    """Why drivers cannot be built here, with these sanitizers or the usual ones; None: they can."""
    if shutil.which(_compiler()[0]) is None:
        return f"there is no C++ compiler {_compiler()[0]}"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "empty.cpp")
        source.write_text("#include <source_location>\nint main() {}\n")
        program = str(source.with_suffix(""))
        flags = (*_COMMON, *(sanitizers or _SANITIZERS))
        build = [*_compiler(), *flags, str(source), "-o", program]
        for command in (build, [*fixed_addresses(), program]):
            if subprocess.run(command, capture_output=True).returncode != 0:
                return f"{shlex.join(_compiler())} has no C++20 or no sanitizers that work"
    return None


@functools.cache
def fixed_addresses() -> tuple[str, ...]:
    # Where Linux randomises 32 bits of an address, older AddressSanitizers find no room.
    prefix = ("setarch", "-R")
    if shutil.which(prefix[0]) is None:
        return ()
    works = subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    return prefix if works else ()


def compile_driver(driver: Path | str, *flags: str, races: bool = False) -> Path:
    """The program made of a driver in this folder.

    With `races` the accesses that no barrier orders are faults, and the sanitizers are left out.
    """
    watch = ("-fsanitize=thread", "-fno-threadsafe-statics", *_RACES) if races else _SANITIZERS
    # The driver comes first, so that what both have of the layer is linked as the driver has it.
    units = [
        (_HERE / driver, (*_COMMON, *watch, *flags)),
        (_HERE / "request.cpp", (*_COMMON, *watch, "-O0", "-fno-sanitize=undefined")),
    ]
    if races:
        units.append((_HERE / "races.cpp", (*_COMMON, *_RACES)))
    with ThreadPoolExecutor() as pool:
        objects = list(pool.map(lambda unit: _object(*unit), units))
    link = ("-ldl",) if races else _SANITIZERS
    inputs = "".join(one.name for one in objects).encode()
    return _once(Path(driver).stem, "", [*map(str, objects), *link], inputs)


def compile_program(source: Path, *flags: str) -> Path:
    """The program made of one source alone."""
    preprocessed = _run([*_compiler(), *flags, "-E", str(source)])
    return _once(source.stem, "", [*flags, str(source)], preprocessed)


def run_program(program: Path, *arguments: str) -> None:
    """Run it to its end; RuntimeError with what it said where that is not 0."""
    _run([*fixed_addresses(), str(program), *arguments])


def _object(source: Path, flags: tuple[str, ...]) -> Path:
    preprocessed = _run([*_compiler(), *flags, "-E", str(source)])
    return _once(source.stem, ".o", [*flags, "-c", str(source)], preprocessed)


def _once(stem: str, suffix: str, arguments: list[str], inputs: bytes) -> Path:
    """What the compiler makes; kept under a name that tells everything it is made of."""
    version = _run([*_compiler(), "--version"])
    digest = hashlib.sha256(repr((_compiler(), version, arguments)).encode() + inputs)
    result = _CACHE / f"{stem}-{digest.hexdigest()[:16]}{suffix}"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with open(result.with_name(f"{result.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests of other processes want the same: it is made once
        if not result.exists():
            with tempfile.TemporaryDirectory(dir=_CACHE) as folder:  # never half under its name
                made = Path(folder, result.name)
                _run([*_compiler(), *arguments, "-o", str(made)])
                made.replace(result)
    return result


def _run(command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)}\n{done.stderr.decode(errors='replace')}")
    return done.stdout


class Executable:
    """A driver's process, alive until this is dropped; after a death a call starts another."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with this

    def call(
        self, function: str, arrays: dict[str, np.ndarray], **options: int | float | str
    ) -> dict[str, np.ndarray]:
        """The arrays that the driver's function replies with; Fault or Died where it does not."""
        process = self._start()
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        lines = [f"call {function}", *(f"option {name} {to}" for name, to in options.items())]
        for name, array in contiguous.items():
            sizes = " ".join(map(str, np.shape(arrays[name])))
            lines.append(f"array {name} {array.dtype.name} {array.nbytes} {sizes}")
        try:
            process.stdin.write("".join(f"{line}\n" for line in (*lines, "end")).encode())
            for array in contiguous.values():
                process.stdin.write(array.tobytes())
            process.stdin.flush()
            return self._reply(process.stdout)
        except (BrokenPipeError, EOFError):
            raise Died(self._last_words(process)) from None

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._stderr.seek(0)  # the process writes where this file stands
            self._stderr.truncate()
            self._process = subprocess.Popen(
                [*fixed_addresses(), str(self._program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={
                    **os.environ,
                    # Blocks that end in a fault leave memory behind; an index that misses its array
                    # by less than the redzone is seen.
                    "ASAN_OPTIONS": "detect_leaks=0:redzone=1024:print_legend=0",
                    "UBSAN_OPTIONS": "print_stacktrace=1",
                },
            )
            weakref.finalize(self, _stop, self._process)
        return self._process

    def _reply(self, stream: IO[bytes]) -> dict[str, np.ndarray]:
        fault = None
        waiting = []
        while (line := stream.readline().decode().rstrip("\n")) != "end":
            what, _, rest = line.partition(" ")
            if what == "fault":
                fault = rest
            elif what == "array":
                waiting.append(rest.split())
            elif what != "result":
                raise EOFError
        if fault is not None:
            raise Fault(fault)
        return {
            name: np.frombuffer(_exactly(stream, int(size)), dtype).reshape([int(n) for n in shape])
            for name, dtype, size, *shape in waiting
        }

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        code = process.wait()
        _stop(process)
        self._stderr.seek(0)
        return f"exit code {code}\n{self._stderr.read().decode(errors='replace')}"


def _exactly(stream: IO[bytes], count: int) -> bytes:
    read = stream.read(count)
    if len(read) < count:
        raise EOFError
    return read


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):  # of what a dead one has not read
        process.stdin.close()
    process.stdout.close()
    process.wait()
