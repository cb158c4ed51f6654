"""The harness end to end, on cases small enough for a test, with what ships here."""

from __future__ import annotations

import json
import math

import pytest
import torch

from benchmarks import peers, run, timing
from benchmarks.cases import CASES, Bar, Case, Program
from benchmarks.records import Record, bars, table

CPU = torch.device("cpu")
FIELDS = {
    "case", "implementation", "batch", "n", "m", "dtype", "forward_ms", "forward_backward_ms",
    "gcups", "peak_mb", "gradient_error", "forward_spread_ms", "forward_backward_spread_ms",
    "fastest_ms",
}  # fmt: skip
TINY = Case("tiny", (Program("tables", 2, 3, 4), Program("lcs", 2, 5, 6)))


@pytest.fixture(autouse=True)
def without_peers(monkeypatch):
    monkeypatch.setattr(peers, "PEERS", ())


def record(case, implementation="softdp", **changes):
    program = CASES[case].largest
    return Record(
        **{
            "case": case, "implementation": implementation, "batch": program.batch,
            "n": program.n, "m": program.m, "dtype": "float32", "forward_ms": 1.0,
            "forward_spread_ms": 0.1, "forward_backward_ms": 2.0,
            "forward_backward_spread_ms": 0.1, "fastest_ms": 1.9, "gcups": 1.0, "peak_mb": 1.0,
            "gradient_error": 0.0, **changes,
        }
    )  # fmt: skip


def test_command_line_writes_a_record_for_each_implementation(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "CASES", {"tiny": TINY, "other": TINY})
    file = tmp_path / "new" / "records.json"
    run.main(["--device", "cpu", "--json", str(file), "--case", "tiny", "--quick", "--bars"])
    head, *records = json.loads(file.read_text())
    assert set(head) == {"machine"}
    assert head["machine"]["torch"] == torch.__version__
    assert head["machine"]["threads"] == torch.get_num_threads()
    assert {"cpu", "cores", "commit", "date"} <= set(head["machine"])
    assert [item["implementation"] for item in records] == ["softdp", "reference"]
    for item in records:
        assert set(item) == FIELDS
        assert (item["case"], item["batch"], item["n"], item["m"]) == ("tiny", 2, 5, 6)
        assert item["dtype"] == "float32"
        assert item["forward_ms"] > 0
        assert 0 < item["fastest_ms"] <= item["forward_backward_ms"]
        assert 0 <= item["gradient_error"] < 1e-4
        seconds = item["forward_backward_ms"] * 1e-3
        assert item["gcups"] == pytest.approx((2 * 3 * 4 + 2 * 5 * 6) * 1e-9 / seconds)
    printed = capsys.readouterr().out
    assert all(item["implementation"] in printed for item in records)


@pytest.mark.parametrize(
    "case",
    [
        Case("dtw", (Program("dtw", 2, 4, 3),)),
        Case("numbers", (Program("numbers", 2, 4, 3),)),
        Case("ragged", (Program("dtw", 4, 8, 8, ragged=True),)),
        Case("float64", (Program("dtw", 2, 4, 3),), dtype=torch.float64),
    ],
    ids=lambda case: case.name,
)
def test_every_kind_of_case_runs_with_a_small_gradient_error(case):
    found = run.run_case(case, CPU, timing.QUICK).records
    assert len(found) == 2
    bound = 1e-10 if case.dtype == torch.float64 else 1e-4
    assert all(item["gradient_error"] < bound for item in found)


def test_a_score_only_case_has_no_backward():
    case = Case("score-only", (Program("numbers", 2, 4, 3),), gradient=False)
    for item in run.run_case(case, CPU, timing.QUICK).records:
        assert item["forward_backward_ms"] is None
        assert item["gradient_error"] is None
        assert item["gcups"] == pytest.approx(24e-9 / (item["forward_ms"] * 1e-3))


def test_a_case_too_long_for_the_reference_is_compared_with_softdp_in_float64():
    case = Case("long", (Program("numbers", 2, 4, 3),), reference=False)
    (only,) = run.run_case(case, CPU, timing.QUICK).records
    assert only["implementation"] == "softdp"
    assert 0 < only["gradient_error"] < 1e-4


def wrong_by_half(case, inputs):
    prepared = peers.REFERENCE.prepare(case, inputs)
    return prepared._replace(weights=tuple(1.5 * weight for weight in prepared.weights))


