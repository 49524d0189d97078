"""Store a teacher's top-k probabilities at each target token of a split, to train students without the teacher.

With --sampled or --bytes-per-token, the cache also stores types sampled from the tail of the distribution. They make
the gradient of the forward KL unbiased; the top k alone drop the tail.

The cache is complete when it contains cache.json. If the command is killed, run it again: it continues where it
stopped. On a complete cache, it checks all blocks and writes damaged ones again. Several processes can share the work:
give each the same options and another --shard-id. The last one to end completes the cache.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..user_dir import add_user_dir
from ._options import add_options, add_task, add_work

TOP_K = 16
EXAMPLES = """examples:
  lskd cache data/mine/bin --teacher-path runs/mine/teacher/checkpoint_average.pt --out runs/mine/cache
  lskd cache data/mine/bin --teacher-path a.pt:b.pt --top-k 8 --kd-temperature 2 --out runs/mine/ensemble-cache
  lskd cache data/mine/bin --teacher-path a.pt --bytes-per-token 48 --out runs/mine/sampled-cache
two processes on one machine:
  for i in 0 1; do lskd cache data/mine/bin --teacher-path a.pt --out cache --shard-id $i --num-shards 2 & done; wait
a teacher with another vocabulary:
  lskd cache data/small/bin --teacher-path a.pt --teacher-text data/mine/bin --out runs/small/cache
eight GPUs under SLURM:
  sbatch --array=0-7 --gres=gpu:1 --wrap 'lskd cache data/mine/bin --teacher-path a.pt --out cache --fp16 \\
    --shard-id $SLURM_ARRAY_TASK_ID --num-shards 8'
then:
  fairseq-train data/mine/bin --user-dir fairseq_lskd --criterion word_kd --teacher-cache runs/mine/cache ...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="folder of binarised data")
    parser.add_argument(
        "--teacher-path",
        required=True,
        metavar="FILES",
        help="checkpoint of the teacher, or checkpoints of an ensemble joined by ':'",
    )
    help = "folder of the cache; it is created, or continued if it is incomplete"
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=help)
    weights = "weights of an ensemble, joined by ':'; or entropy, to weigh by entropy at each token (default: equal)"
    add_options(
        parser,
        ("--teacher-weights", str, "W:W", weights),
        ("--top-k", int, "K", f"number of most probable types stored per token (default: {TOP_K})"),
        ("--sampled", int, "M", "number of other types sampled per token, for an unbiased cache (default: none)"),
        ("--draws", int, "R", "number of samples of M types, which epochs of a training use in turn (default: 1)"),
        ("--bytes-per-token", int, "B", "size of an unbiased cache; the best --top-k and --sampled are chosen"),
        ("--seed", int, "S", "random seed for --sampled and --bytes-per-token (default: 1)"),
        ("--kd-temperature", float, "T", "temperature of the probabilities, the student's --kd-temperature", 1.0),
        ("--subset", str, "SPLIT", "split to store; train includes train1, train2, ...", "train"),
    )
    text = "the same sentences, binarised in the teacher's SentencePiece pieces, if its vocabulary is not DATA's"
    add_options(parser, ("--teacher-text", str, "DIR", text))
    add_user_dir(parser)
    task = parser.add_argument_group("translation task, as in the student's fairseq-train")
    add_task(task)
    task.add_argument(
        "--truncate-source", action="store_true", help="truncate long sources to --max-source-positions, do not skip"
    )
    upsample = "repeat train N times when it is joined with train1, train2, ... (default: once)"
    add_options(task, ("--upsample-primary", int, "N", upsample, -1))
    help = "run the teacher in half precision (needs a GPU)"
    add_work(parser).add_argument("--fp16", action="store_true", help=help)


