#!/usr/bin/env python
"""Measure sentences per second and BLEU of `lskd translate` and fairseq-generate with the same teacher, beam and cores.

A task is a name, a teacher's checkpoint with its dictionaries beside it, its SentencePiece model, and raw text of the
source and the reference (also .gz). The engines take turns, --rounds times. Compare numbers within a run. Times are
those of translating, without loading. fairseq-generate prints its own time, without reading and writing. The time of
`lskd translate` is in its manifest, with reading and writing, but without the measurement that chooses settings.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import os
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from _common import Others, command, four, spread, versions, write_rows
from tabulate import tabulate

from fairseq_lskd.files import sha256
from fairseq_lskd.lines import read_lines
from fairseq_lskd.machine import cores, machine
from fairseq_lskd.scoring import score_corpus
from fairseq_lskd.sequences import harvest
from fairseq_lskd.sequences.nbest import read_nbest
from fairseq_lskd.sequences.resumable import manifest_path
from fairseq_lskd.sequences.segmentation import joiner, splitter

EXAMPLES = """examples:
  python benchmarks/translate.py --json translate.json \\
      --task multi30k runs/m30k/checkpoint_average.pt data/m30k/pieces/spm.model train.de.gz train.en.gz \\
      --task europarl runs/ep/checkpoint_average.pt data/ep/pieces/spm.model train.en.gz train.fr.gz
"""

BASELINE = "fairseq-generate"
#: Name -> options of `lskd translate`.
ENGINES = {
    "auto": [],
    "ctranslate2 float32": ["--engine", "ctranslate2", "--compute-type", "float32"],
    "ctranslate2 int8": ["--engine", "ctranslate2", "--compute-type", "int8"],
    "fairseq": ["--engine", "fairseq"],
}


@dataclass
class Task:
    """A teacher and sentences to translate, in the formats of all engines."""

    name: str
    checkpoint: Path
    model: Path
    source: list[str]
    references: list[str]
    folder: Path
    languages: tuple[str, str]
    rates: dict[str, list[float]] = field(default_factory=dict)
    walls: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def prepare(self) -> None:
        """Write the text, and binarise it for fairseq-generate."""
        split = splitter(self.model)
        write_lines(self.folder / "source", self.source)
        for language, lines in zip(self.languages, (self.source, self.references), strict=True):
            write_lines(self.folder / f"test.{language}", map(" ".join, split(lines)))
        dictionaries = [self.checkpoint.parent / f"dict.{language}.txt" for language in self.languages]
        words = ["-s", self.languages[0], "-t", self.languages[1], "--srcdict", dictionaries[0]]
        words += ["--tgtdict", dictionaries[1], "--testpref", self.folder / "test", "--destdir", self.folder / "bin"]
        call("fairseq-preprocess", *words)

    def generate(self, beam: int, max_tokens: int) -> tuple[float, list[str]]:
        """Run fairseq-generate. Return sentences per second and translations."""
        words = [self.folder / "bin", "-s", self.languages[0], "-t", self.languages[1], "--path", self.checkpoint]
        said = call(BASELINE, *words, "--beam", beam, "--max-tokens", max_tokens)
        (self.folder / "log").write_text(said, encoding="utf-8")
        rate = re.search(r"Translated [\d,]+ sentences .*\(([\d.]+) sentences/s", said)
        assert rate, said[-1000:]
        join = joiner(self.model, [])
        found = harvest(self.folder / "log", len(self.source))
        return float(rate[1]), [join(hypotheses[0].text.split()) if hypotheses else "" for hypotheses in found]

    def translate(self, beam: int, options: Sequence[str]) -> tuple[float, list[str], dict[str, Any]]:
        """Run `lskd translate`. Return sentences per second, translations and settings."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            out = Path(folder, "out.jsonl")
            words = [self.folder / "source", "--teacher-path", self.checkpoint, "--sentencepiece", self.model]
            words += ["--out", out, "--beam", beam, "--cache-dir", self.folder / "models", *options]
            call("lskd", "translate", *words)
            found = json.loads(manifest_path(out).read_text(encoding="utf-8"))
            texts = [record["hypotheses"][0]["text"] if record["hypotheses"] else "" for record in read_nbest(out)]
        return found["lines"] / found["seconds"], texts, found["settings"]


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    args = parse(argv)
    story = {"machine": machine(), "versions": versions("sacrebleu", "sentencepiece"), "command": command()}
    story["versions"]["ctranslate2"] = importlib.metadata.version("ctranslate2")
    chance = random.Random(1)
    names = [BASELINE, *args.engines]
    with tempfile.TemporaryDirectory() as folder:
        tasks = [make_task(words, args.sentences, Path(folder)) for words in args.task]
        for task in tasks:
            task.prepare()
        others = Others()
        for number, task in itertools.product(range(args.rounds), tasks):
            for name in chance.sample(names, len(names)):
                measure(task, name, args)
                rate = task.rates[name][-1]
                print(f"round {number + 1} | {task.name} | {name} | {rate:.1f} sentences/s", file=sys.stderr)
        story["others_cores"] = others.cores()
    rows = [row(task, name, args) | story for task in tasks for name in names]
    if args.json:
        write_rows(args.json, rows)
    print(table(rows))
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format rows as a Markdown table."""
    shown = [
        [
            row["corpus"],
            row["engine"],
            f"{row['sentences_per_second_median']:.0f}",
            " - ".join(f"{rate:.0f}" for rate in row["sentences_per_second_quartiles"]),
            f"{row['times_fairseq_generate']:.1f}",
            f"{row['bleu']:.2f}",
            ", ".join(f"{name} {value}" for name, value in row["settings"].items() if value),
        ]
        for row in rows
    ]
    headers = ("corpus", "engine", "sentences/s", "quartiles", f"x {BASELINE}", "BLEU", "settings")
    found = tabulate(shown, headers, tablefmt="github", disable_numparse=True)
    signatures = "  \n".join(sorted({f"`BLEU: {row['signature']}`" for row in rows}))
    first = rows[0]
    return (
        f"{found}\n\n{first['sentences']:,} sentences, beam {first['beam']}, {first['rounds']} rounds.  \n{signatures}"
    )


def measure(task: Task, name: str, args: argparse.Namespace) -> None:
    """Run one turn of an engine."""
    begun = time.perf_counter()
    settings: dict[str, Any] = {"max_tokens": args.max_tokens}
    if name == BASELINE:
        rate, texts = task.generate(args.beam, args.max_tokens)
    else:
        rate, texts, settings = task.translate(args.beam, ENGINES[name])
    task.rates.setdefault(name, []).append(rate)
    task.walls.setdefault(name, []).append(time.perf_counter() - begun)
    # Keep the facts of the last round. Measured settings may differ between rounds.
    task.facts[name] = {"settings": settings, **score_corpus(texts, task.references)}


def row(task: Task, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return the row of an engine on a task."""
    baseline = spread("rate", task.rates[BASELINE])["rate_median"]
    rates = spread("sentences_per_second", task.rates[name])
    return {
        "engine": name,
        "corpus": task.name,
        "sentences": len(task.source),
        "beam": args.beam,
        "rounds": args.rounds,
        **rates,
        "times_fairseq_generate": four(rates["sentences_per_second_median"] / baseline),
        **task.facts[name],
        **spread("wall_seconds", task.walls[name]),
        "checkpoint_sha256": sha256(task.checkpoint),
    }


