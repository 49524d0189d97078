"""Write a teacher's top-k probabilities at each target token of a split, to train students without the teacher.

With --sampled or --bytes-per-token the cache also has classes drawn from the tail, which make the gradient of the
forward KL unbiased; a top k alone cuts the tail off.

OUT can be read once it has cache.json. Killed, the same command goes on where it stopped; called again on a
finished cache, it checks it and writes anew what was damaged. Processes that share the work (--shard-id,
--num-shards) need nothing but the same OUT and the same options; the last to end finishes the cache.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..user_dir import add_user_dir

TOP_K = 16
EXAMPLES = """examples:
  lskd cache data/mine/bin --teacher-path runs/mine/teacher/checkpoint_average.pt --out runs/mine/cache
  lskd cache data/mine/bin --teacher-path a.pt:b.pt --top-k 8 --kd-temperature 2 --out runs/mine/ensemble-cache
  lskd cache data/mine/bin --teacher-path a.pt --bytes-per-token 48 --out runs/mine/sampled-cache
two processes:
  for i in 0 1; do lskd cache data/mine/bin --teacher-path a.pt --out cache --shard-id $i --num-shards 2 & done; wait
eight GPUs under SLURM:
  sbatch --array=0-7 --gres=gpu:1 --wrap 'lskd cache data/mine/bin --teacher-path a.pt --out cache --fp16 \\
    --shard-id $SLURM_ARRAY_TASK_ID --num-shards 8'
