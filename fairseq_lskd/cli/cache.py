"""Store a teacher's top-k probabilities at each target token of a split, to train students without the teacher.

With --sampled or --bytes-per-token, the cache also stores types sampled from the tail of the distribution. They make
the gradient of the forward KL unbiased; the top k alone drop the tail.

The cache is complete when it contains cache.json. If the command is killed, run it again: it continues where it
stopped. On a complete cache, it checks all blocks and writes damaged ones again. Several processes can share the work:
give each the same options and another --shard-id. The last one to end completes the cache.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from ..user_dir import add_user_dir
from ._options import add_options, add_task, add_work, filled

EXAMPLES = """examples:
  lskd cache data/mine/bin --teacher-path runs/mine/teacher/checkpoint_average.pt --out runs/mine/cache
  lskd cache data/mine/bin --teacher-path a.pt:b.pt --top-k 8 --kd-temperature 2 --out runs/mine/ensemble-cache
  lskd cache data/mine/bin --teacher-path a.pt --bytes-per-token 48 --out runs/mine/sampled-cache
two processes on one machine:
  for i in 0 1; do lskd cache data/mine/bin --teacher-path a.pt --out cache --shard-id $i --num-shards 2 & done; wait
a teacher with another vocabulary:
  lskd cache data/small/bin --teacher-path a.pt --teacher-text data/mine/bin --out runs/small/cache
two teachers with vocabularies of their own:
  lskd cache data/small/bin --teacher-path a.pt:b.pt --teacher-text data/a/bin:data/b/bin --teacher-weights 0.3:0.7 \\
    --out runs/small/mixed-cache
a teacher in CTranslate2's form, with the student's vocabulary or with its own:
  lskd cache data/mine/bin --model runs/mine/exported --compute-type int8 --out runs/mine/int8-cache
  lskd cache data/small/bin --model opus-mt-en-de --teacher-text data/opus/bin --out runs/small/opus-cache
a multilingual teacher, as a checkpoint or in CTranslate2's form:
  lskd cache data/many/bin -s de -t en --teacher-path m2m/418M_last_checkpoint.pt --out runs/many/de-en-cache
  lskd cache data/many/bin -s de -t en --model m2m-ct2 --out runs/many/de-en-cache
eight GPUs under SLURM:
  sbatch --array=0-7 --gres=gpu:1 --wrap 'lskd cache data/mine/bin --teacher-path a.pt --out cache --fp16 \\
    --shard-id $SLURM_ARRAY_TASK_ID --num-shards 8'
then:
  fairseq-train data/mine/bin --user-dir fairseq_lskd --criterion word_kd --teacher-cache runs/mine/cache ...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="folder of binarised data")
    add_options(
        parser.add_mutually_exclusive_group(required=True),
        (
            "--teacher-path --teacher",
            str,
            "FILES",
            "checkpoint of the teacher, or checkpoints of an ensemble joined by ':'",
        ),
        ("--model", Path, "DIR", "CTranslate2 model folder, instead of --teacher-path; its languages are DATA's"),
    )
    help = "folder of the cache; it is created, or continued if it is incomplete"
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=help)
    weights = "weights of an ensemble, joined by ':'; or entropy, to weigh by entropy at each token (default: equal)"
    add_options(
        parser,
        ("--teacher-weights", str, "W:W", weights),
        ("--top-k", int, "K", "number of most probable types stored per token (default: 16)"),
        ("--sampled", int, "M", "number of other types sampled per token, for an unbiased cache (default: none)"),
        ("--draws", int, "R", "number of samples of M types, which epochs of a training use in turn (default: 1)"),
        ("--bytes-per-token", int, "B", "size of an unbiased cache; the best --top-k and --sampled are chosen"),
        ("--seed", int, "S", "random seed for --sampled and --bytes-per-token (default: 1)"),
        ("--kd-temperature", float, "T", "temperature of the probabilities, the student's --kd-temperature", 1.0),
        ("--subset", str, "SPLIT", "split to store; train includes train1, train2, ...", "train"),
    )
    tokens = parser.add_argument_group("tokens around the sentences (with --model; default: those of DATA's languages)")
    add_options(
        tokens,
        ("--source-prefix", str, "TOKENS", "tokens before every source, such as __de__ (M2M-100) or deu_Latn (NLLB)"),
        (
            "--source-suffix",
            str,
            "TOKENS",
            "tokens after every source (default: the end symbol, if it is needed)",
        ),
        ("--target-prefix", str, "TOKENS", "tokens that every target starts with"),
    )
    text = (
        "the same sentences, binarised in the teacher's SentencePiece pieces, if its vocabulary is not DATA's; for "
        "several teachers one folder for all, or one for each, joined by ':' (DATA for one with DATA's vocabulary; "
        "--teacher-data then takes one for each, too)"
    )
    add_options(parser, ("--teacher-text", str, "DIRS", text))
    add_user_dir(parser)
    task = parser.add_argument_group("translation task, as in the student's fairseq-train")
    add_task(task)
    task.add_argument(
        "--truncate-source", action="store_true", help="truncate long sources to --max-source-positions, do not skip"
    )
    upsample = "repeat train N times when it is joined with train1, train2, ... (default: once)"
    add_options(task, ("--upsample-primary", int, "N", upsample, -1))
    work = add_work(parser)
    work.add_argument("--fp16", action="store_true", help="run the teacher in half precision (needs a GPU)")
    work.add_argument(
        "--compute-type",
        choices=("float32", "int8", "float16"),
        help="numeric type of the computation with --model (default: float32)",
    )


def run(args: argparse.Namespace) -> int:
    from ..teachers.cache_request import Request
    from ..teachers.caching import write_cache

    found = write_cache(filled(Request, args))
    if found.missing:
        print(f"{args.out}: {found.whole - found.missing} of {found.whole} blocks; other shards write the rest")
    else:
        print(f"{args.out}: {'written' if found.now else 'up to date'}")
        size = sum(path.stat().st_size for path in args.out.iterdir()) / 1e6
        # A training reads the cache of its own --train-subset only.
        use = f" Train with: --teacher-cache {shlex.quote(str(args.out))}" if args.subset.startswith("train") else ""
        print(f"{size:,.1f} MB.{use}", file=sys.stderr)
    return 0
