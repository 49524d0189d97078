#!/usr/bin/env python
"""Training speed of a student without a teacher, beside one, and from its cache.

Each way trains by fairseq's own Trainer, in a process of its own. The processes take turns, a few updates at a time
on the same batches, in a new order each round, so that a noisy machine is noisy for all of them: compare within one
run. Teacher and data are random; neither the time of an update nor its memory depends on what they say.

  none       fairseq's label_smoothed_cross_entropy
  none_ours  label_smoothed_teacher: the same loss, fused
  online     word_kd --teacher-path
  cached     word_kd --teacher-cache, written by `lskd cache`
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import multiprocessing
import random
import re
import resource
import shlex
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from _common import Others, command, spread, versions, write_rows
from tabulate import tabulate
from tqdm import tqdm

from fairseq_lskd.machine import cores, machine

EXAMPLES = """examples:
  python benchmarks/student_throughput.py --json student_throughput.json
  python benchmarks/student_throughput.py --data data/mine/bin --blocks 20
  python benchmarks/student_throughput.py --device cuda --fp16 --max-tokens 8192 --updates 20
"""

SMOOTHING = 0.1
CRITERIONS = {
    "none": "label_smoothed_cross_entropy",
    "none_ours": "label_smoothed_teacher",
    "online": "word_kd --teacher-path {teacher}",
    "cached": "word_kd --teacher-cache {cache}",
}
#: Of the generated sentences: pieces on average, as in the corpora of news translation.
LENGTH = 25


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    args = parse(argv)
    torch.set_num_threads(args.threads)
    story = {"machine": machine(), "versions": versions(), "command": command()}
    with tempfile.TemporaryDirectory() as folder:
        data = args.data or make_data(Path(folder), args.vocab, args.sentences)
        places = {"teacher": Path(folder, "teacher.pt"), "cache": Path(folder, "cache")}
        facts = {}
        if {"online", "cached"} & set(args.teachers):
            facts["teacher_parameters"] = make_teacher(args, data, places["teacher"])
        if "cached" in args.teachers:
            make_cache(args, data, places)
        with contextlib.ExitStack() as stack:
            workers = {
                name: stack.enter_context(Worker(args, data, CRITERIONS[name].format(**places)))
                for name in args.teachers
            }
            others = Others()
            seconds = take_turns(workers, args.blocks)
            story["others_cores"] = others.cores()
            waits = {name: worker.ask("waits") for name, worker in workers.items()}
            ends = {name: worker.ask("end") for name, worker in workers.items()}
    case = {
        "device": args.device,
        "dtype": "float16" if args.fp16 else "bfloat16" if args.bf16 else "float32",
        "student_width": args.width,
        "student_ffn": args.ffn,
        "student_layers": [args.encoder_layers, args.decoder_layers],
        "max_tokens": args.max_tokens,
        "top_k": args.top_k,
        "threads": args.threads,
        "updates": args.updates,
        "blocks": args.blocks,
        **facts,
    }
    rows = []
    for name in args.teachers:
        row = {"teacher": name, "criterion": CRITERIONS[name].split()[0], **spread("tokens_per_second", seconds[name])}
        if "none" in seconds:
            ratios = [a / b for a, b in zip(seconds[name], seconds["none"], strict=True)]
            row |= spread("speed_to_none", ratios)
        rows.append({**row, **ends[name], **waits[name], **case, **story})
    if args.json:
        write_rows(args.json, rows)
    print(table(rows))
    return rows


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teachers", nargs="+", choices=list(CRITERIONS), default=list(CRITERIONS), metavar="TEACHER")
    data = parser.add_argument_group("data")
    data.add_argument("--data", type=Path, metavar="DIR", help="binarised, one vocabulary (default: generated)")
    data.add_argument("--vocab", type=int, default=16_000, metavar="K", help="types to generate (%(default)s)")
    data.add_argument("--sentences", type=int, default=1000, metavar="N", help="pairs to generate (%(default)s)")
    student = parser.add_argument_group("the student; the teacher is twice as wide")
    student.add_argument("--width", type=int, default=256, metavar="D", help="(%(default)s)")
    student.add_argument("--ffn", type=int, default=1536, metavar="D", help="(%(default)s)")
    student.add_argument("--heads", type=int, default=8, metavar="N", help="(%(default)s)")
    student.add_argument("--encoder-layers", type=int, default=6, metavar="N", help="(%(default)s)")
    student.add_argument("--decoder-layers", type=int, default=2, metavar="N", help="(%(default)s)")
    student.add_argument("--teacher-depth", type=int, default=2, metavar="N", help="times the student's (%(default)s)")
    training = parser.add_argument_group("training")
    training.add_argument("--max-tokens", type=int, default=2048, metavar="N", help="of a batch (%(default)s)")
    training.add_argument("--top-k", type=int, default=16, metavar="K", help="of the cache (%(default)s)")
    precision = training.add_mutually_exclusive_group()
    precision.add_argument("--fp16", action="store_true", help="as fairseq has it, on a GPU")
    precision.add_argument("--bf16", action="store_true", help="likewise")
    training.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="auto: a GPU if there is one"
    )
    training.add_argument("--threads", type=int, default=cores(), metavar="N", help="of the CPU (%(default)s)")
    training.add_argument("--updates", type=int, default=2, metavar="N", help="of a turn (%(default)s)")
    training.add_argument("--blocks", type=int, default=12, metavar="N", help="turns measured of each (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    args = parser.parse_args(argv)
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    return args


# What the runs start from.


def make_data(folder: Path, vocab: int, sentences: int) -> Path:
    """Random sentences, words as frequent as Zipf's law has it, binarised by fairseq-preprocess."""
    import numpy as np
    from fairseq import options
    from fairseq_cli import preprocess

    random_ = np.random.default_rng(1)
    chance = 1 / np.arange(1, vocab + 1)
    Path(folder, "dict.txt").write_text("".join(f"w{i} 1\n" for i in range(vocab)))
    for side in ("src", "tgt"):
        lengths = random_.lognormal(np.log(LENGTH) - 0.125, 0.5, sentences).clip(1, 150).astype(int)
        words = random_.choice(vocab, lengths.sum(), p=chance / chance.sum())
        rows = np.split(words, lengths.cumsum()[:-1])
        Path(folder, f"train.{side}").write_text("".join(" ".join(f"w{i}" for i in row) + "\n" for row in rows))
    flags = "-s src -t tgt --srcdict {0}/dict.txt --tgtdict {0}/dict.txt --trainpref {0}/train --destdir {0}/bin"
    words = [word.format(folder) for word in [*flags.split(), "--workers", "1"]]
    with quiet():
        preprocess.main(options.get_preprocessing_parser().parse_args(words))
    return Path(folder, "bin")


