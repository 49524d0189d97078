#!/usr/bin/env python
"""Measure the training speed of a student without a teacher, with an online teacher, and with a teacher cache.

Each setting trains with fairseq's own Trainer in a separate process. The processes take turns with a few updates on the
same batches, in a random order per round, so that noise of the machine affects all of them. Compare numbers within a
run. Teacher and data are random, because time and memory of an update do not depend on their values.

  none       fairseq's label_smoothed_cross_entropy
  none_ours  label_smoothed_teacher, the same loss in its fused form
  online     word_kd --teacher-path
  cached     word_kd --teacher-cache, written by `lskd cache`
  sampled    the same with an unbiased cache of 48 bytes per token
  process    word_kd --teacher-path --teacher-process: not measured by default. Between its turns the teacher's process
             computes ahead, so compare CPU seconds of the student's process, not speed
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
    "sampled": "word_kd --teacher-cache {sampled}",
    "process": "word_kd --teacher-path {teacher} --teacher-process {device}",
}
USUAL = [name for name in CRITERIONS if name != "process"]
SAMPLED_BYTES = 48
#: Mean number of pieces in a generated sentence, as in corpora of news translation.
LENGTH = 25


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    args = parse(argv)
    torch.set_num_threads(args.threads)
    story: dict[str, Any] = {"machine": machine(), "versions": versions(), "command": command()}
    with tempfile.TemporaryDirectory() as folder:
        data = args.data or make_data(Path(folder), args.vocab, args.sentences)
        places: dict[str, Any] = {name: Path(folder, name) for name in ("cache", "sampled")}
        places |= {"teacher": Path(folder, "teacher.pt"), "device": args.device}
        facts = {}
        if {"online", "cached", "sampled", "process"} & set(args.teachers):
            facts["teacher_parameters"] = make_teacher(args, data, places["teacher"])
        if "cached" in args.teachers:
            make_cache(args, data, places)
        if "sampled" in args.teachers:
            make_cache(args, data, places | {"cache": places["sampled"]}, f"--bytes-per-token {SAMPLED_BYTES}")
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
    parser.add_argument(
        "--teachers",
        nargs="+",
        choices=list(CRITERIONS),
        default=USUAL,
        metavar="TEACHER",
        help=f"settings to measure: {', '.join(CRITERIONS)} (default: all but process)",
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data", type=Path, metavar="DIR", help="binarised data with one vocabulary (default: generated)"
    )
    data.add_argument(
        "--vocab", type=int, default=16_000, metavar="K", help="types in generated data (default: %(default)s)"
    )
    data.add_argument(
        "--sentences", type=int, default=1000, metavar="N", help="pairs of generated data (default: %(default)s)"
    )
    student = parser.add_argument_group("the student (the teacher is twice as wide)")
    student.add_argument("--width", type=int, default=256, metavar="D", help="model width (default: %(default)s)")
    student.add_argument("--ffn", type=int, default=1536, metavar="D", help="feed-forward width (default: %(default)s)")
    student.add_argument("--heads", type=int, default=8, metavar="N", help="attention heads (default: %(default)s)")
    student.add_argument(
        "--encoder-layers", type=int, default=6, metavar="N", help="encoder layers (default: %(default)s)"
    )
    student.add_argument(
        "--decoder-layers", type=int, default=2, metavar="N", help="decoder layers (default: %(default)s)"
    )
    student.add_argument(
        "--teacher-depth",
        type=int,
        default=2,
        metavar="N",
        help="layers of the teacher as a multiple of the student's (default: %(default)s)",
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--max-tokens", type=int, default=2048, metavar="N", help="tokens per batch (default: %(default)s)"
    )
    training.add_argument(
        "--top-k", type=int, default=16, metavar="K", help="types per token in the cache (default: %(default)s)"
    )
    precision = training.add_mutually_exclusive_group()
    precision.add_argument("--fp16", action="store_true", help="train with fairseq's --fp16 (GPU only)")
    precision.add_argument("--bf16", action="store_true", help="train with fairseq's --bf16 (GPU only)")
    training.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="auto uses a GPU if there is one (default)"
    )
    training.add_argument(
        "--threads", type=int, default=cores(), metavar="N", help="CPU threads (default: %(default)s)"
    )
    training.add_argument("--updates", type=int, default=2, metavar="N", help="updates per turn (default: %(default)s)")
    training.add_argument(
        "--blocks", type=int, default=12, metavar="N", help="turns per setting (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="output file for the rows")
    args = parser.parse_args(argv)
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    return args


# Inputs of the runs.


def make_data(folder: Path, vocab: int, sentences: int) -> Path:
    """Write random sentences with Zipf's distribution of words, and binarise them with fairseq-preprocess."""
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
    """Create fairseq's Trainer as fairseq-train does."""
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer

    import fairseq_lskd.criterions  # noqa: F401  registers the criterions

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
    """Write a checkpoint with random weights. Return the number of parameters."""
    with quiet():
        from fairseq_lskd.teachers.checkpoint import parameters

        trainer = make_trainer(args, data, CRITERIONS["none"], teacher=True)
        trainer.consolidate_optimizer()
        trainer.save_checkpoint(str(path), {"train_iterator": {"epoch": 1}, "val_loss": None})
    return parameters(trainer.model)


