"""The threads of a sweep: the order of tiles, races, and the process that has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.cpp_extension import include_paths

from tests.cuda_on_cpu.build import compile_program, run_program, why_not

HERE = Path(__file__).parent
FLAGS = ("-std=c++20", "-O1", "-g", "-pthread", f"-I{HERE.parents[1]}")
RACES = "-fsanitize=thread"


def run(driver: str, sanitizer: str, *arguments: str) -> None:
    reason = why_not(sanitizer)
    if reason is not None:
        pytest.skip(reason)
    torch_headers = (f"-I{path}" for path in include_paths())
    program = compile_program(HERE / driver, *FLAGS, sanitizer, *torch_headers)
    run_program(program, *arguments)


@pytest.mark.parametrize("sanitizer", [RACES, "-fsanitize=address,undefined"])
@pytest.mark.parametrize("seed", range(4))
def test_every_tile_is_swept_once_and_after_what_it_depends_on(seed: int, sanitizer: str) -> None:
    run("order.cpp", sanitizer, str(seed), "100")


def test_a_region_that_keeps_its_caller_waiting_is_not_called_for_a_while() -> None:
    run("region.cpp", "-fsanitize=address,undefined")


@pytest.mark.slow
def test_recurrences_are_swept_without_races_and_alike() -> None:
    run("sweeps.cpp", RACES, "5")


REGION = "none where torch's come in time"
HELPERS = {"SOFTDP_THREADS": "helpers"}

PRELUDE = """
import os, resource, sys, threading, torch, softdp

def helpers():  # threads that have been there beside the interpreter's and torch's
    return len(os.listdir("/proc/self/task")) - before

def score():
    return torch.ops.softdp.soft_dtw(table, gamma, None, None, None, None, False, False)[0]

table, gamma = torch.rand(700, 700), torch.ones(())
torch.set_num_threads(1)
before = len(os.listdir("/proc/self/task"))
wanted = score()
assert helpers() == 0
"""

PROGRAMS = {
    REGION: """
torch.set_num_threads(3)
for _ in range(20):
    assert score().equal(wanted)
pid = os.fork()  # the child has none of torch's, and does not wait for them
if pid == 0:
    os._exit(0 if score().equal(wanted) else 1)
assert os.waitpid(pid, 0)[1] == 0
""",
    "as many as torch has": """
torch.set_num_threads(3)
assert score().equal(wanted)
assert helpers() == 2
torch.set_num_threads(2)
assert score().equal(wanted)
assert helpers() == 2
""",
    "none for a small table": """
torch.set_num_threads(3)
torch.ops.softdp.soft_dtw(torch.rand(4, 64, 64), gamma, None, None, None, None, True, False)
assert helpers() == 0
""",
    "none to be had": """
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 4_000_000, size + 4_000_000))  # less than a stack
torch.set_num_threads(3)
assert score().equal(wanted)
assert helpers() == 0
""",
    "a child has its own": """
torch.set_num_threads(3)
score()
for _ in range(3):
    child = os.fork()
    if child == 0:
        before = 1
        os._exit(0 if score().equal(wanted) and helpers() == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
assert score().equal(wanted)
""",
    "a child of a busy process": """
torch.set_num_threads(3)
def go_on():
    while not done:
        score()
done = []
for _ in range(3):
    threading.Thread(target=go_on).start()
ends = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if score().equal(wanted) else 1)
    ends.append(os.waitpid(child, 0)[1])
done.append(True)
assert ends == [0] * 20
""",
    "many callers": """
torch.set_num_threads(3)
def compare():
    alike.append(all(score().equal(wanted) for _ in range(20)))
alike = []
threads = [threading.Thread(target=compare) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert alike == [True] * 8
""",
}


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
@pytest.mark.parametrize("name", PROGRAMS)
def test_threads_of_a_process(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + PROGRAMS[name]],
        env={**os.environ, **({} if name == REGION else HELPERS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
