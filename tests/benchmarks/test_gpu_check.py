"""The driver of the check, with commands that need no GPU and logs as the tools write them."""

from __future__ import annotations

import json
import os
import re
import sys
import time

import pytest
import torch

from benchmarks.gpu_check import __main__ as check
from benchmarks.gpu_check import judges, runner, steps
from benchmarks.gpu_check.runner import Outcome, Step, Verdict
from benchmarks.gpu_check.steps import Machine

MACHINE = Machine(
    gpus=["NVIDIA H200"], capabilities=["90"], torch="2.11.0", cuda="13.0",
    modules=["pytest", "hypothesis"], sanitizer="/cuda/bin/compute-sanitizer",
)  # fmt: skip


def python(name, code, timeout=60.0, **options):
    return Step(name, [sys.executable, "-c", code], timeout, **options)


def states(outcomes):
    return {item.step.name: item.verdict.state for item in outcomes}


class TestRunner:
    def test_steps_pass_or_fail_by_their_exit_status_and_leave_logs(self, tmp_path):
        good = python("good one", "print('all well')")
        bad = python("bad", "print('seen'); raise SystemExit('no such kernel')")
        told = []
        outcomes = runner.run([[good], [bad]], tmp_path, tmp_path / "logs", 60, told.append)
        assert states(outcomes) == {"good one": "pass", "bad": "fail"}
        assert outcomes == told
        assert outcomes[1].verdict.note == "exit status 1: no such kernel"
        assert (tmp_path / "logs" / "good-one.log").read_text() == "all well\n"

    def test_a_step_runs_in_the_folder(self, tmp_path):
        (tmp_path / "folder").mkdir()
        step = python("one", "import pathlib; pathlib.Path('here').touch()")
        runner.run([[step]], tmp_path / "folder", tmp_path, 60)
        assert (tmp_path / "folder" / "here").exists()

    def test_a_step_has_its_environment(self, tmp_path):
        code = "import os; raise SystemExit(os.environ['SOFTDP_TEST_DEVICE'] != 'cuda')"
        step = python("one", code, environment={"SOFTDP_TEST_DEVICE": "cuda"})
        assert states(runner.run([[step]], tmp_path, tmp_path, 60)) == {"one": "pass"}

    def test_a_step_that_takes_too_long_is_killed_with_its_children(self, tmp_path):
        code = (
            "import os, subprocess, sys, time;"  # a child in a group of its own
            "child = [sys.executable, '-c', 'import time; time.sleep(600)'];"
            "print(subprocess.Popen(child, preexec_fn=os.setpgrp).pid);"
            "time.sleep(600)"
        )
        (outcome,) = runner.run([[python("hangs", code, timeout=5.0)]], tmp_path, tmp_path, 60)
        assert outcome.verdict == Verdict("fail", "stopped after 5 s")
        child = int(outcome.log.read_text())
        for _ in range(100):
            if not alive(child):
                return
            time.sleep(0.05)
        pytest.fail("its child runs on")

    def test_what_needs_a_failed_step_is_left_out_and_the_rest_goes_on(self, tmp_path):
        groups = [
            [python("build", "raise SystemExit(1)")],
            [python("tests", "", needs=("build",)), python("free", "")],
            [python("later", "", needs=("tests",))],
        ]
        outcomes = runner.run(groups, tmp_path, tmp_path, 60)
        assert states(outcomes) == {
            "build": "fail", "tests": "left out", "free": "pass", "later": "left out",
        }  # fmt: skip
        assert outcomes[1].verdict.note == "build did not pass"

    def test_what_is_left_out_says_why_and_is_not_run(self, tmp_path):
        step = python("tool", "raise SystemExit(1)", left_out="it is not here")
        (outcome,) = runner.run([[step]], tmp_path, tmp_path, 60)
        assert outcome == Outcome(step, Verdict("left out", "it is not here"))

    def test_steps_of_a_group_run_at_once(self, tmp_path):
        meet = (
            "import pathlib, sys, time; here, there = map(pathlib.Path, {0!r}); here.touch();"
            "[time.sleep(0.05) for _ in range(600) if not there.exists()];"
            "sys.exit(not there.exists())"
        )
        files = [str(tmp_path / name) for name in ("first", "second")]
        group = [
            python("first", meet.format(files)),
            python("second", meet.format(files[::-1])),
        ]
        assert states(runner.run([group], tmp_path, tmp_path, 60)) == {
            "first": "pass",
            "second": "pass",
        }

    def test_each_step_of_a_group_has_its_own_time(self, tmp_path):
        group = [
            python("long", "import time; time.sleep(600)", timeout=8.0),
            python("hangs", "import time; time.sleep(600)", timeout=1.0),
            python("short", ""),
        ]
        told = []
        outcomes = runner.run([group], tmp_path, tmp_path, 60, told.append)
        assert [item.step.name for item in outcomes] == ["long", "hangs", "short"]
        assert told[-1].step.name == "long"
        assert outcomes[1].verdict.note == "stopped after 1 s"

    def test_the_whole_has_a_deadline_and_what_it_cuts_off_has_failed(self, tmp_path):
        groups = [[python("hangs", "import time; time.sleep(600)")], [python("late", "")]]
        outcomes = runner.run(groups, tmp_path, tmp_path, 1.0)
        assert states(outcomes) == {"hangs": "fail", "late": "fail"}
        assert outcomes[1].verdict.note == "no time was left for it"

    def test_an_interrupt_leaves_nothing_running(self, tmp_path):
        def interrupt(outcome):
            raise KeyboardInterrupt

        long = python("long", "import os, time; print(os.getpid(), flush=True); time.sleep(600)")
        wait = (
            "import pathlib, sys, time; log = pathlib.Path(sys.argv[1]);"
            "[time.sleep(0.05) for _ in range(600) if not (log.exists() and log.read_text())]"
        )
        short = Step("short", [sys.executable, "-c", wait, str(tmp_path / "long.log")], 60)
        with pytest.raises(KeyboardInterrupt):
            runner.run([[short, long]], tmp_path, tmp_path, 60, told=interrupt)
        assert not alive(int((tmp_path / "long.log").read_text()))

    def test_the_summary_has_a_line_for_every_step(self):
        outcomes = [
            Outcome(python("build", ""), Verdict("pass"), 12.3),
            Outcome(python("memcheck", ""), Verdict("fail", "1 found"), 4.0),
            Outcome(python("racecheck", ""), Verdict("left out", "no tool")),
        ]
        assert runner.summary(outcomes).splitlines() == [
            "pass      build         12 s",
            "fail      memcheck       4 s  1 found",
            "left out  racecheck      0 s  no tool",
            "1 passed, 1 failed, 1 left out",
        ]


def alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


class TestSanitizer:
    """Summaries in the tools' own words."""

    BANNER = "========= COMPUTE-SANITIZER\n"

    def test_no_errors(self):
        log = self.BANNER + "shapes: 30\n========= ERROR SUMMARY: 0 errors\n"
        assert judges.sanitizer(0, log) == Verdict("pass")

    def test_no_hazards(self):
        summary = "RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"
        log = f"{self.BANNER}========= {summary}\n"
        assert judges.sanitizer(0, log) == Verdict("pass")

    def test_errors(self):
        log = (
            f"{self.BANNER}========= Invalid __global__ read of size 4 bytes\n"
            "=========     at softdp::cuda::forward(...)+0x90\n"
            "========= ERROR SUMMARY: 7 errors\n"
        )
        verdict = judges.sanitizer(86, log)
        assert verdict == Verdict("fail", "7 found, first: Invalid __global__ read of size 4 bytes")

    def test_one_error_and_hazards(self):
        assert judges.sanitizer(0, "========= ERROR SUMMARY: 1 error\n").state == "fail"
        log = "========= RACECHECK SUMMARY: 2 hazards displayed (1 error, 1 warning)\n"
        assert judges.sanitizer(0, log).note.startswith("2 found")

    def test_a_program_that_fails_on_its_own(self):
        log = "AssertionError: score\n========= ERROR SUMMARY: 0 errors\n"
        assert judges.sanitizer(1, log).state == "fail"

    def test_a_tool_that_did_not_come_to_its_end(self):
        verdict = judges.sanitizer(0, self.BANNER + "Killed\n")
        assert (verdict.state, verdict.note) == ("fail", "no summary; exit status 1: Killed")

    def test_a_device_that_the_tool_refuses(self):
        verdict = judges.sanitizer(1, self.BANNER + "========= Error: Device not supported.\n")
        assert verdict == Verdict("left out", "compute-sanitizer: Device not supported")


