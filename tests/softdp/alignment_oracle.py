"""What an alignment has to say of tiny tables, from all of their paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softdp import AlignmentPath
from tests.softdp.path_enumeration import Table, Way
from tests.softdp.support import normal

N, M = 3, 3
_KINDS = "match", "delete", "insert"


class Oracle:
    """The distribution over the paths of one pair. costs: values are the negatives of these."""

    def __init__(self, found: Sequence[Way], gamma: float, n: int, m: int) -> None:
        self.found, self.n, self.m = found, n, m
        values = np.array([way.value for way in found])
        self.best = values.max(initial=-math.inf)
        self.possible = self.best > -math.inf
        scaled = np.exp((values - self.best) / gamma) if self.possible else values * 0
        self.shares = scaled / scaled.sum() if self.possible else scaled
        self.score = self.best + gamma * math.log(scaled.sum()) if self.possible else -math.inf

    def entropy(self) -> float:
        return -sum(share * math.log(share) for share in self.shares if share > 0)

    def expected(self) -> list[np.ndarray]:
        """Of match, delete and insert."""
        tables = [np.zeros((self.n, self.m)) for _ in range(3)]
        for share, way in zip(self.shares, self.found, strict=True):
            for arc, i, j in way.steps():
                if i >= 0 and j >= 0:
                    tables[arc][i, j] += share
        return tables

    def paths(self, most: int) -> AlignmentPath:
        """All of them, in the form of AlignmentPath, with room for so many steps."""
        pairs = torch.full((len(self.found), most, 2), -1)
        arcs = torch.full((len(self.found), most), -1)
        for k, way in enumerate(self.found):
            for step, (arc, i, j) in enumerate(way.steps()):
                arcs[k, step], pairs[k, step] = arc, torch.tensor([i, j])
        lengths = torch.tensor([len(way.arcs) for way in self.found], dtype=torch.int64)
        return AlignmentPath(pairs, arcs, lengths, torch.zeros(len(self.found)))

    def key_shares(self) -> dict[tuple[Any, ...], float]:
        """By the steps: paths without one are not told apart."""
        found: dict[tuple[Any, ...], float] = {}
        for share, way in zip(self.shares, self.found, strict=True):
            key = tuple(way.steps())
            found[key] = found.get(key, 0.0) + share
        return found


def check(alignment: Any, oracles: Sequence[Oracle], sign: int = 1) -> None:
    """All that an alignment says of its pairs, shape (pairs,)."""
    expected, entropy, best = alignment.expected, alignment.entropy(), alignment.best()
    n, m = expected.match.shape[-2:]
    device = expected.match.device
    of_best = alignment.log_prob(best)
    for k, oracle in enumerate(oracles):
        close(alignment.score[k], sign * oracle.score, "score")
        for kind, wanted in zip(_KINDS, oracle.expected(), strict=True):
            padded = np.zeros((n, m))
            padded[: oracle.n, : oracle.m] = wanted
            close(getattr(expected, kind)[k], padded, f"expected {kind}")
        close(entropy[k], oracle.entropy(), "entropy")
        close(best.score[k], sign * oracle.best, "score of the best path")
        if not oracle.possible:
            assert best.lengths[k] == 0
            assert of_best[k] == -math.inf
            continue
        close(of_best[k], math.log(oracle.shares.max()), "probability of the best path")
        length = int(best.lengths[k])
        assert (best.arcs[k, :length] >= 0).all()
        assert (best.arcs[k, length:] == -1).all()
        assert (best.pairs[k, length:] == -1).all()
        # The k-th paths of every pair are asked for together: of the others any.
        paths = oracle.paths(n + m)
        together = AlignmentPath(
            *(part.to(device)[:, None].expand(-1, len(oracles), *part.shape[1:]) for part in paths)
        )
        got = alignment.log_prob(together)[:, k]
        wanted_logs = np.log(np.maximum(oracle.shares, 1e-300))
        close(got, np.where(oracle.shares > 0, wanted_logs, -math.inf), "log_prob")


def close(actual: Tensor, expected: Any, what: str) -> None:
    np.testing.assert_allclose(
        actual.detach().cpu().numpy(), expected, rtol=1e-9, atol=1e-11, err_msg=what
    )


def gap_tables(device: torch.device, pairs: int = 2) -> list[Tensor]:
    shapes = (pairs, N, M), (pairs, N + 1, M), (pairs, N, M + 1)
    return [normal(*shape, seed=k).to(device) for k, shape in enumerate(shapes)]


def of_pair(tables: Sequence[Tensor], k: int, n: int, m: int, sign: int = 1) -> Table:
    match, insert, delete = (sign * table[k].cpu().numpy() for table in tables)
    return Table(match[:n, :m], insert[: n + 1, :m], delete[:n, : m + 1])


def double(*shape: int, seed: int, device: torch.device) -> Tensor:
    return normal(*shape, seed=seed).to(device).requires_grad_()
