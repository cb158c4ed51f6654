"""Kernels that are right pass under every seed; each fault that is planted in them is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.cuda_on_cpu.build import Died, Executable, Fault, compile_driver, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

SEEDS = range(8)
BLOCKS, THREADS, TILES = 5, 128, 4


@pytest.fixture(scope="module")
def kernels() -> Executable:
    return Executable(compile_driver("faults.cpp"))


@pytest.fixture(scope="module")
def watched() -> Executable:
    """The same kernels, looked at for races."""
    return Executable(compile_driver("faults.cpp", races=True))


def normal(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def block_sum(kernels: Executable, seed: int = 0, **options: str) -> np.ndarray:
    values = normal(BLOCKS, THREADS)
    return kernels.call("block_sum", {"values": values}, threads=THREADS, seed=seed, **options)[
        "sums"
    ]


def pass_on(kernels: Executable, seed: int = 0, **options: str) -> np.ndarray:
    return kernels.call("pass_on", {"values": normal(THREADS)}, seed=seed, **options)["results"]


def staged_sums(kernels: Executable, seed: int = 0, **options: str) -> np.ndarray:
    values = normal(BLOCKS, TILES, THREADS, 4)
    return kernels.call(
        "staged_sums", {"values": values}, threads=THREADS, tiles=TILES, seed=seed, **options
    )["sums"]


def copy(kernels: Executable, seed: int = 0, **options: int) -> np.ndarray:
    return kernels.call("copy", {"values": normal(64)}, seed=seed, **options)["results"]


def part_ways(kernels: Executable, seed: int = 0, **options: int | str) -> np.ndarray:
    return kernels.call("part_ways", {}, seed=seed, **options)["results"]


def relay(kernels: Executable, seed: int = 0, **options: int | str) -> np.ndarray:
    values = normal(6, 4 * 32)
    return kernels.call("relay", {"values": values}, **{"seed": seed, "blocks": 4, **options})[
        "sums"
    ]


# ---- kernels that are right ----


@pytest.fixture(scope="module", params=["kernels", "watched", "ucontext"])
def healthy(request: pytest.FixtureRequest) -> Executable:
    """Also where no switch of stacks is written for the processor."""
    if request.param == "ucontext":
        return Executable(
            compile_driver("faults.cpp", "-DSOFTDP_UCONTEXT", "-fno-sanitize=undefined")
        )
    return request.getfixturevalue(request.param)


def test_a_block_sum_is_the_same_bits_in_every_order(healthy: Executable) -> None:
    sums = normal(BLOCKS, THREADS)
    while sums.shape[1] > 1:
        sums = sums[:, : sums.shape[1] // 2] + sums[:, sums.shape[1] // 2 :]
    for seed in SEEDS:
        np.testing.assert_array_equal(block_sum(healthy, seed), sums[:, 0])


@pytest.mark.parametrize("width", [8, 16, 32])
@pytest.mark.parametrize(("function", "dtype"), [("scan", "float32"), ("scan_double", "float64")])
def test_a_scan_by_shuffles(healthy: Executable, function: str, dtype: str, width: int) -> None:
    values = normal(BLOCKS, THREADS, dtype=dtype)
    sums = values.reshape(-1, width)
    delta = 1
    while delta < width:
        sums = np.concatenate([sums[:, :delta], sums[:, delta:] + sums[:, :-delta]], axis=1)
        delta *= 2
    for seed in SEEDS:
        result = healthy.call(
            function, {"values": values}, threads=THREADS, width=width, times=3, seed=seed
        )
        np.testing.assert_array_equal(result["sums"], sums.reshape(values.shape))


@pytest.mark.parametrize("width", [8, 16, 32])
def test_each_exchange_is_what_device_cuh_says(kernels: Executable, width: int) -> None:
    values = np.arange(-10, 54, dtype="int32")
    values[40] = 101
    lane = np.arange(64) % width
    thread = np.arange(64)
    expected = np.stack(
        [
            values[np.where(lane >= 3, thread - 3, thread)],
            values[np.where(lane + 3 < width, thread + 3, thread)],
            values[thread - lane + (thread + 5) % width],
            np.repeat([0, 1], 32),
            np.repeat([21, 101], 32),
        ]
    )
    for seed in SEEDS:
        results = kernels.call("exchanges", {"values": values}, width=width, seed=seed)["results"]
        np.testing.assert_array_equal(results, expected)


def test_lanes_pass_values_on_through_shared_memory(healthy: Executable) -> None:
    warps = np.roll(normal(THREADS).reshape(-1, 32), -5, axis=1)
    for steps in range(5):
        warps = warps + np.float32(steps)
    for seed in SEEDS:
        np.testing.assert_array_equal(pass_on(healthy, seed), warps.reshape(-1))


def test_staged_copies(healthy: Executable) -> None:
    tiles = normal(BLOCKS, TILES, THREADS, 4).reshape(BLOCKS, TILES, THREADS * 4)
    sums = np.zeros((BLOCKS, THREADS), "float32")
    for tile in range(TILES):
        current = tiles[:, tile]
        sums += current[:, :THREADS] + 2 * current[:, ::-1][:, :THREADS]
    for seed in SEEDS:
        np.testing.assert_array_equal(staged_sums(healthy, seed), sums)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_copies_of_each_size(kernels: Executable, watched: Executable, size: int) -> None:
    values = np.random.default_rng(0).integers(0, 255, (64, size), dtype="uint8")
    for seed in SEEDS:
        for executable in (kernels, watched):
            results = executable.call(f"staged_copy_{size}", {"values": values}, seed=seed)
            np.testing.assert_array_equal(results["results"].reshape(64, size), values[::-1])
        with pytest.raises(Fault, match="no barrier is between"):
            watched.call(f"staged_copy_{size}", {"values": values}, seed=seed, fault="no wait")


def test_half_floats_are_rounded_like_the_hardware(kernels: Executable) -> None:
    patterns = np.arange(1 << 16, dtype="uint32")
    halves = patterns.astype("uint16").view("float16").astype("float32")
    with np.errstate(invalid="ignore"):
        between = (halves[:-1] + halves[1:]) / 2  # ties
    random = np.random.default_rng(0).integers(0, 1 << 32, 1 << 16, dtype="uint32")
    bfloats = np.concatenate([patterns << 16, patterns << 16 | 0x8000, random]).view("float32")
    values = np.concatenate([halves, between, np.nextafter(between, np.float32(0)), bfloats])
    result = kernels.call("convert", {"values": values})
    tensor = torch.from_numpy(values)
    for bits, back, dtype in (
        ("halves", "back", torch.float16),
        ("bfloats", "bfloats_back", torch.bfloat16),
    ):
        expected = tensor.to(dtype)
        number = ~np.isnan(values)
        np.testing.assert_array_equal(
            result[bits][number], expected.view(torch.int16).numpy().view("uint16")[number]
        )
        assert (result[bits][~number] == 0x7FFF).all()
        np.testing.assert_array_equal(result[back], expected.float().numpy())


@pytest.mark.parametrize("misalign", [0, 4, 8])
def test_arrays_may_start_anywhere(kernels: Executable, misalign: int) -> None:
    np.testing.assert_array_equal(copy(kernels, misalign=misalign), normal(64))
    with pytest.raises(Died, match="AddressSanitizer: heap-buffer-overflow"):
        copy(kernels, misalign=misalign, read=1)


def test_threads_that_stay_together(healthy: Executable) -> None:
    expected = np.arange(64) - (np.arange(64) % 32 > 0)
    for seed in SEEDS:
        np.testing.assert_array_equal(part_ways(healthy, seed), expected)


@pytest.mark.parametrize("resident", [0, 1, 2, 4])
@pytest.mark.parametrize("blocks", [1, 4, 9])
def test_rows_that_follow_one_another(healthy: Executable, blocks: int, resident: int) -> None:
    sums = normal(6, 4, 32)
    for row in range(1, 6):
        sums[row] += sums[row - 1][:, ::-1]
    for seed in SEEDS:
        result = relay(healthy, seed, blocks=blocks, resident=resident)
        np.testing.assert_array_equal(result, sums.reshape(6, -1))


# ---- planted faults ----


@pytest.mark.parametrize(
    ("run", "fault"), [(block_sum, "no block barrier"), (pass_on, "no warp barrier")]
)
def test_a_missing_barrier_changes_the_result(kernels: Executable, run, fault: str) -> None:
    right = run(kernels)
    wrong = [seed for seed in SEEDS if not np.array_equal(run(kernels, seed, fault=fault), right)]
    assert len(wrong) >= len(SEEDS) // 2


@pytest.mark.parametrize(
    ("run", "fault"), [(block_sum, "no block barrier"), (pass_on, "no warp barrier")]
)
def test_a_missing_barrier_is_a_race_in_any_order(watched: Executable, run, fault: str) -> None:
    for seed in SEEDS:
        with pytest.raises(
            Fault, match=r"byte \d+ of shared memory \(faults.cpp:\d+\), which thread"
        ):
            run(watched, seed, fault=fault)


def test_threads_that_write_to_one_place_race(watched: Executable) -> None:
    np.testing.assert_array_equal(copy(watched), normal(64))
    with pytest.raises(Fault, match=r"writes byte [0-3] of an array of 256 \(faults.cpp"):
        copy(watched, unwritten=3, same=1)
    same = watched.call("copy", {"values": np.ones(64, "float32")}, blocks=2, same=1)["results"]
    assert same[0] == 1  # all write the same


@pytest.mark.parametrize(
    ("fault", "report"),
    [
        ("no release", r"thread \d+ wrote .*, and no barrier is between"),
        ("released too early", r"thread \d+ (wrote|read) .*, and no barrier is between"),
        ("no barrier", r"thread \d+ (wrote|read) .*, and no barrier is between"),
        ("no wait", r"thread \d+ (wrote|read) .*, and no barrier is between"),
        ("one lane waits", r"thread \d+ (wrote|read) .*, and no barrier is between"),
        ("through L1", r"another block's thread \d+ wrote .*, and L1 may hold what was there"),
        ("plain load", r"another block's thread \d+ wrote .*, and L1 may hold what was there"),
        ("read before", r"thread \d+ (wrote|read) .*, and no barrier is between"),
    ],
)
def test_what_another_block_wrote_is_seen_by_release_and_acquire_past_l1(
    watched: Executable, fault: str, report: str
) -> None:
    for seed in SEEDS:
        with pytest.raises(Fault, match=rf"thread \d+: (reads|writes) .*{report}"):
            relay(watched, seed, fault=fault, resident=4)


@pytest.mark.parametrize(
    "fault", ["released too early", "no barrier", "no wait", "one lane waits", "read before"]
)
def test_what_is_read_too_early_or_from_l1_changes_the_result(
    kernels: Executable, fault: str
) -> None:
    right = relay(kernels)
    wrong = [
        seed
        for seed in SEEDS
        if not np.array_equal(relay(kernels, seed, fault=fault, resident=4), right)
    ]
    assert len(wrong) >= len(SEEDS) // 4


def test_a_ticket_out_of_order_stops_all(kernels: Executable, watched: Executable) -> None:
    report = r"waits at wait_until \(faults.cpp:\d+\) for 1 where 0 is, and all that run wait"
    for executable in (kernels, watched):
        for resident in (1, 2, 4):
            for seed in SEEDS:
                with pytest.raises(Fault, match=rf"block \d, thread \d+: {report}"):
                    relay(executable, seed, fault="out of order", resident=resident)
    # With room for all of them nobody would have noticed.
    right = relay(kernels)
    for seed in SEEDS:
        all_run = {"fault": "out of order", "resident": 6, "blocks": 6}
        np.testing.assert_array_equal(relay(kernels, seed, **all_run), right)


@pytest.mark.parametrize(
    ("offsets", "report"),
    [
        ({"read": -1}, "heap-buffer-overflow.*\nREAD of size 4"),
        ({"read": 1}, "heap-buffer-overflow.*\nREAD of size 4"),
        ({"write": -1}, "heap-buffer-overflow.*\nWRITE of size 4"),
        ({"write": 1}, "heap-buffer-overflow.*\nWRITE of size 4"),
        ({"shared": -1}, "heap-buffer-overflow.*\nWRITE of size 4"),
        ({"shared": 1}, "heap-buffer-overflow.*\nWRITE of size 4"),
    ],
)
def test_an_index_one_too_far(kernels: Executable, offsets: dict[str, int], report: str) -> None:
    with pytest.raises(Died, match=report) as died:
        copy(kernels, **offsets)
    thread = 0 if -1 in offsets.values() else 63
    assert f"copy, block 0, thread {thread}\n" in str(died.value)
    assert "faults.cpp:" in str(died.value)
    np.testing.assert_array_equal(copy(kernels), normal(64))  # a new process answers


def test_what_is_not_written_is_nan(kernels: Executable) -> None:
    assert np.flatnonzero(np.isnan(copy(kernels, unwritten=17))).tolist() == [17]


@pytest.mark.parametrize(
    ("fault", "exception", "report"),
    [
        ("no wait", Died, "use-after-poison"),
        ("one group too few", Died, "use-after-poison"),
        (
            "misaligned",
            Fault,
            "thread 7: is at copy_async<16> .* from an address that is not align",
        ),
        ("never waited", Fault, "ends with 1 asynchronous copies that it has not waited for"),
    ],
)
def test_a_copy_that_is_not_there(
    kernels: Executable, fault: str, exception: type[Exception], report: str
) -> None:
    for seed in SEEDS[:4]:
        with pytest.raises(exception, match=report):
            staged_sums(kernels, seed, fault=fault)


def test_a_source_may_not_be_written_while_it_is_copied(kernels: Executable) -> None:
    results = [staged_sums(kernels, seed, fault="source overwritten").tobytes() for seed in SEEDS]
    assert len(set(results)) > 1


@pytest.mark.parametrize(
    ("fault", "report"),
    [
        ("exited", "thread 3: is at its end where thread 0 of its warp is at shuffle_up"),
        ("divergent", r"thread (1|33): is at shuffle_up .* where thread (0|32) of its warp is at"),
        ("other call", "thread 5: is at warp_barrier .* where thread 0 of its warp is at shuffle"),
        ("other width", "thread 40: is at shuffle_up"),
        ("no such lane", "is at shuffle .* with lane or delta 32 and width 32"),
        ("barrier missed", "waits at block_barrier .* where thread 32 is at its end"),
        ("other barrier", "waits at block_barrier .* where thread (0|32) is at block_barrier"),
    ],
)
def test_threads_that_part_ways(kernels: Executable, fault: str, report: str) -> None:
    for seed in SEEDS:
        with pytest.raises(Fault, match=f"part_ways, block 0, .*{report}"):
            part_ways(kernels, seed, fault=fault)


def test_blocks_are_whole_warps_and_fit_the_card(kernels: Executable) -> None:
    for threads in (48, 1056):
        with pytest.raises(Fault, match=f"{threads} threads a block"):
            part_ways(kernels, threads=threads)
    with pytest.raises(Fault, match="1025 bytes of shared memory where the card has 1024"):
        part_ways(kernels, shared=1025, card_shared_bytes=1024)
    part_ways(kernels, shared=1024, card_shared_bytes=1024)


def test_what_a_driver_does_not_understand(kernels: Executable) -> None:
    with pytest.raises(Fault, match="the request has no nonsense"):
        kernels.call("nonsense", {})
    with pytest.raises(Fault, match="array values is float64, not float32"):
        kernels.call("copy", {"values": np.zeros(64)})


def test_a_driver_is_compiled_once(kernels: Executable) -> None:
    program = compile_driver("faults.cpp")
    before = program.stat().st_mtime_ns
    assert compile_driver("faults.cpp") == program
    assert program.stat().st_mtime_ns == before
