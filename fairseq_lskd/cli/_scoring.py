"""Options of the commands that score."""

from __future__ import annotations

import argparse
from pathlib import Path

METRICS = ("bleu", "chrf", "chrf++", "ter", "comet")


def add_scoring(parser: argparse.ArgumentParser, metrics: tuple[str, ...], usual: str) -> None:
    """Those of `scoring.options.ScoringOptions`.

    Args:
        metrics: what there is to choose; usual: what is taken if nothing is chosen.
    """
    group = parser.add_argument_group("references and scores")
    group.add_argument("-r", "--references", type=Path, nargs="+", metavar="FILE", help="references, detokenised")
    group.add_argument("-l", "--language-pair", metavar="S-T", help="languages, en-de")
    group.add_argument(
        "--train",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="training text of the target side, or a folder of scripts/prepare.sh: must not hold the references",
    )
    group.add_argument(
        "-m", "--metrics", nargs="+", choices=metrics, metavar="NAME", help=f"{', '.join(metrics)} ({usual})"
    )
    group.add_argument(
        "--tokenize",
        metavar="NAME",
        help="BLEU's tokeniser, one of sacreBLEU's: 13a, zh, ja-mecab, ko-mecab, char, ... (by the target language)",
    )
    for what in ("tokenised", "empty", "overlap", "unknown"):
        group.add_argument(f"--allow-{what}", action="store_true", help="warn instead of refusing")
