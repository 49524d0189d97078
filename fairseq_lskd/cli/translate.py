"""Translate a corpus with a teacher, or an ensemble, into n-best lists: one JSON line a sentence, in its order.

CORPUS is a text file (.gz too), in the pieces that the teacher was trained on or, with --sentencepiece, as raw text;
or a binarised folder. What was translated is on disk after every window of sentences: called again after a kill, the
same command goes on there. docs/translate.md says more.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..user_dir import add_user_dir

if TYPE_CHECKING:
    from ..sequences.translation import Plan

EXAMPLES = """examples:
  lskd translate data/multi30k/bin --teacher-path runs/mine/teacher/checkpoint_average.pt --out runs/mine/nbest.jsonl \\
      --nbest 5 --max-len-a 1.2 --max-len-b 10
  lskd translate train.de.gz --teacher-path a.pt:b.pt --sentencepiece spm.model --out ensemble.jsonl.gz
  lskd translate train.de.gz --teacher-path a.pt --sentencepiece spm.model --out nbest.jsonl --plan
  lskd translate train.de.gz --teacher-path multilingual.pt -s de -t en --sentencepiece spm.model --out nbest.jsonl
  lskd translate train.en --model opus-mt-en-de --sentencepiece-source source.spm --sentencepiece-target target.spm \\
      --out opus.jsonl
  lskd translate train.de --teacher-path a.pt --out nbest.jsonl --num-shards 8 --shard-id 3
  lskd translate --merge --out nbest.jsonl --num-shards 8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd translate`."""
    parser.add_argument("corpus", type=Path, nargs="?", metavar="CORPUS", help="a text file, or a binarised folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the n-best lists (.gz: gzipped)")
    parser.add_argument("--subset", metavar="NAME", help="split of a binarised folder (train)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N sentences")
    parser.add_argument("--plan", action="store_true", help="print what there is to do and how long it takes; stop")

    of_teacher = parser.add_argument_group("the teacher")
    add_user_dir(of_teacher)
    teacher = of_teacher.add_mutually_exclusive_group()
    teacher.add_argument("--teacher-path", metavar="FILE", help="fairseq checkpoints; joined by : they are an ensemble")
    teacher.add_argument("--model", type=Path, metavar="DIR", help="or a CTranslate2 model folder: OPUS-MT, NLLB, M2M")
    text = parser.add_argument_group("its vocabulary")
    text.add_argument("--teacher-data", metavar="DIR", help="folder of its dict.LANG.txt (beside the checkpoint)")
    text.add_argument("-s", "--source-lang", metavar="LANG", help="where the checkpoint doesn't say it, or has more")
    text.add_argument("-t", "--target-lang", metavar="LANG")
    text.add_argument("--sentencepiece", type=Path, metavar="FILE", help="CORPUS is raw text; the model of both sides")
    text.add_argument("--sentencepiece-source", type=Path, metavar="FILE", help="the source's, if it is another")
    text.add_argument("--sentencepiece-target", type=Path, metavar="FILE", help="the target's, if it is another")
    text.add_argument("--source-prefix", default="", metavar="TOKENS", help="put before every source (with --model)")
    text.add_argument("--source-suffix", metavar="TOKENS", help="put after every source (with --model)")
    text.add_argument("--target-prefix", default="", metavar="TOKENS", help="what a translation begins with (--model)")
    text.add_argument(
        "--max-source-positions", type=int, metavar="N", help="skip longer sources (the teacher's; with --model: 512)"
    )
    text.add_argument(
        "--max-target-positions", type=int, metavar="N", help="write at most so much (the teacher's; with --model: 512)"
    )

    search = parser.add_argument_group("the search, as in fairseq-generate")
    search.add_argument("--beam", type=int, default=5, metavar="N", help="(%(default)s)")
    search.add_argument("--nbest", type=int, default=1, metavar="N", help="hypotheses a sentence (%(default)s)")
    search.add_argument(
        "--lenpen", type=float, default=1.0, metavar="X", help="score = log p / length ** X (%(default)s)"
    )
    search.add_argument(
        "--max-len-a", type=float, default=0.0, metavar="A", help="at most A * source length + B tokens"
    )
    search.add_argument("--max-len-b", type=int, default=200, metavar="B", help="(%(default)s)")
    search.add_argument("--min-len", type=int, default=1, metavar="N", help="at least N tokens (%(default)s)")
    search.add_argument("--sampling", action="store_true", help="draw --beam translations, and keep the --nbest best")
    search.add_argument("--sampling-topk", type=int, default=-1, metavar="K", help="from the K likeliest tokens")
    search.add_argument("--sampling-topp", type=float, default=-1.0, metavar="P", help="from the likeliest that have P")
    search.add_argument(
        "--sampling-epsilon",
        type=float,
        default=0.0,
        metavar="E",
        help="sample only tokens with at least the probability E, such as 0.02; fairseq translates",
    )
    search.add_argument(
        "--sampling-eta",
        type=float,
        default=0.0,
        metavar="E",
        help="the same, with a lower limit where the distribution has a high entropy: min(E, sqrt(E) exp(-entropy))",
    )
    search.add_argument("--temperature", type=float, default=1.0, metavar="T", help="of sampling (%(default)s)")
    search.add_argument("--diverse-beam-groups", type=int, default=-1, metavar="N", help="diverse beam search")
    search.add_argument("--diverse-beam-strength", type=float, default=0.5, metavar="X", help="(%(default)s)")
    search.add_argument("--seed", type=int, default=1, metavar="N", help="of sampling (%(default)s)")
    search.add_argument(
        "--unkpen",
        type=float,
        default=0.0,
        metavar="X",
        help="take X from the log-probability of <unk>; inf: never write it (CTranslate2 has 0 and inf)",
    )
    search.add_argument(
        "--merge-duplicates", action="store_true", help="write equal hypotheses of a sentence once, with their count"
    )
    search.add_argument("--token-scores", action="store_true", help="write every token's log-probability as well")

    engine = parser.add_argument_group("the engine; what is left out is chosen by a short measurement")
    engine.add_argument("--engine", choices=("auto", "ctranslate2", "fairseq"), default="auto", help="(%(default)s)")
    engine.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(%(default)s)")
    engine.add_argument("--compute-type", choices=("auto", "float32", "float16", "int8"), default="auto")
    engine.add_argument("--threads", type=int, metavar="N", help="cores to use (OMP_NUM_THREADS, or all)")
    engine.add_argument("--workers", type=int, metavar="N", help="batches at a time, which share the cores")
    engine.add_argument("--max-tokens", type=int, metavar="N", help="source tokens in a batch")
    engine.add_argument("--batch-size", type=int, metavar="N", help="sentences in a batch at most")
    engine.add_argument(
        "--cache-dir", type=Path, metavar="DIR", help="keeps converted models (ctranslate2-models beside --out)"
    )

    shards = parser.add_argument_group("many processes or nodes")
    shards.add_argument("--num-shards", type=int, default=1, metavar="N", help="cut the corpus into N ranges")
    shards.add_argument("--shard-id", type=int, default=0, metavar="I", help="translate this one, from 0")
    shards.add_argument("--merge", action="store_true", help="put the outputs of all shards together")
    shards.add_argument(
        "--window", type=int, default=2000, metavar="N", help="sentences sorted and written at a time (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Translate, plan or merge."""
    from ..sequences.shards import merge

    if args.out is None:
        raise UserError("--out is missing: name the file to write")
    if args.merge:
        if args.num_shards < 2:
            raise UserError(
                f"--merge needs --num-shards, of how many shards: expected 2 or more, found {args.num_shards}"
            )
        print(f"{args.out}: {merge(args.out, args.num_shards):,} sentences", file=sys.stderr)
        return 0
    if args.corpus is None:
        raise UserError("CORPUS is missing: name a text file, or a binarised folder")
    from ..sequences.decoding import DecodingOptions
    from ..sequences.translation import Request, plan, translate

    search = DecodingOptions(**{each.name: getattr(args, each.name) for each in fields(DecodingOptions)})
    asked = {each.name: getattr(args, each.name) for each in fields(Request) if each.name != "search"}
    request = Request(search=search, **asked)
    if args.plan:
        _print(plan(request), request.num_shards)
    else:
        translate(request)
    return 0


def _print(found: Plan, shards: int) -> None:
    from tqdm import tqdm

    from ..sequences.nbest import EMPTY, TOO_LONG

    whole_time, shard_time = (tqdm.format_interval(n / found.rate) for n in (found.sentences, found.largest))
    skipped = f"; {found.skipped[EMPTY]:,} {EMPTY} and {found.skipped[TOO_LONG]:,} {TOO_LONG} are skipped"
    print(f"sentences  {found.sentences:,}, of {found.skipped['pieces']:,} pieces{skipped}")
    print(f"engine     {found.engine}, {found.settings} (the best of {found.tried} settings)")
    print(f"rate       {found.rate:,.0f} sentences a second in a sample")
    print(f"shards     {shards}, of {found.largest:,} sentences at most")
    print(f"time       {whole_time}" + (f", {shard_time} a shard" if shards > 1 else ""))