def make_cache(args: argparse.Namespace, data: Path, places: dict[str, Any], keep: str = "") -> None:
    """Write a cache of the top k types, or of what the options `keep` say."""
    from fairseq_lskd.cli import main as lskd

    flags = ["cache", str(data), "--teacher-path", str(places["teacher"]), "--out", str(places["cache"])]
    flags += keep.split() or ["--top-k", str(args.top_k)]
    flags += ["--cpu"] * (args.device == "cpu") + ["--fp16"] * (args.fp16 or args.bf16)
    print(f"lskd {shlex.join(flags)}", file=sys.stderr)
    with contextlib.redirect_stdout(sys.stderr), quiet():
        if status := lskd(flags):
            sys.exit(status)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence fairseq's log and the warnings of its libraries."""
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


# The runs.


class Worker:
    """A process that trains on request."""

    def __init__(self, args: argparse.Namespace, data: Path, criterion: str):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        # A daemon may not have processes of its own.
        daemon = "--teacher-process" not in criterion
        self.process = context.Process(target=work, args=(theirs, args, data, criterion), daemon=daemon)
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
    """Return target tokens per second for each turn. The first turn of each worker is a warm-up and not counted."""
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
    """Run a worker: answer `train` with target tokens per second, other requests with facts or a traceback."""
    try:
        torch.set_num_threads(args.threads)
        with quiet():
            from fairseq_lskd.teachers.checkpoint import parameters

            trainer = make_trainer(args, data, criterion)
            stream = batches(trainer)
            turns, begun = 0, 0.0
            while (what := pipe.recv()) != "end":
                if what == "train":
                    pipe.send(train(trainer, itertools.islice(stream, args.updates)))
                    turns, begun = turns + 1, begun or time.process_time()  # after the warm-up
                else:
                    pipe.send(count_waits(trainer, next(stream)))
            used = time.process_time() - begun
            pipe.send(
                {
                    "cpu_seconds_per_update": round(used / (args.updates * max(turns - 1, 1)), 4),
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
    """Yield the batches of all epochs in the order of fairseq-train."""
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
    """Return how often the CPU waits for the GPU in an update, and where; None on a CPU."""
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
    """Return the peak memory in bytes. Prefer VmHWM, because getrusage includes the parent process."""
    with contextlib.suppress(OSError):
        if found := re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            return 1024 * int(found[1])
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size


def table(rows: Sequence[dict[str, Any]], style: str = "github") -> str:
    """Format rows as a table."""
    lines = [
        {
            "teacher": row["teacher"],
            "criterion": row["criterion"],
            "tokens/s": row["tokens_per_second_median"],
            "quartiles": " - ".join(f"{value:,.0f}" for value in row["tokens_per_second_quartiles"]),
            "x none": row.get("speed_to_none_median"),
            "x none, quartiles": " - ".join(f"{value:.2f}" for value in row.get("speed_to_none_quartiles", [])),
            "peak MiB": row["peak_device_mib"] or row["peak_rss_mib"],
            **({"CPU s/update": row["cpu_seconds_per_update"]} if "cpu_seconds_per_update" in row else {}),
        }
        for row in rows
    ]
    formats = ["", "", ",.0f", "", ".2f", "", ",.0f", ".2f"][: len(lines[0])]
    sides = ["left"] * 2 + ["right"] * (len(formats) - 2)
    return tabulate(lines, headers="keys", tablefmt=style, floatfmt=formats, intfmt=",", colalign=sides)


if __name__ == "__main__":
    main()