def run(args: argparse.Namespace) -> int:
    _check(args)

    import torch
    from tqdm import tqdm

    from ..teachers import OnlineTeacher
    from ..teachers.cache_writer import CacheWriter
    from ..teachers.respelled import RespelledTopK
    from ..teachers.sampled import Plan, TeacherSampled, errors, sample
    from ..teachers.task import load_split
    from ..teachers.top_k import TeacherTopK
    from ..teachers.weights import read_mixture

    mixture = read_mixture(args.teacher_weights, args.teacher_path)
    cuda = torch.cuda.is_available() and not args.cpu
    if args.fp16 and not cuda:
        raise UserError("--fp16 needs a GPU; " + ("leave out --cpu" if args.cpu else "torch finds none: leave it out"))
    like = torch.empty(0, dtype=torch.float16 if args.fp16 else torch.float32, device="cuda" if cuda else "cpu")
    task = _task(args, args.data)
    #: The task whose dictionaries and data the teacher reads.
    text = _task(args, args.teacher_text) if args.teacher_text else task
    teacher = None
    if args.bytes_per_token is None:
        kept = Plan(args.top_k or TOP_K, args.sampled or 0, args.draws or 1, 1 if args.seed is None else args.seed)
    elif (found := _existing_plan(args)) is not None:
        kept = found
    else:
        teacher = OnlineTeacher.from_checkpoints(args.teacher_path, text, args.teacher_data)
        teacher.mixture = mixture
        kept = _choose_plan(args, teacher, task, like)
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
        teacher_text=None if text is task else text,
    )
    blocks = writer.to_do(args.shard_id, args.num_shards)
    if blocks:
        tokens = writer.tokens(blocks)
        size = _check_space(args.out, tokens * writer.dtype.itemsize)
        if teacher is None:
            teacher = OnlineTeacher.from_checkpoints(args.teacher_path, text, args.teacher_data)
            teacher.mixture = mixture
        settings = (args.kd_temperature, like, args.max_tokens)
        if text is not task:
            dataset = load_split(text, args.subset, combine=args.subset == text.cfg.train_subset)
            source: TeacherTopK = RespelledTopK(
                teacher, text, dataset, task, writer.dataset, kept.k, like, args.max_tokens
            )
        elif kept.sampled:
            source = TeacherSampled(teacher, task, writer.dataset, kept, *settings)
        else:
            source = TeacherTopK(teacher, task, writer.dataset, kept.k, *settings)
        count = source.too_long()
        if count == len(writer.dataset):
            raise UserError(
                f"no sentence is short enough for the cache: all {count:,} are longer than {source.limits[0]} tokens, "
                f"or their targets are longer than {source.limits[1]}. Raise --max-source-positions "
                f"{args.max_source_positions} or --max-target-positions {args.max_target_positions}, or use a teacher "
                "that accepts longer sentences"
            )
        if count:
            warning = "warning: " if 2 * count > len(writer.dataset) else ""
            print(
                f"{warning}{count:,} of {len(writer.dataset):,} sentences are left out, as fairseq-train skips them "
                f"too: they are longer than {source.limits[0]} tokens, or their targets are longer than "
                f"{source.limits[1]}",
                file=sys.stderr,
            )
        if kept.sampled and args.shard_id == 0:
            _print_errors(errors(kept, sample(source, range(len(writer.dataset)))))
        speed = writer.speed(blocks[0], source)
        print(
            f"{args.out}: writing {len(blocks)} of {writer.blocks} blocks, {tokens:,} tokens, {size}, "
            f"about {_duration(tokens / speed)} at {speed:,.0f} tokens/s",
            file=sys.stderr,
        )
        with tqdm(total=tokens, unit="token", unit_scale=True, mininterval=1 if sys.stderr.isatty() else 30) as bar:
            for done in writer.write(blocks, source):
                bar.update(done)
        if isinstance(source, RespelledTopK):
            print(f"{args.out}: {source.respelling.masses}", file=sys.stderr)
    missing = writer.finish()
    if missing:
        print(f"{args.out}: {writer.blocks - missing} of {writer.blocks} blocks; other shards write the rest")
    else:
        print(f"{args.out}: {'written' if blocks else 'up to date'}")
    return 0