class TestReportOfPytest:
    def judge(self, tmp_path, cases, status=0):
        report = tmp_path / "report.xml"
        report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
        return judges.pytest_report(report)(status, "log")

    PASSED = '<testcase classname="tests.softdp.test_a" name="test_one[cuda]" />'
    SKIPPED = (
        '<testcase classname="tests.gpu" name="b"><skipped message="needs two GPUs"/></testcase>'
    )
    FAILED = (
        '<testcase classname="tests.softdp.test_c" name="test_c"><failure>x</failure></testcase>'
    )

    def test_passed(self, tmp_path):
        assert self.judge(tmp_path, 2 * self.PASSED) == Verdict("pass", "2 passed")

    def test_skipped_tests_say_why(self, tmp_path):
        verdict = self.judge(tmp_path, self.PASSED + 2 * self.SKIPPED)
        assert verdict == Verdict("pass", "1 passed; 2 left out: needs two GPUs")

    def test_failed(self, tmp_path):
        verdict = self.judge(tmp_path, self.PASSED + self.FAILED, status=1)
        assert verdict.state == "fail"
        assert verdict.note == "1 passed, 1 failed, first: tests.softdp.test_c::test_c"

    def test_nothing_ran(self, tmp_path):
        assert self.judge(tmp_path, self.SKIPPED).state == "fail"

    def test_an_exit_status_counts_where_every_test_passed(self, tmp_path):
        assert self.judge(tmp_path, self.PASSED, status=3) == Verdict("fail", "1 passed, exit 3")

    def test_no_report(self, tmp_path):
        verdict = judges.pytest_report(tmp_path / "none.xml")(4, "ERROR: no such option\n")
        assert verdict.note == "no report; exit status 4: ERROR: no such option"

    def test_what_pytest_writes_is_read(self, tmp_path):
        (tmp_path / "test_it.py").write_text(
            "import pytest\ndef test_one(): pass\n"
            "@pytest.mark.skip(reason='no GPU')\ndef test_two(): pass\n"
        )
        report = tmp_path / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        step = Step(
            "tests", [*command, f"--junitxml={report}", "-c", os.devnull, str(tmp_path)], 60,
            judge=judges.pytest_report(report),
        )  # fmt: skip
        (outcome,) = runner.run([[step]], tmp_path, tmp_path, 60)
        assert outcome.verdict == Verdict("pass", "1 passed; 1 left out: no GPU")


class TestSteps:
    def test_order_and_budget(self, tmp_path):
        groups = steps.steps(MACHINE, tmp_path, tmp_path / "records.json")
        assert [[step.name for step in group] for group in groups] == [
            ["build"],
            ["tests", "gpu tests"],
            ["memcheck", "racecheck", "initcheck", "synccheck"],
            ["benchmarks"],
        ]
        assert not any(step.left_out for group in groups for step in group)
        *early, (benchmarks,) = groups
        assert sum(max(step.timeout for step in group) for group in early) <= 600 - 120
        assert benchmarks.command[-1] == str(tmp_path / "records.json")

    def test_it_is_built_for_the_gpus_at_hand(self, tmp_path):
        machine = MACHINE._replace(capabilities=["80", "90"])
        build = steps.steps(machine, tmp_path, tmp_path)[0][0]
        assert build.environment == {"SOFTDP_CUDA": "1", "SOFTDP_CUDA_ARCHITECTURES": "80;90"}

    def test_what_is_not_installed_is_left_out(self, tmp_path):
        machine = MACHINE._replace(modules=[], sanitizer=None)
        _, tests, sanitizers, _ = steps.steps(machine, tmp_path, tmp_path)
        assert {step.left_out for step in tests} == {"pytest is not installed"}
        assert all("no compute-sanitizer" in step.left_out for step in sanitizers)

    def test_what_helps_is_used_where_it_is_installed(self, tmp_path):
        machine = MACHINE._replace(modules=["pytest", "xdist", "pytest_timeout"])
        _, (parallel, alone), _, _ = steps.steps(machine, tmp_path, tmp_path)
        assert "-n" in parallel.command
        assert "-n" not in alone.command
        assert "--timeout=100" in alone.command
        assert "-n" not in steps.steps(MACHINE, tmp_path, tmp_path)[1][0].command

    def test_what_the_commands_name_is_there(self, tmp_path):
        named = [
            part
            for group in steps.steps(MACHINE, tmp_path, tmp_path / "records.json")
            for step in group
            for part in step.command
            if part.endswith(".py") or part.startswith("tests/")
        ]
        assert named
        assert all((steps.ROOT / part).exists() for part in named)

    def test_it_looks_at_this_machine(self):
        machine = steps.look()
        assert machine.torch == torch.__version__
        assert bool(machine.gpus) == torch.cuda.is_available()
        assert {"pytest", "hypothesis"} <= set(machine.modules)


