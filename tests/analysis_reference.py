"""The analysis once more, from its formulas: loops and plain numbers in float64. Nothing here calls the package."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

Rows = Sequence[Sequence[float]]


def by_class(probs: Tensor, target: Tensor, min_count: int) -> dict[int, list[list[float]]]:
    """The distributions of each class that has enough examples."""
    found: dict[int, list[list[float]]] = {}
    for row, label in zip(probs.double().tolist(), target.tolist(), strict=True):
        found.setdefault(label, []).append(row)
    return {label: rows for label, rows in found.items() if len(rows) >= min_count}


def mean(rows: Rows) -> list[float]:
    """Column by column."""
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def squared_distance(a: Sequence[float], b: Sequence[float]) -> float:
    """|a - b|^2."""
    return math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def distance(a: Sequence[float], b: Sequence[float]) -> float:
    """|a - b|."""
    return math.sqrt(squared_distance(a, b))


def variances(probs: Tensor, target: Tensor, min_count: int) -> dict[int, float]:
    """(1/n_c) sum |p_i - mean_c|^2 of each class."""
    found = {}
    for label, rows in by_class(probs, target, min_count).items():
        centre = mean(rows)
        found[label] = math.fsum(squared_distance(row, centre) for row in rows) / len(rows)
    return found


def intra_class_variance(probs: Tensor, target: Tensor, min_count: int) -> float:
    """1 - S of Shen et al., equation (2)."""
    found = variances(probs, target, min_count)
    return math.fsum(found.values()) / len(found)


def average_rank(values: Sequence[float], i: int) -> float:
    """1 + how many are smaller, and half of those that are equal."""
    smaller = sum(other < values[i] for other in values)
    equal = sum(other == values[i] for other in values)
    return smaller + (equal + 1) / 2


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Pearson's correlation of the ranks."""
    a = [average_rank(x, i) for i in range(len(x))]
    b = [average_rank(y, i) for i in range(len(y))]
    a0, b0 = sum(a) / len(a), sum(b) / len(b)
    top = math.fsum((s - a0) * (t - b0) for s, t in zip(a, b, strict=True))
    return top / math.sqrt(math.fsum((s - a0) ** 2 for s in a) * math.fsum((t - b0) ** 2 for t in b))


def mutual_information(values: Rows) -> float:
    """Mean of log p(y|x) / ((1/N) sum p(y|x')), with Gaussians of one variance."""
    centre = [math.fsum(row) / len(row) for row in values]
    count = sum(map(len, values))
    variance = math.fsum((y - m) ** 2 for row, m in zip(values, centre, strict=True) for y in row) / count
    total = []
    for row, m in zip(values, centre, strict=True):
        for y in row:
            own = math.exp(-((y - m) ** 2) / (2 * variance))
            others = math.fsum(math.exp(-((y - other) ** 2) / (2 * variance)) for other in centre) / len(centre)
            total.append(math.log(own / others))
    return math.fsum(total) / count
