"""Machine code of a GPU, as `nvdisasm -c -hex` prints it.

Its innermost loops, a path through each of them, and how long a warp alone takes for that.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypedDict

UNITS = {
    "shuffle": ("SHFL", "VOTE", "REDUX", "MATCH"),
    "shared": ("LDS", "STS", "LD", "ST"),
    "global": ("LDG", "STG", "ATOM", "ATOMG", "RED"),
    "copy": ("LDGSTS", "LDGDEPBAR", "DEPBAR"),
    "constant": ("LDC", "ULDC"),
    "special": ("MUFU", "F2I", "I2F", "F2F", "I2FP"),
    "fma": ("FFMA", "FMUL", "FADD", "IMAD", "HFMA2"),
    "float64": ("DADD", "DMUL", "DFMA", "DSETP"),
    "uniform": ("UMOV", "UIADD3", "USHF", "ULOP3", "UISETP", "UIMAD", "R2UR", "USEL", "ULEA"),
    "branch": ("BRA", "BRX", "BSSY", "BSYNC", "WARPSYNC", "CALL", "RET", "BREAK", "NOP", "EXIT"),
}
_UNIT_OF = {name: unit for unit, names in UNITS.items() for name in names}

LATENCIES = {"shuffle": 24, "shared": 29, "constant": 30, "special": 22, "global": 600}
"""Cycles until a result is there that has to be waited for, of each unit; assumed, not measured."""
_OTHER_LATENCY = 25
_READ_LATENCY = 12  # until operands have been read


class Control(NamedTuple):
    """What the compiler says about when the next instruction may be issued.

    stall: cycles until then.
    writes, reads: the barrier that is lifted when the result is there, when the operands have been
        read; 7: none.
    waits: bit b for each barrier that has to be lifted first.
    """

    stall: int = 1
    writes: int = 7
    reads: int = 7
    waits: int = 0


class Instruction(NamedTuple):
    """One, and of a branch to where it may lead, and whether it always does."""

    name: str
    target: str | None
    always: bool
    control: Control = Control()

    @property
    def unit(self) -> str:
        """What executes it."""
        return _UNIT_OF.get(self.name.partition(".")[0], "integer")


class Path(TypedDict):
    """What a warp executes in a turn of a loop over steps.

    alone: whether no other is possible, as no branch leads past a part of the loop.
    gamma: whether it has logarithms, which the gradient of gamma alone asks for.
    fused: how many multiply-adds of floats it has, which round once.
    cycles: of a turn, by the schedule, if no other warp is there.
    """

    alone: bool
    gamma: bool
    instructions: int
    units: dict[str, int]
    fused: int
    cycles: int


class Loop(TypedDict):
    """An innermost loop, and how many instructions it has by the unit that executes them.

    does: "steps" of a sweep; "stages" what is copied as it is, "converts" what is not; "writes".
    moves: how many instructions move 16 bytes between global and shared memory.
    """

    does: str
    instructions: int
    units: dict[str, int]
    moves: int
    path: Path


def instructions(text: str) -> tuple[list[Instruction], dict[str, int]]:
    """Those of one kernel, and at which of them each label stands."""
    found: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if label := re.match(r"(\.L_\w+):", line):
            labels[label[1]] = len(found)
            continue
        one = re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+)?\s*([A-Z][\w.]*)(.*?);", line)
        if one:
            target = re.search(r"`\((\.L_\w+)\)", one[3]) if one[2] == "BRA" else None
            always = one[1] is None and not re.match(r"\s+!?U?P\d", one[3])
            found.append(Instruction(one[2], target and target[1], always))
        elif found and (word := re.match(r"\s+/\* 0x([0-9a-f]{16}) \*/", line)):
            found[-1] = found[-1]._replace(control=_control(int(word[1], 16)))
    return found, labels


def _control(upper_word: int) -> Control:
    """From the upper 64 bits of an instruction, as Volta and all since have them."""
    return Control(
        stall=upper_word >> 41 & 15,
        writes=upper_word >> 46 & 7,
        reads=upper_word >> 49 & 7,
        waits=upper_word >> 52 & 63,
    )


def loops(found: Sequence[Instruction], labels: dict[str, int]) -> list[Loop]:
    """Its innermost loops that do something, in their order.

    What leads back from behind the kernel's end returns from code that stands aside, for lanes that
    have parted.
    """
    ranges = []
    for end, instruction in enumerate(found):
        begin = labels.get(instruction.target or "")
        if begin is not None and begin <= end:
            inside = found[begin : end + 1]
            if not any(each.name == "EXIT" and each.always for each in inside):
                ranges.append((begin, end))
    told: list[Loop] = []
    for begin, end in sorted(ranges):
        if any((begin, end) != (a, b) and begin <= a and b <= end for a, b in ranges):
            continue
        inside = found[begin : end + 1]
        if does := _purpose(each.name.partition(".")[0] for each in inside):
            told.append(
                Loop(
                    does=does,
                    instructions=len(inside),
                    units=_units(inside),
                    moves=sum(_moves_16_bytes(each.name) for each in inside),
                    path=_path(found, labels, begin, end),
                )
            )
    return told


def _purpose(names: Iterable[str]) -> str | None:
    present = set(names)
    if "SHFL" in present:
        return "steps"
    if "LDGSTS" in present:
        return "stages"
    if {"LDG", "STS"} <= present:
        return "converts"
    return "writes" if "STG" in present else None


def _moves_16_bytes(name: str) -> bool:
    return name.startswith(("LDGSTS", "STG", "STS")) and "128" in name.split(".")


def _units(executed: Iterable[Instruction]) -> dict[str, int]:
    return dict(sorted(collections.Counter(each.unit for each in executed).items()))


def _path(found: Sequence[Instruction], labels: dict[str, int], begin: int, end: int) -> Path:
    """The one on which no branch is taken that may not be, but for the last, which leads back.

    But what has logarithms and writes nothing is passed over where it may be: few ask for the
    gradient of gamma.
    """
    executed, alone, at = [], True, begin
    while begin <= at <= end:
        instruction = found[at]
        executed.append(instruction)
        target = labels.get(instruction.target or "")
        at += 1
        if target is not None and at <= end:
            if instruction.always:
                at = target
            elif begin <= target <= end:
                alone = False
                part = found[at:target]
                if _has_logarithms(part) and not any(_writes(each.name) for each in part):
                    at = target
    return Path(
        alone=alone,
        gamma=_has_logarithms(executed),
        instructions=len(executed),
        units=_units(executed),
        fused=sum(each.name.partition(".")[0] == "FFMA" for each in executed),
        cycles=cycles_of_turn(executed),
    )


def _writes(name: str) -> bool:
    return name.partition(".")[0] in ("ST", "STS", "STG")


def _has_logarithms(executed: Sequence[Instruction]) -> bool:
    return any(each.name == "MUFU.LG2" for each in executed)


def cycles_of_turn(executed: Sequence[Instruction]) -> int:
    """How long a warp takes for a turn if it is alone.

    Instructions are issued in order, each when the one before it says and when the barriers that it
    waits for are lifted. The first turn has less to wait for: it is the difference between two.
    """
    now, lifted, ends = 0, [0] * 6, []
    for _ in range(4):
        for instruction in executed:
            stall, writes, reads, waits = instruction.control
            now = max([now, *(lifted[b] for b in range(6) if waits >> b & 1)])
            if writes < 6:
                latency = LATENCIES.get(instruction.unit, _OTHER_LATENCY)
                lifted[writes] = max(lifted[writes], now + latency)
            if reads < 6:
                lifted[reads] = max(lifted[reads], now + _READ_LATENCY)
            now += max(1, stall)
        ends.append(now)
    return ends[-1] - ends[-2]
