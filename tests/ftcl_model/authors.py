"""The arithmetic of the authors' code, restated in plain loops over Python floats and lists.

Written from a reading of their public repository (ACMNet/FTCLNet, their two losses, the test
script), sharing no code with `ftcl_model`: what `variant: official` is compared with. Weights have
the authors' names. It handles one video, or one pair, at a time.
"""

from __future__ import annotations

import math

import numpy as np

Weights = dict[str, np.ndarray]
Rows = list[list[float]]


def random_weights(width: int, classes: int, projection: int, seed: int, scale: float) -> Weights:
    """float32 tensors with the names and shapes of their state dict."""
    rng = np.random.default_rng(seed)
    shapes = {
        "feature_embedding.0": (width, width, 3),
        "att_branch": (3, width, 1),
        "snippet_cls": (classes + 1, width),
        "feature_trans": (projection, width),
    }
    weights = {}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = (scale * rng.standard_normal(shape)).astype(np.float32)
        weights[f"{name}.bias"] = (0.1 * rng.standard_normal(shape[0])).astype(np.float32)
    return weights


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    terms = [math.exp(value - top) for value in values]
    return [term / sum(terms) for term in terms]


def affine(weight: np.ndarray, bias: np.ndarray, row: list[float]) -> list[float]:
    return [
        math.fsum(float(w) * x for w, x in zip(line, row, strict=True)) + float(b)
        for line, b in zip(weight, bias, strict=True)
    ]