def model_flags(args: argparse.Namespace, teacher: bool = False) -> list[str]:
    wider, deeper = (2, args.teacher_depth) if teacher else (1, 1)
    flags = ["--arch", "transformer", "--share-all-embeddings", "--dropout", "0.1"]
    for side, layers in (("encoder", args.encoder_layers), ("decoder", args.decoder_layers)):
        for name, value in (
            ("layers", deeper * layers),
            ("embed-dim", wider * args.width),
            ("ffn-embed-dim", wider * args.ffn),
            ("attention-heads", wider * args.heads),
        ):
            flags += [f"--{side}-{name}", str(value)]
    return flags


def make_trainer(args: argparse.Namespace, data: Path, criterion: str, teacher: bool = False) -> Any:
    """fairseq's Trainer, as fairseq-train would make it."""
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer

    import fairseq_lskd.criterions  # noqa: F401  registers them

    flags = f"""--criterion {criterion} --label-smoothing {SMOOTHING} --optimizer adam --adam-betas (0.9,0.98)
        --lr 5e-4 --lr-scheduler inverse_sqrt --warmup-updates 4000 --clip-norm 1.0 --max-tokens {args.max_tokens}
        --seed 1 --num-workers 0 --distributed-world-size 1""".split()
    flags += ["--cpu"] * (args.device == "cpu") + ["--fp16"] * args.fp16 + ["--bf16"] * args.bf16
    parser = options.get_training_parser()
    cfg = convert_namespace_to_omegaconf(
        options.parse_args_and_arch(parser, [str(data), *model_flags(args, teacher), *flags])
    )
    task = tasks.setup_task(cfg.task)
    task.load_dataset("train")
    return Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))


def make_teacher(args: argparse.Namespace, data: Path, path: Path) -> int:
    """A checkpoint with random weights; the number of parameters."""
    with quiet():
        from fairseq_lskd.teachers.checkpoint import parameters

        trainer = make_trainer(args, data, CRITERIONS["none"], teacher=True)
        trainer.consolidate_optimizer()
        trainer.save_checkpoint(str(path), {"train_iterator": {"epoch": 1}, "val_loss": None})
    return parameters(trainer.model)