def make_task(words: Sequence[str], sentences: int, folder: Path) -> Task:
    """Create a task from the values of --task."""
    import fairseq  # noqa: F401  lets the compat layer allow-list the classes in fairseq's checkpoints

    name, (checkpoint, model, *texts) = words[0], map(Path, words[1:])
    if missing := [str(path) for path in (checkpoint, model, *texts) if not path.is_file()]:
        sys.exit(f"--task {name}: {', '.join(missing)}: no such file")
    source, references = (list(itertools.islice(read_lines(path), sentences)) for path in texts)
    if not len(source) == len(references) == sentences:
        sys.exit(f"--task {name}: expected {sentences:,} lines, found {len(source):,} and {len(references):,}")
    options = torch.load(checkpoint, map_location="cpu", weights_only=True)["cfg"]["task"]
    (folder / name).mkdir()
    languages = (options["source_lang"], options["target_lang"])
    return Task(name, checkpoint, model, source, references, folder / name, languages)


def write_lines(path: Path, lines: Iterator[str] | Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def call(name: str, *words: Any) -> str:
    """Run a command on all cores and without a GPU. Return its output."""
    done = subprocess.run(
        [str(word) for word in (Path(sysconfig.get_path("scripts"), name), *words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(cores()), "CUDA_VISIBLE_DEVICES": ""},
    )
    if done.returncode:
        sys.exit(f"{name} {' '.join(map(str, words))}\n{done.stdout[-3000:]}")
    return done.stdout


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--task",
        nargs=5,
        action="append",
        required=True,
        metavar=("NAME", "CHECKPOINT", "SPM", "SOURCE", "REFERENCES"),
        help="name of a task, a teacher's checkpoint and SentencePiece model, and raw text of the source and the "
        "reference; repeatable",
    )
    parser.add_argument(
        "--sentences", type=int, default=5000, metavar="N", help="translate the first N lines (default: %(default)s)"
    )
    parser.add_argument(
        "--engines",
        nargs="*",
        choices=ENGINES,
        default=list(ENGINES),
        help="engines of lskd translate to compare with fairseq-generate (default: all)",
    )
    parser.add_argument("--beam", type=int, default=5, metavar="N", help="beam size (default: %(default)s)")
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=4000,
        metavar="N",
        help="tokens per batch in fairseq-generate (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns per engine (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="output file for the rows")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