def _check(args: argparse.Namespace) -> None:
    if not 0 <= args.shard_id < args.num_shards:
        raise UserError(f"--shard-id {args.shard_id}: expected 0 to {args.num_shards - 1} (--num-shards - 1)")

    if args.teacher_text:
        wrong = {"--sampled": args.sampled, "--bytes-per-token": args.bytes_per_token}
        for flag, value in wrong.items():
            if value is not None:
                raise UserError(f"{flag} {value} does not go with --teacher-text, which writes a top k: leave it out")
        if args.kd_temperature != 1:
            raise UserError(
                f"--kd-temperature {args.kd_temperature:g}: expected 1 with --teacher-text: a part of the "
                "teacher's mass belongs to no piece of the student's, and a temperature needs all of them"
            )
    if args.bytes_per_token is not None:
        for flag, value in (("--top-k", args.top_k), ("--sampled", args.sampled)):
            if value is not None:
                raise UserError(f"{flag} {value}: --bytes-per-token chooses this value; leave out one of them")
    elif args.sampled is None:
        for flag, value in (("--draws", args.draws), ("--seed", args.seed)):
            if value is not None:
                raise UserError(f"{flag} {value}: only a sampled cache has it; add --sampled or --bytes-per-token")
    if args.seed is not None and args.seed < 0:
        raise UserError(f"--seed {args.seed}: expected 0 or more")


def _existing_plan(args: argparse.Namespace) -> Any:
    """Return the plan of an existing cache with the same --bytes-per-token, --draws and --seed; None without one."""
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


def _choose_plan(args: argparse.Namespace, teacher: Any, task: Any, like: Any) -> Any:
    """Choose K and M for --bytes-per-token: those with the lowest variance on a sample of the data."""
    from ..teachers.sampled import affordable, choose, sample
    from ..teachers.task import load_split
    from ..teachers.top_k import TeacherTopK

    draws, seed = args.draws or 1, 1 if args.seed is None else args.seed
    affordable(args.bytes_per_token, len(task.target_dictionary), draws)
    dataset = load_split(task, args.subset, combine=args.subset == task.cfg.train_subset)
    source = TeacherTopK(teacher, task, dataset, 1, args.kd_temperature, like, args.max_tokens)
    kept = choose(args.bytes_per_token, sample(source, range(len(dataset))), draws, seed)
    print(
        f"--bytes-per-token {args.bytes_per_token}: chose --top-k {kept.k} and --sampled {kept.sampled}"
        + (f" (--draws {draws})" if draws > 1 else "")
        + f", with the lowest variance; they take {kept.dtype(len(task.target_dictionary)).itemsize} bytes",
        file=sys.stderr,
    )
    return kept


def _print_errors(found: dict[str, Any]) -> None:
    """Print bias and variance of the gradient of the forward KL, the only divergence that uses a sampled cache."""
    print("gradient of the forward KL with respect to the logits, per token (Euclidean norm):", file=sys.stderr)
    for what, error in found.items():
        chance = f" ({error.chance:.2g} expected by chance)" if error.chance else ""
        print(f"  {what}: bias {error.bias:.2g}{chance}, standard deviation {error.deviation:.2g}", file=sys.stderr)


def _task(args: argparse.Namespace, data: str) -> Any:
    """Return fairseq's translation task for a folder, as fairseq-train creates it."""
    from ..teachers.task import translation_task

    if ":" in data:
        raise UserError(f"{data}: expected one folder of binarised data; a cache cannot join several")
    return translation_task(
        data,
        args.source_lang,
        args.target_lang,
        max_source_positions=args.max_source_positions,
        max_target_positions=args.max_target_positions,
        truncate_source=args.truncate_source,
        upsample_primary=args.upsample_primary,
        like=args.teacher_path,
    )


def _check_space(out: Path, wanted: int) -> str:
    """Check that there is enough disk space, and return the size in words."""
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if wanted > free:
        raise UserError(
            f"--out {out}: the cache needs {_size(wanted)} more, and {_size(free)} are free. Free some space, choose a "
            "folder on another disk, or lower --top-k or --bytes-per-token (with another --out)."
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