def test_a_wrong_gradient_shows_in_its_record(monkeypatch):
    wrong = peers.Implementation("wrong", lambda case: True, wrong_by_half)
    monkeypatch.setattr(peers, "implementations", lambda device: [peers.REFERENCE, wrong])
    case = Case("dtw", (Program("dtw", 2, 4, 3),))
    right, off = run.run_case(case, CPU, timing.QUICK).records
    assert right["gradient_error"] < 1e-5
    # Every path passes the first cell, so its gradient is 1 and the error there one half.
    assert off["gradient_error"] == pytest.approx(0.5, abs=1e-4)


def nan_gradients(case, inputs):
    prepared = peers.REFERENCE.prepare(case, inputs)
    (program,) = case.programs
    weight = torch.full((program.batch,), float("nan"))
    return prepared._replace(weights=(weight,))


def test_a_nan_gradient_is_no_small_error(monkeypatch):
    broken = peers.Implementation("broken", lambda case: True, nan_gradients)
    monkeypatch.setattr(peers, "implementations", lambda device: [broken])
    case = Case("tables", (Program("tables", 2, 4, 3),))
    (only,) = run.run_case(case, CPU, timing.QUICK).records
    assert math.isnan(only["gradient_error"])


def crash(case, inputs):
    raise RuntimeError("no such kernel")


def test_a_crash_is_not_swallowed_and_the_other_cases_are_run(tmp_path, monkeypatch):
    broken = peers.Implementation("broken", lambda case: case is TINY, crash)
    monkeypatch.setattr(peers, "implementations", lambda device: [peers.SOFTDP, broken])
    other = Case("other", (Program("numbers", 2, 4, 3),))
    monkeypatch.setattr(run, "CASES", {"tiny": TINY, "other": other})
    file = tmp_path / "records.json"
    with pytest.raises(RuntimeError, match="no such kernel"):
        run.main(["--quick", "--json", str(file)])
    head, *written = json.loads(file.read_text())
    assert head["left_out"] == ["tiny: failed, RuntimeError: no such kernel"]
    assert [item["case"] for item in written] == ["other"]


def test_cases_that_there_was_no_time_for_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "CASES", {"tiny": TINY})
    file = tmp_path / "records.json"
    run.main(["--quick", "--seconds", "-1", "--json", str(file)])
    (head,) = json.loads(file.read_text())
    assert head["left_out"] == ["tiny: -1 seconds were over"]


def test_a_peer_that_fails_is_named_and_left_out(monkeypatch):
    rival = peers.Implementation("rival", lambda case: True, crash)
    monkeypatch.setattr(peers, "PEERS", (rival,))
    case = Case("dtw", (Program("dtw", 2, 4, 3),))
    result = run.run_case(case, CPU, timing.QUICK)
    assert [item["implementation"] for item in result.records] == ["softdp", "reference"]
    assert result.left_out == ["dtw: rival failed, RuntimeError: no such kernel"]


def test_the_reference_may_want_more_memory_than_there_is():
    short = torch.OutOfMemoryError("too little")
    assert run._may_fail(peers.REFERENCE, short, CPU)
    assert not run._may_fail(peers.SOFTDP, short, CPU)
    assert not run._may_fail(peers.REFERENCE, RuntimeError("wrong"), CPU)


def test_copies_of_the_inputs_take_turns():
    called = []
    action = run._in_rotation([lambda: called.append(0), lambda: called.append(1)])
    for _ in range(5):
        action()
    assert called == [0, 1, 0, 1, 0]


def test_the_share_of_the_roofline_is_of_the_time_on_the_gpu():
    case = Case("numbers", (Program("numbers", 2, 4, 3),))  # 24 cells of 16 bytes
    whole, graph = timing.Timing(4e-6, 0.0, 4e-6, 1), timing.Timing(1e-6, 0.0, 1e-6, 1)
    assert run._on_gpu(case, None, whole, 1e9, 3) == {
        "gpu_ms": None, "gpu_spread_ms": None, "bytes_moved": 384, "input_copies": 3,
        "roofline_share": pytest.approx(384e-9 / 4e-6),
    }  # fmt: skip
    on_gpu = run._on_gpu(case, graph, whole, 1e9, 1)
    assert on_gpu["gpu_ms"] == pytest.approx(1e-3)
    assert on_gpu["roofline_share"] == pytest.approx(384e-9 / 1e-6)


