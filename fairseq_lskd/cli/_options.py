"""Options that several commands share."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ..user_dir import add_user_dir

Filled = TypeVar("Filled")
#: Names of --style beside those of tabulate.
TABLE_STYLES = {"markdown": "github", "latex": "latex_booktabs"}
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


def filled(kind: type[Filled], args: argparse.Namespace, **own: Any) -> Filled:
    """Return a dataclass `kind` with the values of the options of the same names, except for those in `own`."""
    every = fields(kind)  # type: ignore[arg-type]  # `Filled` is any dataclass, which a type variable cannot say
    names = (each.name for each in every if each.name not in own)
    return kind(**own, **{name: getattr(args, name) for name in names})


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add `--out`, an output folder."""
    help = "output folder; it is created, and left alone if it is up to date"
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=help)


def add_workers(parser: argparse.ArgumentParser, *flags: str) -> None:
    """Add `--workers`, with other flags of the same meaning."""
    help = "number of processes, which does not change the result (default: %(default)s)"
    parser.add_argument("--workers", *flags, type=int, default=os.cpu_count() or 1, metavar="N", help=help)


def add_allow_shifted(parser: argparse.ArgumentParser) -> None:
    """Add `--allow-shifted`, for a bitext of the user's own."""
    help = "warn instead of failing if the two sides of the text seem to be out of step"
    parser.add_argument("--allow-shifted", action="store_true", help=help)


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


def add_model(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the options of the model in `sequences.loading.ModelRequest`.

    Args:
        text: the name of the argument with the text, which is in the model's pieces unless there is --sentencepiece.
    """
    group = parser.add_argument_group("model")
    add_user_dir(group)
    add_options(
        group.add_mutually_exclusive_group(),
        ("--teacher-path --teacher", str, "FILES", "fairseq checkpoint, or checkpoints of an ensemble joined by ':'"),
        ("--model", Path, "DIR", "CTranslate2 model folder, instead of --teacher-path: OPUS-MT, NLLB, M2M-100, ..."),
    )
    unrecorded = "if the checkpoint does not record it or is multilingual"
    limit = "(default: the model's limit; 512 with --model, unless lskd export wrote it)"
    own = "with --model; default: those of the languages"
    forced = f"tokens that begin every target, such as a language; no part of the text or its score ({own})"
    beside = "folder with the model's dict.LANG.txt (default: beside the checkpoint, or the folder that it records)"
    add_options(
        parser.add_argument_group("vocabulary and lengths of the model"),
        ("--teacher-data", str, "DIR", beside),
        ("-s --source-lang", str, "LANG", f"source language of the model, {unrecorded}"),
        ("-t --target-lang", str, "LANG", f"target language of the model, {unrecorded}"),
        ("--sentencepiece", Path, "FILE", f"SentencePiece model of both sides; {text} is not in the model's pieces"),
        ("--sentencepiece-source", Path, "FILE", "SentencePiece model of the model's source side alone"),
        ("--sentencepiece-target", Path, "FILE", "SentencePiece model of the model's target side alone"),
        ("--source-prefix", str, "TOKENS", f"tokens to add before every source ({own})"),
        ("--source-suffix", str, "TOKENS", f"tokens to add after every source ({own})"),
        ("--target-prefix", str, "TOKENS", forced),
        ("--max-source-positions", int, "N", f"skip sources with more than N tokens {limit}"),
        ("--max-target-positions", int, "N", f"maximum length of a target in tokens {limit}"),
    )


def add_engine(group: Any, does: str, compute_types: tuple[str, ...]) -> None:
    """Add the options of the engine in `sequences.loading.ModelRequest`. The first compute type is the default.

    Args:
        does: what the engine does, as a verb: `decode` or `score`.
    """
    group.add_argument(
        "--engine",
        choices=("auto", "ctranslate2", "fairseq"),
        default="auto",
        help=f"program that {does}s; auto is CTranslate2 where it supports the model (default: %(default)s)",
    )
    devices = ("auto", "cpu", "cuda")
    group.add_argument("--device", choices=devices, default=devices[0], help="device (default: %(default)s)")
    group.add_argument(
        "--compute-type",
        choices=compute_types,
        default=compute_types[0],
        help="numeric type of the computation (default: %(default)s)",
    )
    add_options(
        group,
        ("--threads", int, "N", "number of CPU cores (default: OMP_NUM_THREADS, or all cores)"),
        ("--workers", int, "N", f"number of batches to {does} at the same time, sharing the cores"),
        ("--max-tokens", int, "N", "maximum tokens per batch, including padding"),
        ("--cache-dir", Path, "DIR", "folder for converted models (default: ctranslate2-models beside --out)"),
        ("--window", int, "N", "number of sentences that are sorted by length and written together", 2000),
    )


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
