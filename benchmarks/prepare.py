#!/usr/bin/env python
"""Measure time and memory from raw text to binarised data, with the vocabulary, for this package and the plain tools.

The data are the first pairs of the corpus, repeated if there are too few. Each stage is a separate process. Its peak
memory is the proportional set size of the process and all its children, sampled ten times per second.

  sentencepiece       lskd encode, lskd binarise
  cleaned             lskd data prepare, lskd encode, lskd binarise (not on repeated pairs, which cleaning removes)
  sentencepiece_tools SentencePiece's trainer on an equally large sample, its encoder, fairseq-preprocess
  moses_bpe           lskd encode --recipe moses-bpe, lskd binarise
  moses_bpe_tools     sacremoses, subword-nmt, fairseq-preprocess
  (the plain tools use all cores if they can)
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from _common import Others, command, versions, write_rows
from tabulate import tabulate

from fairseq_lskd.data.vocabulary import SAMPLE
from fairseq_lskd.errors import UserError, exit_on_user_error
from fairseq_lskd.lines import read_lines
from fairseq_lskd.machine import cores, machine

HERE = Path(__file__).resolve().parent
CORPUS = HERE.parents[1] / "shared" / "corpora" / "europarl-en-fr"
EVERY = 0.1  # seconds between samples of the memory

EXAMPLES = """examples:
  python benchmarks/prepare.py --json benchmarks/results/prepare.json
  python benchmarks/prepare.py --recipes sentencepiece --pairs 100000 1000000 2000000 --add \\
      --json benchmarks/results/prepare.json