def test_the_table_has_the_columns_of_a_gpu_where_there_is_one():
    plain = record("ftcl-step")
    gpu = Record(**plain, gpu_ms=0.05, gpu_spread_ms=0.001, roofline_share=0.25)
    assert "roofline" not in table([plain])
    head, line, other = table([gpu, plain]).splitlines()
    assert head.split()[-3:] == ["GPU", "ms", "roofline"]
    assert "(50 us)" in line
    assert line.endswith("25%")
    assert other.endswith("-")
    assert len({len(text) for text in (head, line, other)}) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_cuda_is_refused(capsys):
    with pytest.raises(SystemExit):
        run.main(["--device", "cuda"])
    assert "this torch sees no GPU" in capsys.readouterr().err


def test_an_unknown_case_is_refused(capsys):
    with pytest.raises(SystemExit):
        run.main(["--case", "nonesuch"])
    assert "nonesuch" in capsys.readouterr().err


class TestBars:
    """Which bars are met, from records made by hand."""

    @pytest.fixture(autouse=True)
    def peer(self, monkeypatch):
        monkeypatch.setattr(
            peers, "PEERS", (peers.Implementation("rival", lambda case: True, crash),)
        )

    @pytest.fixture
    def bar(self, monkeypatch):
        def use(*arguments):
            monkeypatch.setattr("benchmarks.records.BARS", (Bar(*arguments),))

        return use

    @pytest.mark.parametrize(("gcups", "word"), [(0.35, "met"), (0.34, "missed")])
    def test_speed(self, bar, gcups, word):
        bar("numbers-32x256x256", "gcups", 0.35)
        assert bars([record("numbers-32x256x256", gcups=gcups)], CPU).startswith(word)

    @pytest.mark.parametrize(("milliseconds", "word"), [(0.3, "met"), (0.31, "missed")])
    def test_time(self, bar, milliseconds, word):
        bar("ftcl-step", "microseconds", 300)
        records = [record("ftcl-step", forward_backward_ms=milliseconds)]
        assert bars(records, CPU).startswith(word)

    @pytest.mark.parametrize(
        ("milliseconds", "word"), [(0.06, "met"), (0.061, "missed"), (None, "unknown")]
    )
    def test_time_on_the_gpu(self, bar, milliseconds, word):
        bar("ftcl-step", "gpu_microseconds", 60, "cuda")
        measured = Record(**record("ftcl-step"), gpu_ms=milliseconds)
        assert bars([measured], torch.device("cuda")).startswith(word)
        assert bars([measured], CPU) == ""

    @pytest.mark.parametrize(("peak", "word"), [(4 * 1024 * 900 / 1e6, "met"), (4.1, "missed")])
    def test_memory(self, bar, peak, word):
        bar("numbers-1024x30x30", "bytes_a_cell", 4)
        assert bars([record("numbers-1024x30x30", peak_mb=peak)], CPU).startswith(word)

    def test_memory_that_was_not_measured(self, bar):
        bar("numbers-1024x30x30", "bytes_a_cell", 4)
        assert bars([record("numbers-1024x30x30", peak_mb=None)], CPU).startswith("unknown")

    @pytest.mark.parametrize(("gcups", "word"), [(3.0, "met"), (2.9, "missed")])
    def test_ratio_is_to_the_fastest_peer(self, bar, gcups, word):
        bar("dtw-32x256x256", "times_best_peer", 15)
        records = [
            record("dtw-32x256x256", gcups=gcups),
            record("dtw-32x256x256", "reference", gcups=9.0),
            record("dtw-32x256x256", "rival", gcups=0.2),
        ]
        text = bars(records, CPU)
        assert text.startswith(word)
        assert f"{gcups / 0.2:.1f} times rival on dtw-32x256x256" in text

    def test_other_kinds_are_compared_on_the_same_shape(self):
        records = [
            record("numbers-1024x30x30", gcups=2.0),
            record("dtw-1024x30x30", "rival", gcups=0.5),
            record("dtw-32x256x256", "rival", gcups=0.1),
        ]
        assert "numbers-1024x30x30: 4.0 times rival on dtw-1024x30x30" in bars(records, CPU)

    def test_cases_that_were_not_run_are_left_out(self):
        assert bars([], CPU) == ""
