"""Translate a corpus with a teacher or an ensemble into n-best lists, one JSON line per sentence in corpus order.

CORPUS is a binarised folder or a text file, plain or gzipped (.gz). The text is in the teacher's pieces; with
--sentencepiece, it is raw text. Translations are written after every window of sentences. If the command is killed, run
it again: it continues after the last window. docs/translate.md has the details.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ._options import add_engine, add_model, add_options, filled

if TYPE_CHECKING:
    from ..sequences.translation import Plan

EXAMPLES = """examples:
  lskd translate data/multi30k/bin --teacher-path runs/mine/teacher/checkpoint_average.pt --out runs/mine/nbest.jsonl \\
      --nbest 5 --max-len-a 1.2 --max-len-b 10
  lskd translate train.de.gz --teacher-path a.pt:b.pt --sentencepiece spm.model --out ensemble.jsonl.gz
  lskd translate train.de.gz --teacher-path a.pt --sentencepiece spm.model --plan
  lskd translate train.de.gz --teacher-path multilingual.pt -s de -t en --sentencepiece spm.model --out nbest.jsonl
  lskd translate train.en --model opus-mt-en-de --sentencepiece-source source.spm --sentencepiece-target target.spm \\
      --out opus.jsonl
  lskd translate train.de --teacher-path a.pt --out nbest.jsonl --num-shards 8 --shard-id 3
  lskd translate --merge --out nbest.jsonl --num-shards 8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd translate`."""
    parser.add_argument("corpus", type=Path, nargs="?", metavar="CORPUS", help="text file or binarised folder")
    add_options(
        parser,
        ("--out", Path, "FILE", "output file of n-best lists (gzipped if it ends in .gz)"),
        ("--subset", str, "NAME", "split of the binarised folder (default: train)"),
        ("--limit", int, "N", "translate the first N sentences only"),
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="only measure the speed, and print how long the translation takes; needs no --out",
    )

    add_model(parser, "CORPUS")

    search = parser.add_argument_group("search, as in fairseq-generate")
    add_options(
        search,
        ("--beam", int, "N", "beam size", 5),
        ("--nbest", int, "N", "number of hypotheses per sentence", 1),
        ("--lenpen", float, "X", "length penalty: score = log-probability / length ** X", 1.0),
        ("--max-len-a", float, "A", "factor of the maximum length, A * source length + B tokens", 0.0),
        ("--max-len-b", int, "B", "constant of the maximum length, A * source length + B tokens", 200),
        ("--min-len", int, "N", "minimum length of a translation in tokens", 1),
    )
    search.add_argument(
        "--sampling", action="store_true", help="sample --beam translations, and keep the --nbest with the best scores"
    )
    eta = "like --sampling-epsilon, but with the limit min(E, sqrt(E) exp(-entropy)), which is lower if entropy is high"
    unknown = "subtract X from the log-probability of <unk>; inf never generates <unk>; CTranslate2 supports 0 and inf"
    add_options(
        search,
        ("--sampling-topk", int, "K", "sample from the K likeliest tokens (default: all)", -1),
        ("--sampling-topp", float, "P", "sample from the likeliest tokens of total probability P (default: all)", -1.0),
        ("--sampling-epsilon", float, "E", "sample only tokens with at least probability E; uses fairseq", 0.0),
        ("--sampling-eta", float, "E", eta, 0.0),
        ("--temperature", float, "T", "sampling temperature", 1.0),
        ("--diverse-beam-groups", int, "N", "number of groups of diverse beam search (default: none)", -1),
        ("--diverse-beam-strength", float, "X", "penalty of diverse beam search for tokens of other groups", 0.5),
        ("--seed", int, "N", "random seed for --sampling", 1),
        ("--unkpen", float, "X", unknown, 0.0),
    )
    search.add_argument(
        "--merge-duplicates", action="store_true", help="write equal hypotheses of a sentence once, with their count"
    )
    search.add_argument("--token-scores", action="store_true", help="write the log-probability of every token too")

    engine = parser.add_argument_group("engine; settings that you leave out are chosen by a short measurement")
    add_engine(engine, "decode", ("auto", "float32", "float16", "int8"))
    add_options(engine, ("--batch-size", int, "N", "maximum sentences per batch"))

    shards = parser.add_argument_group("several processes or nodes")
    add_options(
        shards,
        ("--num-shards", int, "N", "number of shards that the corpus is divided into", 1),
        ("--shard-id", int, "I", "number of the shard to translate, from 0", 0),
    )
    shards.add_argument("--merge", action="store_true", help="join the outputs of all shards")


def run(args: argparse.Namespace) -> int:
    """Translate, print the plan, or merge shards."""
    from ..sequences.shards import merge

    if args.out is None and (args.merge or not args.plan):
        raise UserError("--out is missing: give the file to write")
    if args.merge:
        if args.num_shards < 2:
            raise UserError(
                f"--merge needs --num-shards, the number of shards: expected 2 or more, found {args.num_shards}"
            )
        print(f"{args.out}: {merge(args.out, args.num_shards):,} sentences", file=sys.stderr)
        return 0
    if args.corpus is None:
        raise UserError("CORPUS is missing: give a text file or a binarised folder")
    from ..sequences.decoding import DecodingOptions
    from ..sequences.translation import Request, plan, translate

    def request() -> Request:
        return filled(Request, args, search=filled(DecodingOptions, args))

    if not args.plan:
        translate(request())
        return 0
    with tempfile.TemporaryDirectory() as folder:
        # CTranslate2's form of the model is kept beside --out, for the translation. Without --out, it is not kept.
        args.out = args.out or Path(folder, "nbest.jsonl")
        _print_plan(plan(request()), args.num_shards)
    return 0


def _print_plan(found: Plan, shards: int) -> None:
    from tqdm import tqdm

    from ..sequences.nbest import EMPTY, TOO_LONG

    whole_time, shard_time = (tqdm.format_interval(n / found.rate) for n in (found.sentences, found.largest))
    skipped = f"skipping {found.skipped[EMPTY]:,} {EMPTY} and {found.skipped[TOO_LONG]:,} {TOO_LONG}"
    print(f"sentences  {found.sentences:,} ({found.skipped['pieces']:,} pieces), {skipped}")
    print(f"engine     {found.engine}, {found.settings} (fastest of {found.tried} settings)")
    print(f"rate       {found.rate:,.0f} sentences/s on a sample")
    print(f"shards     {shards}, of up to {found.largest:,} sentences")
    print(f"time       {whole_time}" + (f", {shard_time} per shard" if shards > 1 else ""))