"""

Stages = list[tuple[str, str]]  #: name and bash command of each stage


def sentencepiece(raw: Path, out: Path, args: argparse.Namespace) -> Stages:
    return ours(raw, out, args, f"--vocab-size {args.vocab_size}")


def moses_bpe(raw: Path, out: Path, args: argparse.Namespace) -> Stages:
    return ours(raw, out, args, f"--vocab-size {args.vocab_size} --recipe moses-bpe")


def ours(raw: Path, out: Path, args: argparse.Namespace, options: str) -> Stages:
    encode = (
        f"lskd encode --raw {raw} --out {out}/pieces -s {args.source} -t {args.target} --workers {cores()} {options}"
    )
    return [("encode", encode), ("binarise", f"lskd binarise {out}/pieces --out {out}/bin --workers {cores()}")]


def cleaned(raw: Path, out: Path, args: argparse.Namespace) -> Stages:
    clean = (
        f"lskd data prepare own --raw {raw} -s {args.source} -t {args.target} --out {out}/cleaned --workers {cores()}"
    )
    return [("clean", clean), *sentencepiece(out / "cleaned" / "raw", out, args)]


def sentencepiece_tools(raw: Path, out: Path, args: argparse.Namespace) -> Stages:
    train = ",".join(f"{raw}/train.{lang}" for lang in languages(args))
    spm = (
        "import sentencepiece, sys; "
        "sentencepiece.SentencePieceTrainer.train(input=sys.argv[1], model_prefix=sys.argv[2], "
        f"vocab_size={args.vocab_size}, character_coverage=1.0, input_sentence_size={2 * SAMPLE}, "
        f"shuffle_input_sentence=True, num_threads={cores()}, minloglevel=2)"
    )
    encode = (
        "import itertools, sentencepiece, sys\n"
        "model = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])\n"
        "while block := [line.rstrip() for line in itertools.islice(sys.stdin, 20000)]:\n"
        f"    pieces = model.encode(block, out_type=str, num_threads={cores()})\n"
        "    sys.stdout.writelines(' '.join(line) + chr(10) for line in pieces)\n"
    )
    files = [f"python -c {shlex.quote(encode)} {out}/spm.model < {raw}/{name} > {out}/{name}" for name in names(args)]
    # A dictionary in the order of the model's ids, as is usual with fairseq.
    dictionary = f"tail -n +4 {out}/spm.vocab | cut -f 1 | sed 's/$/ 1/' > {out}/dict.txt"
    return [
        ("spm_train", f"python -c {shlex.quote(spm)} {train} {out}/spm"),
        ("spm_encode", " && ".join([*files, dictionary])),
        ("fairseq-preprocess", preprocess(out, args, f"--srcdict {out}/dict.txt --tgtdict {out}/dict.txt")),
    ]


def moses_bpe_tools(raw: Path, out: Path, args: argparse.Namespace) -> Stages:
    tokenise = [
        f"sacremoses -l {name.split('.')[1]} -j {cores()} -q normalize tokenize < {raw}/{name} > {out}/tok.{name}"
        for name in names(args)
    ]
    train = " ".join(f"{out}/tok.train.{lang}" for lang in languages(args))
    learn = f"cat {train} > {out}/both && subword-nmt learn-bpe -s {args.vocab_size} --num-workers {cores()}"
    apply = [
        f"subword-nmt apply-bpe -c {out}/codes --num-workers {cores()} --input {out}/tok.{name} --output {out}/{name}"
        for name in names(args)
    ]
    return [
        ("sacremoses", " && ".join(tokenise)),
        ("learn-bpe", f"{learn} --input {out}/both --output {out}/codes"),
        ("apply-bpe", " && ".join(apply)),
        ("fairseq-preprocess", preprocess(out, args, "--joined-dictionary")),
    ]


def preprocess(out: Path, args: argparse.Namespace, options: str) -> str:
    prefixes = " ".join(f"--{split}pref {out}/{split}" for split in SPLITS)
    words = f"-s {args.source} -t {args.target} {prefixes} --destdir {out}/bin --workers {cores()}"
    return f"fairseq-preprocess {words} {options}"


RECIPES: dict[str, Callable[[Path, Path, argparse.Namespace], Stages]] = {
    function.__name__: function
    for function in (sentencepiece, cleaned, sentencepiece_tools, moses_bpe, moses_bpe_tools)
}
#: Split -> name in the files of the corpus.
SPLITS = {"train": "train", "valid": "dev", "test": "test"}


def languages(args: argparse.Namespace) -> tuple[str, str]:
    return args.source, args.target


def names(args: argparse.Namespace) -> list[str]:
    return [f"{split}.{language}" for split in SPLITS for language in languages(args)]


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    args = parse(argv)
    if "cleaned" in args.recipes:
        check_pairs(args)
    packages = ("sentencepiece", "sacremoses", "subword-nmt")
    story = {"machine": machine(), "versions": versions() | {name: version(name) for name in packages}}
    story["command"] = command()
    rows = json.loads(args.json.read_text(encoding="utf-8")) if args.add and args.json.exists() else []
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        for pairs, recipe in itertools.product(args.pairs, args.recipes):
            raw = Path(scratch, "raw")
            write_bitext(raw, pairs, args)
            others = Others()
            row = {"recipe": recipe, "pairs": pairs, **measure(recipe, raw, Path(scratch, "out"), args)}
            row["others_cores"] = others.cores()
            print(f"{recipe}, {pairs:,} pairs: {row['seconds']} s, {row['peak_mb']} MB", file=sys.stderr)
            rows = [old for old in rows if (old["recipe"], old["pairs"]) != (recipe, pairs)] + [row | story]
            if args.json:  # after each recipe, because the plain tools are slow
                write_rows(args.json, rows)
    print(table(rows))
    return rows


def version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def check_pairs(args: argparse.Namespace) -> None:
    """Check that no pairs are repeated. Cleaning removes repeats, so that `cleaned` would encode fewer pairs.

    Raises:
        UserError: if the corpus has fewer pairs than asked for.
    """
    path = args.corpus / f"train.{args.source}.gz"
    if (most := max(args.pairs)) > (size := sum(1 for _ in read_lines(path))):
        raise UserError(
            f"--pairs {most}: {path} has {size:,} pairs, and `cleaned` would remove the repeated ones. Measure it with "
            f"up to {size} pairs, or leave it out of --recipes"
        )


def write_bitext(raw: Path, pairs: int, args: argparse.Namespace) -> None:
    """Write the first pairs of the training set, repeated if there are too few, and the validation and test sets."""
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir()
    for split, name in SPLITS.items():
        for language in languages(args):
            with (raw / f"{split}.{language}").open("w", encoding="utf-8") as out:
                path = args.corpus / f"{name}.{language}.gz"
                lines: Iterator[str] = read_lines(path)
                if split == "train":
                    lines = itertools.islice(
                        itertools.chain.from_iterable(read_lines(path) for _ in itertools.count()), pairs
                    )
                out.writelines(f"{line}\n" for line in lines)


def measure(recipe: str, raw: Path, out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Run all stages of a recipe. Return seconds and peak memory in total and of each stage."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    stages, processor, peaks = {}, 0.0, {}
    for name, does in RECIPES[recipe](raw, out, args):
        stages[name], used, peaks[name] = run(does)
        processor += used
    size = sum(path.stat().st_size for path in (out / "bin").glob("train.*.bin"))
    return {
        "seconds": round(sum(stages.values()), 1),
        "cpu_seconds": round(processor, 1),
        "load": round(os.getloadavg()[1], 1),  # over five minutes; above the number of cores, other programs ran too
        "peak_mb": max(peaks.values()),
        "stage_seconds": stages,
        "stage_peak_mb": peaks,
        "train_bin_mb": round(size / 1e6, 1),
    }


def run(does: str) -> tuple[float, float, int]:
    """Run a bash command. Return seconds, CPU seconds of all its processes, and peak memory in MB."""
    before = os.times()
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    start, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", does],
            env=os.environ | {"PATH": here},
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None:
            peak = max(peak, sum(map(memory, tree(process.pid))))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(EVERY)
        seconds = time.monotonic() - start
        if process.returncode:
            said.seek(0)
            sys.exit(f"status {process.returncode} of: {does}\n{said.read().decode(errors='replace')[-2000:]}")
    after = os.times()
    used = sum(getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system"))
    return round(seconds, 1), used, round(peak / 1e6)


def tree(process: int) -> Iterator[int]:
    """Yield the ids of a process and all its descendants."""
    yield process
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


def memory(process: int) -> int:
    """Return the proportional set size in bytes, in which shared memory counts once; 0 if the process has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format rows as a Markdown table."""
    order = list(RECIPES)
    ordered = sorted(rows, key=lambda row: (row["pairs"] != 300_000, order.index(row["recipe"]), row["pairs"]))
    slowest = {row["pairs"]: row["seconds"] for row in rows if row["recipe"] == "moses_bpe_tools"}
    shown = [
        [
            row["recipe"],
            f"{row['pairs']:,}",
            row["seconds"],
            f"{slowest[row['pairs']] / row['seconds']:.1f}" if row["pairs"] in slowest else "",
            round(row["pairs"] / row["seconds"]),
            round(row["cpu_seconds"]),
            row["load"],
            f"{row['peak_mb']:,}",
            ", ".join(f"{name} {seconds:.0f}" for name, seconds in row["stage_seconds"].items()),
        ]
        for row in ordered
    ]
    headers = (
        "recipe",
        "pairs",
        "seconds",
        "x faster than moses_bpe_tools",
        "pairs/s",
        "CPU seconds",
        "load",
        "peak MB",
        "seconds of each stage",
    )
    return tabulate(shown, headers, tablefmt="github", disable_numparse=True)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), help="recipes to measure (default: all)"
    )
    parser.add_argument(
        "--pairs",
        nargs="+",
        type=int,
        default=[300_000],
        metavar="N",
        help="numbers of sentence pairs (default: 300000)",
    )
    parser.add_argument(
        "--vocab-size", type=int, default=32_000, metavar="N", help="vocabulary size (default: %(default)s)"
    )
    parser.add_argument(
        "--corpus",
        type=Path,
        default=CORPUS,
        metavar="DIR",
        help="folder with {train,dev,test}.LANG.gz (default: %(default)s)",
    )
    parser.add_argument("--source", default="en", metavar="LANG", help="source language (default: %(default)s)")
    parser.add_argument("--target", default="fr", metavar="LANG", help="target language (default: %(default)s)")
    parser.add_argument(
        "--scratch", type=Path, metavar="DIR", help="folder for temporary files (default: the system's)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="output file for the rows")
    parser.add_argument(
        "--add", action="store_true", help="keep the rows in --json FILE, except those of the same recipe and size"
    )
    args = parser.parse_args(argv)
    if args.scratch and not args.scratch.is_dir():
        parser.error(f"--scratch {args.scratch}: no such folder")
    return args


if __name__ == "__main__":
    with exit_on_user_error("prepare.py"):
        main()