then:
  fairseq-train data/mine/bin --user-dir fairseq_lskd --criterion word_kd --teacher-cache runs/mine/cache ...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="one folder of binarised data")
    parser.add_argument("--teacher-path", required=True, metavar="FILES", help="checkpoint(s), joined by ':'")
    parser.add_argument(
        "--teacher-weights",
        metavar="W:W",
        help="of several checkpoints, joined by ':'; or entropy: token by token (equal)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the cache")
    parser.add_argument("--top-k", type=int, metavar="K", help=f"most probable classes kept a token ({TOP_K})")
    parser.add_argument(
        "--sampled", type=int, metavar="M", help="classes drawn from all others a token: an unbiased cache (none)"
    )
    parser.add_argument(
        "--draws", type=int, metavar="R", help="copies of those draws; each epoch of a training reads the next (1)"
    )
    parser.add_argument(
        "--bytes-per-token", type=int, metavar="B", help="an unbiased cache of this size: chooses K and M by measuring"
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of the draws (1)")
    parser.add_argument(
        "--kd-temperature", type=float, default=1.0, metavar="T", help="that of the student's training (%(default)s)"
    )
    parser.add_argument(
        "--subset", default="train", metavar="SPLIT", help="'train' takes in train1, train2, ... (%(default)s)"
    )
    parser.add_argument("--teacher-data", metavar="DIR", help="folder with the teacher's dict.*.txt, to compare")
    add_user_dir(parser)
    task = parser.add_argument_group("the translation task, as fairseq-train has it")
    task.add_argument("-s", "--source-lang", metavar="LANG", help="default: inferred from the data")
    task.add_argument("-t", "--target-lang", metavar="LANG", help="default: inferred from the data")
    for side in ("source", "target"):
        task.add_argument(
            f"--max-{side}-positions", type=int, default=1024, metavar="N", help="longer is skipped (%(default)s)"
        )
    task.add_argument("--truncate-source", action="store_true", help="cut sources to --max-source-positions instead")
    task.add_argument(
        "--upsample-primary", type=int, default=-1, metavar="N", help="times that train counts beside train1, ..."
    )
    work = parser.add_argument_group("the work")
    work.add_argument(
        "--max-tokens",
        type=int,
        default=8000,
        metavar="N",
        help="of a batch: lower if memory is short (%(default)s)",
    )
    work.add_argument("--shard-id", type=int, default=0, metavar="I", help="this process's part, from 0 (%(default)s)")
    work.add_argument("--num-shards", type=int, default=1, metavar="N", help="number of processes (%(default)s)")
    work.add_argument("--fp16", action="store_true", help="run the teacher in half precision, on a GPU")
    work.add_argument("--cpu", action="store_true", help="leave a GPU alone")


def run(args: argparse.Namespace) -> int:
    _check(args)

    import torch
    from tqdm import tqdm

    from ..teachers import OnlineTeacher
    from ..teachers.cache_writer import CacheWriter
    from ..teachers.sampled import Plan, TeacherSampled, errors, sample
    from ..teachers.top_k import TeacherTopK
    from ..teachers.weights import read_mixture

    mixture = read_mixture(args.teacher_weights, args.teacher_path)
    cuda = torch.cuda.is_available() and not args.cpu
    if args.fp16 and not cuda:
        raise UserError("--fp16 needs a GPU; " + ("leave out --cpu" if args.cpu else "torch sees none here"))
    like = torch.empty(0, dtype=torch.float16 if args.fp16 else torch.float32, device="cuda" if cuda else "cpu")
    task = _task(args)
    teacher = None
    if args.bytes_per_token is None:
        kept = Plan(args.top_k or TOP_K, args.sampled or 0, args.draws or 1, 1 if args.seed is None else args.seed)
    elif (found := _planned(args)) is not None:
        kept = found
    else:
        teacher = OnlineTeacher.from_checkpoints(args.teacher_path, task, args.teacher_data)
        teacher.mixture = mixture
        kept = _chosen(args, teacher, task, like)
    writer = CacheWriter(
        args.out,
        task,
        args.subset,
        kept,
        args.kd_temperature,
        args.teacher_path,
        half=args.fp16,
        bytes_per_token=args.bytes_per_token,
        mixture=mixture,
    )
    blocks = writer.to_do(args.shard_id, args.num_shards)
    if blocks:
        tokens = writer.tokens(blocks)
        size = _check_space(args.out, tokens * writer.dtype.itemsize)
        if teacher is None:
            teacher = OnlineTeacher.from_checkpoints(args.teacher_path, task, args.teacher_data)
            teacher.mixture = mixture
        settings = (args.kd_temperature, like, args.max_tokens)
        source = (
            TeacherSampled(teacher, task, writer.dataset, kept, *settings)
            if kept.sampled
            else TeacherTopK(teacher, task, writer.dataset, kept.k, *settings)
        )
        count = source.too_long()
        if count == len(writer.dataset):
            raise UserError(
                f"no sentence would have a teacher: all {count:,} are longer than {source.limits[0]} tokens, or their "
                f"targets than {source.limits[1]}. Raise --max-source-positions {args.max_source_positions} or "
                f"--max-target-positions {args.max_target_positions}, or take a teacher that reads more"
            )
        if count:
            warning = "warning: " if 2 * count > len(writer.dataset) else ""
            print(
                f"{warning}{count:,} of {len(writer.dataset):,} sentences get no teacher: they are longer than "
                f"{source.limits[0]} tokens, or their targets than {source.limits[1]}, which fairseq-train skips too",
                file=sys.stderr,
            )
        if kept.sampled and args.shard_id == 0:
            _report(errors(kept, sample(source, range(len(writer.dataset)))))
        speed = writer.speed(blocks[0], source)
        print(
            f"{args.out}: {len(blocks)} of {writer.blocks} blocks to write here, {tokens:,} tokens, {size}, "
            f"about {_duration(tokens / speed)} at {speed:,.0f} tokens/s",
            file=sys.stderr,
        )
        with tqdm(total=tokens, unit="token", unit_scale=True, mininterval=1 if sys.stderr.isatty() else 30) as bar:
            for done in writer.write(blocks, source):
                bar.update(done)
    missing = writer.finish()
    if missing:
        print(f"{args.out}: {writer.blocks - missing} of {writer.blocks} blocks; the other shards' are to come")
    else:
        print(f"{args.out}: {'written' if blocks else 'up to date'}")
    return 0


def _check(args: argparse.Namespace) -> None:
    if not 0 <= args.shard_id < args.num_shards:
        raise UserError(f"--shard-id {args.shard_id}: expected 0 to {args.num_shards - 1}, --num-shards less 1")

    if args.bytes_per_token is not None:
        for flag, value in (("--top-k", args.top_k), ("--sampled", args.sampled)):
            if value is not None:
                raise UserError(f"{flag} {value} with --bytes-per-token, which chooses it: leave out one of them")
    elif args.sampled is None:
        for flag, value in (("--draws", args.draws), ("--seed", args.seed)):
            if value is not None:
                raise UserError(f"{flag} {value} is of a sampled cache: give --sampled or --bytes-per-token too")
    if args.seed is not None and args.seed < 0:
        raise UserError(f"--seed {args.seed}: expected 0 or more")


def _planned(args: argparse.Namespace) -> Any:
    """What is kept in the cache there, if it was chosen for the same budget; None otherwise."""
    from ..teachers.cache import PLAN, read_plan
    from ..teachers.sampled import Plan

    if not (args.out / PLAN).is_file():
        return None
    plan = read_plan(args.out / PLAN, f"--out {args.out}")
    options = plan["options"]
    wanted = {"--draws": args.draws or 1, "--seed": 1 if args.seed is None else args.seed}
    if plan.get("bytes_per_token") != args.bytes_per_token or any(options.get(k) != v for k, v in wanted.items()):
        return None
    return Plan(options["--top-k"], options["--sampled"], options["--draws"], options["--seed"])


def _chosen(args: argparse.Namespace, teacher: Any, task: Any, like: Any) -> Any:
    """Head and draws for --bytes-per-token, weighed against each other on the first tokens of the data."""
    from ..teachers.sampled import affordable, choose, sample
    from ..teachers.task import load_split
    from ..teachers.top_k import TeacherTopK

    draws, seed = args.draws or 1, 1 if args.seed is None else args.seed
    affordable(args.bytes_per_token, len(task.target_dictionary), draws)
    dataset = load_split(task, args.subset, combine=args.subset == task.cfg.train_subset)
    source = TeacherTopK(teacher, task, dataset, 1, args.kd_temperature, like, args.max_tokens)
    kept = choose(args.bytes_per_token, sample(source, range(len(dataset))), draws, seed)
    print(
        f"--bytes-per-token {args.bytes_per_token}: a head of {kept.k} and {kept.sampled} draws"
        + (f", {draws} times," if draws > 1 else "")
        + f" take {kept.dtype(len(task.target_dictionary)).itemsize} bytes and vary least",
        file=sys.stderr,
    )
    return kept


def _report(found: dict[str, Any]) -> None:
    """Bias and variance of the forward KL's gradient, which is the only one that such a cache serves."""
    print("the forward KL's gradient with respect to the logits, a token (Euclidean norm):", file=sys.stderr)
    for what, error in found.items():
        chance = f" (by chance alone {error.chance:.2g})" if error.chance else ""
        print(f"  {what}: bias {error.bias:.2g}{chance}, standard deviation {error.deviation:.2g}", file=sys.stderr)


def _task(args: argparse.Namespace) -> Any:
    """fairseq's translation task, as fairseq-train would make it."""
    from ..teachers.task import translation_task

    if ":" in args.data:
        raise UserError(f"{args.data}: no such folder of binarised data (a teacher cache needs the data in one)")
    return translation_task(
        args.data,
        args.source_lang,
        args.target_lang,
        max_source_positions=args.max_source_positions,
        max_target_positions=args.max_target_positions,
        truncate_source=args.truncate_source,
        upsample_primary=args.upsample_primary,
        like=args.teacher_path,
    )


def _check_space(out: Path, wanted: int) -> str:
    """The size in words, if there is room for it."""
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if wanted > free:
        raise UserError(
            f"--out {out}: {_size(wanted)} are still to be written, {_size(free)} are free. Make room, name a folder "
            "elsewhere, or lower --top-k or --bytes-per-token (with another --out)."
        )
    return _size(wanted)


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