def mean_rows(rows: Rows) -> list[float]:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def forward(weights: Weights, features: np.ndarray, divisors: tuple[int, int, int]) -> dict:
    """Their `forward_once` in evaluation mode on the snippets (T, width) of one video."""
    count = len(features)
    padded = [[0.0] * features.shape[1], *features.astype(float).tolist(), [0.0] * len(features[0])]
    kernel = weights["feature_embedding.0.weight"].astype(float)
    embedding: Rows = []
    for t in range(count):
        row = []
        for out, bias in zip(kernel, weights["feature_embedding.0.bias"], strict=True):
            total = float(bias) + math.fsum(
                float(out[channel, tap]) * padded[t + tap][channel]
                for channel in range(len(out))
                for tap in range(3)
            )
            row.append(max(total, 0.0))
        embedding.append(row)
    att_weight, att_bias = weights["att_branch.weight"][:, :, 0], weights["att_branch.bias"]
    attention = [softmax(affine(att_weight, att_bias, row)) for row in embedding]
    logits = [
        affine(weights["snippet_cls.weight"], weights["snippet_cls.bias"], row) for row in embedding
    ]
    video, branch_features = [], []
    for branch, divisor in enumerate(divisors):
        top = max(count // divisor, 1)
        scaled = [[x * attention[t][branch] for x in logits[t]] for t in range(count)]
        ranked = [sorted(column, reverse=True)[:top] for column in zip(*scaled, strict=True)]
        video.append(softmax([math.fsum(column) / top for column in ranked]))
        order = sorted(range(count), key=lambda t: -attention[t][branch])[:top]
        branch_features.append(mean_rows([embedding[t] for t in order]))
    instance = [softmax([x * attention[t][0] for x in logits[t]]) for t in range(count)]
    return {
        "embedding": embedding,
        "attention": attention,
        "instance_scores": instance,
        "video": video,
        "branch_features": branch_features,
    }


def chosen(output: dict, first: int, last: int) -> Rows:
    """Ranks first..last by the instance attention, put back into the order of time."""
    attention = [row[0] for row in output["attention"]]
    ranked = sorted(range(len(attention)), key=lambda t: -attention[t])[first:last]
    return [output["embedding"][t] for t in sorted(ranked)]


def cosine(a: list[float], b: list[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / (math.hypot(*a) * math.hypot(*b))


def acm_terms(output: dict, labels: list[float], margin: float, floor: float) -> dict[str, float]:
    """The unweighted terms of the backbone for one video; `floor` is added in the logarithm."""
    terms = {}
    targets = ([*labels, 0.0], [*labels, 1.0], [0.0] * len(labels) + [1.0])
    for name, target, scores in zip(
        ("instance", "context", "background"), targets, output["video"], strict=True
    ):
        terms[name] = -math.fsum(
            t / sum(target) * math.log(p + floor)
            for t, p in zip(target, scores, strict=True)
            if t > 0
        )
    pairs = list(zip(output["instance_scores"], output["attention"], strict=True))
    terms["guide"] = math.fsum(abs(1 - scores[-1] - attention[0]) for scores, attention in pairs)
    terms["sparsity"] = math.fsum(a[0] + a[1] for a in output["attention"]) / 2
    a, b, c = (math.hypot(*row) for row in output["branch_features"])
    terms["norm"] = (max(margin - a + b, 0) + max(margin - b + c, 0) + c) ** 2
    return terms


def fsd(weights: Weights, u: Rows, v: Rows, gamma: float) -> float:
    """Their alignment score: one gap for insertions and deletions, zero borders."""

    def project(rows: Rows) -> Rows:
        return [
            affine(weights["feature_trans.weight"], weights["feature_trans.bias"], r) for r in rows
        ]

    u, v = project(u), project(v)
    half = len(u[0]) // 2
    table = [[0.0] * (len(v) + 1) for _ in range(len(u) + 1)]
    for i, a in enumerate(u, 1):
        for j, b in enumerate(v, 1):
            m, g = cosine(a[:half], b[:half]), cosine(a[half:], b[half:])
            arcs = (table[i - 1][j - 1], g + table[i - 1][j], g + table[i][j - 1])
            top = max(arcs)
            total = math.fsum(math.exp((arc - top) / gamma) for arc in arcs)
            table[i][j] = m + top + gamma * math.log(total)
    return table[-1][-1]


def lcs(u: Rows, v: Rows, tau: float) -> float:
    table = [[0.0] * (len(v) + 1) for _ in range(len(u) + 1)]
    for i, a in enumerate(u, 1):
        for j, b in enumerate(v, 1):
            c = cosine(a, b)
            if c > tau:
                table[i][j] = table[i - 1][j - 1] + c
            else:
                table[i][j] = max(table[i - 1][j], table[i][j - 1])
    return table[-1][-1]


def contrast_terms(
    weights: Weights,
    pairs: list[tuple[dict, dict]],
    same: list[bool],
    *,
    fsd_length: int,
    lcs_length: int,
    tau: float,
    gamma: float = 0.1,
) -> dict[str, float]:
    """The unweighted FSD and LCS losses of a batch of pairs."""
    scores: dict[str, list[float]] = {"fsd": [], "lcs": []}
    for (first, second), alike in zip(pairs, same, strict=True):
        skip = 0 if alike else fsd_length
        other = chosen(second, skip, skip + fsd_length)
        scores["fsd"].append(fsd(weights, chosen(first, 0, fsd_length), other, gamma))
        scores["lcs"].append(lcs(chosen(first, 0, lcs_length), chosen(second, 0, lcs_length), tau))
    losses = {}
    for name, values in scores.items():
        positive = [value for value, alike in zip(values, same, strict=True) if alike]
        negative = [value for value, alike in zip(values, same, strict=True) if not alike]
        losses[name] = sum(negative) / (len(negative) + 1e-10) - sum(positive) / (
            len(positive) + 1e-10
        )
    return losses


def uniform_sample(length: int, count: int) -> list[int]:
    if 1 < length <= count:
        return list(range(length))
    if length == 1:
        count = 2
    scale = length / count
    return [math.floor(i * scale) for i in range(count)]


def upsample(values: list[float], scale: int) -> list[float]:
    """Linear interpolation at every 1 / scale of a step; the last line is drawn on."""
    result = []
    for position in np.arange(0, len(values), 1 / scale).tolist():
        left = min(int(position), len(values) - 2)
        slope = values[left + 1] - values[left]
        result.append(values[left] + slope * (position - left))
    return result


def groups(points: list[int]) -> list[list[int]]:
    result: list[list[int]] = []
    for point in points:
        if result and point == result[-1][-1] + 1:
            result[-1].append(point)
        else:
            result.append([point])
    return result


def proposals(
    points: list[int], curve: list[float], factor: float, ratio: float, bonus: float
) -> Rows:
    """[score, start, end] of every group of points, by the contrast of its inside and outside."""
    result = []
    for group in groups(points):
        if len(group) < 2:
            continue
        before = max(0, int(group[0] - ratio * len(group)))
        after = min(len(curve) - 1, int(group[-1] + ratio * len(group)))
        outside = [*range(before, group[0]), *range(group[-1] + 1, after + 1)]
        inner = math.fsum(curve[p] for p in group) / len(group)
        outer = math.fsum(curve[p] for p in outside) / len(outside) if outside else 0.0
        result.append([inner - outer + bonus, group[0] * factor, (group[-1] + 1) * factor])
    return result


def nms(rows: Rows, threshold: float) -> Rows:
    """Suppression with a second added to every extent; of equal scores the last comes first."""
    order = sorted(range(len(rows)), key=lambda i: rows[i][0])[::-1]
    kept: Rows = []
    while order:
        best = rows[order[0]]
        kept.append(best)
        rest = []
        for index in order[1:]:
            other = rows[index]
            inner = max(0.0, min(best[2], other[2]) - max(best[1], other[1]) + 1)
            union = (best[2] - best[1] + 1) + (other[2] - other[1] + 1) - inner
            if inner / union < threshold:
                rest.append(index)
        order = rest
    return kept


def detect(
    weights: Weights,
    features: np.ndarray,
    *,
    divisors: tuple[int, int, int],
    sampled: int,
    seconds_per_snippet: float,
    class_threshold: float = 0.25,
    activation_thresholds: tuple[float, ...] = (0.15, 0.2),
    scale: int = 20,
    ratio: float = 0.2,
    weight: float = 0.0,
    nms_threshold: float = 0.55,
) -> dict[int, Rows]:
    """Their test script on one video: by class, [score, start, end] by falling score."""
    scored = features[uniform_sample(len(features), sampled)]
    output = forward(weights, scored, divisors)
    factor = seconds_per_snippet * len(features) / (scale * len(scored))
    video = output["video"][0][:-1]
    picked = [c for c, score in enumerate(video) if score > class_threshold]
    picked = picked or [video.index(max(video))]
    attention = upsample([row[0] for row in output["attention"]], scale)
    result = {}
    for label in picked:
        curve = upsample([row[label] for row in output["instance_scores"]], scale)
        rows: Rows = []
        for threshold in activation_thresholds:
            cut = [value if value >= threshold else 0.0 for value in curve]
            points = [p for p, value in enumerate(cut) if value >= threshold]
            rows += proposals(points, cut, factor, ratio, weight * video[label])
        for threshold in np.arange(0.15, 1.0, 0.05):
            points = [p for p, value in enumerate(attention) if value >= threshold]
            rows += proposals(points, curve, factor, ratio, weight * video[label])
        if rows:
            result[label] = nms(rows, nms_threshold)
    return result