def make_cache(args: argparse.Namespace, data: Path, places: dict[str, Path]) -> None:
    from fairseq_lskd.cli import main as lskd

    flags = ["cache", str(data), "--teacher-path", str(places["teacher"]), "--out", str(places["cache"])]
    flags += ["--top-k", str(args.top_k)]
    flags += ["--cpu"] * (args.device == "cpu") + ["--fp16"] * (args.fp16 or args.bf16)
    print(f"lskd {shlex.join(flags)}", file=sys.stderr)
    with contextlib.redirect_stdout(sys.stderr), quiet():
        if status := lskd(flags):
            sys.exit(status)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without fairseq's log and its libraries' warnings of each other."""
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


# The runs.


class Worker:
    """A process that trains when it is its turn."""

    def __init__(self, args: argparse.Namespace, data: Path, criterion: str):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, args, data, criterion), daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.close()
        self.process.join(30)

    def ask(self, what: str) -> Any:
        self.pipe.send(what)
        try:
            answer = self.pipe.recv()
        except EOFError:
            self.process.join()
            answer = f"the process ended with status {self.process.exitcode}"
        if isinstance(answer, str):
            sys.exit(answer)
        return answer


def take_turns(workers: dict[str, Worker], blocks: int) -> dict[str, list[float]]:
    """Target tokens a second, a value a turn; each worker's first turn warms it up."""
    speeds: dict[str, list[float]] = {name: [] for name in workers}
    order = random.Random(1)
    with tqdm(total=len(workers) * (blocks + 1), unit="turn", desc="measuring") as bar:
        for block in range(blocks + 1):
            for name in order.sample(list(workers), len(workers)):
                speed = workers[name].ask("train")
                if block:
                    speeds[name].append(speed)
                bar.update()
    return speeds


def work(pipe: Connection, args: argparse.Namespace, data: Path, criterion: str) -> None:
    """The other process: `train` is answered by target tokens a second, the rest by facts, a mistake by a text."""
    try:
        torch.set_num_threads(args.threads)
        with quiet():
            from fairseq_lskd.teachers.checkpoint import parameters

            trainer = make_trainer(args, data, criterion)
            stream = batches(trainer)
            while (what := pipe.recv()) != "end":
                if what == "train":
                    pipe.send(train(trainer, itertools.islice(stream, args.updates)))
                else:
                    pipe.send(count_waits(trainer, next(stream)))
            pipe.send(
                {
                    "vocab": len(trainer.task.target_dictionary),
                    "student_parameters": parameters(trainer.model),
                    "peak_rss_mib": round(peak_rss() / 2**20),
                    "peak_device_mib": round(torch.cuda.max_memory_allocated() / 2**20) if trainer.cuda else None,
                }
            )
    except EOFError:
        pass
    except BaseException:
        pipe.send(traceback.format_exc())


def batches(trainer: Any) -> Iterator[list[dict[str, Any]]]:
    """The batches of all epochs, as fairseq-train goes through them."""
    from fairseq.data.iterators import GroupedIterator

    for epoch in itertools.count(1):
        iterator = trainer.get_train_iterator(epoch).next_epoch_itr(shuffle=True)
        trainer.begin_epoch(epoch)
        yield from GroupedIterator(iterator, 1)


def train(trainer: Any, samples: Iterator[list[dict[str, Any]]]) -> float:
    start, tokens = time.perf_counter(), 0
    for group in samples:
        trainer.train_step(group)
        tokens += sum(sample["ntokens"] for sample in group)
    if trainer.cuda:
        torch.cuda.synchronize()
    return tokens / (time.perf_counter() - start)


def count_waits(trainer: Any, samples: list[dict[str, Any]]) -> dict[str, Any]:
    """How often an update has the CPU wait for the GPU, and where; nothing on a CPU."""
    if not trainer.cuda:
        return {"waits": None, "waits_at": {}}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            trainer.train_step(samples)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = Counter(
        f"{'/'.join(Path(each.filename).parts[-2:])}:{each.lineno}"
        for each in said
        if "synchronizing" in str(each.message)
    )
    return {"waits": places.total(), "waits_at": dict(places.most_common(20))}


def peak_rss() -> int:
    """Bytes. Linux' own number comes first, since getrusage counts the process that this one was forked from, too."""
    with contextlib.suppress(OSError):
        if found := re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            return 1024 * int(found[1])
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size


def table(rows: Sequence[dict[str, Any]], style: str = "github") -> str:
    """The rows for people."""
    lines = [
        {
            "teacher": row["teacher"],
            "criterion": row["criterion"],
            "tokens/s": row["tokens_per_second_median"],
            "quartiles": " - ".join(f"{value:,.0f}" for value in row["tokens_per_second_quartiles"]),
            "x none": row.get("speed_to_none_median"),
            "x none, quartiles": " - ".join(f"{value:.2f}" for value in row.get("speed_to_none_quartiles", [])),
            "peak MiB": row["peak_device_mib"] or row["peak_rss_mib"],
        }
        for row in rows
    ]
    formats = ["", "", ",.0f", "", ".2f", "", ",.0f"]
    return tabulate(
        lines, headers="keys", tablefmt=style, floatfmt=formats, intfmt=",", colalign=["left"] * 2 + ["right"] * 5
    )


if __name__ == "__main__":
    main()
