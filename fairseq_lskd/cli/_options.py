"""Options that several commands share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

METRICS = ("bleu", "chrf", "chrf++", "ter", "comet")


def add_scoring(parser: argparse.ArgumentParser, metrics: tuple[str, ...], usual: str) -> None:
    """Add the options of `scoring.options.ScoringOptions`.

    Args:
        metrics: the metrics to choose from.
        usual: the default metrics, in words.
    """
    group = parser.add_argument_group("references and scores")
    group.add_argument(
        "-r", "--references", type=Path, nargs="+", metavar="FILE", help="one or more references, detokenised text"
    )
    group.add_argument("-l", "--language-pair", metavar="S-T", help="source and target language, for example en-de")
    group.add_argument(
        "--train",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="target side of the training text, or a folder of scripts/prepare.sh: checks that it does not contain the "
        "references",
    )
    group.add_argument(
        "-m",
        "--metrics",
        nargs="+",
        choices=metrics,
        metavar="NAME",
        help=f"metrics, from {', '.join(metrics)} (default: {usual})",
    )
    group.add_argument(
        "--tokenize",
        metavar="NAME",
        help="sacreBLEU's tokeniser for BLEU: 13a, zh, ja-mecab, ko-mecab, char, ... (default: by the target language)",
    )
    for what, words in (
        ("tokenised", "text that looks tokenised"),
        ("empty", "empty translations"),
        ("overlap", "references that are in the training text"),
        ("unknown", "translations with <unk>"),
    ):
        group.add_argument(f"--allow-{what}", action="store_true", help=f"only warn of {words}, instead of an error")


def add_options(group: Any, *rows: tuple[Any, ...]) -> None:
    """Add options with one value each to a parser or group.

    Args:
        rows: flags (separated by spaces), type, metavar, help, and the default unless it is None. The default is added
            to the help, unless it is empty or the help mentions it.
    """
    for flags, kind, metavar, help, *defaults in rows:
        default = defaults[0] if defaults else None
        help += "" if default in (None, "") or "(default" in help else " (default: %(default)s)"
        group.add_argument(*flags.split(), type=kind, metavar=metavar, help=help, default=default)


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add `--out`, an output folder."""
    help = "output folder; it is created, and left alone if it is up to date"
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=help)


def add_workers(parser: argparse.ArgumentParser, *flags: str) -> None:
    """Add `--workers`, with other flags of the same meaning."""
    help = "number of processes, which does not change the result (default: %(default)s)"
    parser.add_argument("--workers", *flags, type=int, default=os.cpu_count() or 1, metavar="N", help=help)


def add_task(group: Any) -> None:
    """Add the options of a translation task on binarised data: languages, lengths and the teacher's dictionaries."""
    add_options(
        group,
        ("-s --source-lang", str, "LANG", "source language (default: inferred from the data)"),
        ("-t --target-lang", str, "LANG", "target language (default: inferred from the data)"),
        ("--max-source-positions", int, "N", "skip sentences with more than N source tokens", 1024),
        ("--max-target-positions", int, "N", "skip sentences with more than N target tokens", 1024),
    )
    help = (
        "folder with the teacher's dict.*.txt, to check that they equal the data's (default: beside the checkpoint, or "
        "the data folder that it records)"
    )
    group.add_argument("--teacher-data", metavar="DIR", help=help)


def add_work(parser: argparse.ArgumentParser) -> Any:
    """Add a group of options for the computation: batches, shards and the device. Return the group."""
    group = parser.add_argument_group("computation")
    add_options(
        group,
        ("--max-tokens", int, "N", "maximum tokens per batch; lower it if memory is short", 8000),
        ("--shard-id", int, "I", "number of the shard that this process computes, from 0", 0),
        ("--num-shards", int, "N", "number of shards, one per process", 1),
    )
    group.add_argument("--cpu", action="store_true", help="compute on the CPU, even if there is a GPU")
    return group