class TestCommandLine:
    @pytest.fixture
    def machine(self, monkeypatch):
        def use(machine, groups):
            monkeypatch.setattr(steps, "look", lambda: machine)
            monkeypatch.setattr(steps, "steps", lambda machine, logs, records: groups)

        return use

    @pytest.mark.parametrize(("status", "code"), [(0, "print('case  GPU ms')"), (1, "1 / 0")])
    def test_it_writes_a_report_and_ends_with_its_status(
        self, tmp_path, machine, capsys, status, code
    ):
        machine(
            MACHINE, [[python("tool", "", left_out="it is not here")], [python("benchmarks", code)]]
        )
        results = tmp_path / "results"
        arguments = ["--log", str(tmp_path / "logs"), "--results", str(results)]
        assert check.main(arguments) == status
        (report,) = results.glob("nvidia-h200-*.txt")
        text = report.read_text()
        assert text in capsys.readouterr().out
        assert text.startswith("NVIDIA H200; torch 2.11.0, CUDA 13.0\n")
        assert "left out  tool" in text
        assert ("case  GPU ms" in text) == (status == 0)

    def test_predictions_stand_beside_what_was_measured(self, tmp_path):
        records = tmp_path / "records.json"
        assert check.compared("NVIDIA H200", records) == []
        case = "numbers-512x256x256"
        softdp = {"case": case, "implementation": "softdp", "gpu_ms": 0.5}
        others = [{**softdp, "implementation": "reference"}, {**softdp, "gpu_ms": None}]
        records.write_text(json.dumps([{"machine": {}}, *others]))
        assert check.compared("NVIDIA H200", records) == []
        records.write_text(json.dumps([{"machine": {}}, *others, softdp]))
        assert check.compared("NVIDIA A100", records) == []
        _, line, off = check.compared("NVIDIA H200", records)
        found = re.fullmatch(rf"{case} +predicted +([\d.]+), measured  67.1, ([\d.]+) of it", line)
        assert found  # 512 * 256 * 256 cells in half a millisecond
        share = float(found[2])
        assert share == pytest.approx(67.1 / float(found[1]), abs=0.01)
        factor = re.search(r"by a factor of ([\d.]+)", off)
        assert factor
        assert float(factor[1]) == pytest.approx(max(share, 1 / share), rel=0.02)

    def test_without_a_gpu_it_says_so(self, machine, capsys):
        machine(MACHINE._replace(gpus=[]), [])
        assert check.main([]) == 2
        assert capsys.readouterr().err == "torch 2.11.0 (CUDA 13.0) sees no GPU\n"

    def test_without_torch_it_says_so(self, monkeypatch, capsys):
        monkeypatch.setattr(steps, "_LOOK", "import torch_that_is_not_there")
        assert check.main([]) == 2
        assert "No module named 'torch_that_is_not_there'" in capsys.readouterr().err

    def test_the_progress_of_the_benchmark_is_no_part_of_the_report(self, tmp_path):
        log = tmp_path / "benchmarks.log"
        log.write_text("ftcl-step ...\ncase  fwd\n")
        outcome = Outcome(python("benchmarks", ""), Verdict("pass"), 1.0, log)
        text = check.report("card", [outcome], ["predicted"])
        assert text.endswith("case  fwd\n\npredicted\n")
        assert "..." not in text


def test_the_look_is_json_that_a_machine_is_made_of():
    found = steps.look()._replace(sanitizer=None)
    assert Machine(**json.loads(json.dumps(found._asdict()))) == found
