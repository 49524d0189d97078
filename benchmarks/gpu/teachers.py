"""Measure `lskd cache` compared with a bare forward pass, and `lskd translate` compared with fairseq-generate.

Sizes are those of production. The cached teacher has random weights, because its speed does not depend on them. The
translating teacher is trained for a while, so that its translations end.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import student_throughput as throughput
import torch
from _common import four
from _floor import synchronise
from fairseq import utils

from fairseq_lskd.sequences.resumable import manifest_path
from fairseq_lskd.teachers import OnlineTeacher
from fairseq_lskd.teachers.cache_writer import CacheWriter
from fairseq_lskd.teachers.sampled import Plan
from fairseq_lskd.teachers.task import translation_task
from fairseq_lskd.teachers.top_k import TeacherTopK

from .packed import ROOT
from .stage import Run, stage

CACHED = """--vocab 32000 --sentences 12000 --width 512 --ffn 2048 --heads 8 --encoder-layers 6 --decoder-layers 6
    --teacher-depth 1 --device cuda"""
REHEARSED = "--vocab 60 --sentences 60 --width 16 --ffn 16 --heads 2 --encoder-layers 1 --decoder-layers 1 --device cpu"
TOP_K, MAX_TOKENS, ROUNDS = 16, 8000, 3
#: Options for training the translating teacher.
BASE = """--arch transformer --share-all-embeddings --dropout 0.1 --optimizer adam --adam-betas (0.9,0.98)
    --clip-norm 1.0 --lr 7e-4 --lr-scheduler inverse_sqrt --warmup-updates 150 --no-epoch-checkpoints
    --disable-validation --log-format json"""
SIZE = "--max-tokens 16384 --max-update 400"
SMALL = """--encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16
    --encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 --encoder-attention-heads 2 --decoder-attention-heads 2
    --max-tokens 500 --max-update 2"""
#: Values of fairseq-generate's --max-tokens. The fastest one counts.
BATCHES = (4000, 16_000, 48_000)
BEAM = 5


def measure(run: Run) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for half in (False,) if run.rehearse else (True, False):
            with run.part(part="cache", dtype="float16" if half else "float32"):
                cache(run, Path(folder, f"cached-{half}"), half)
        with run.part(part="translate"):
            translate(run, Path(folder, "translated"))


# Caching.


def cache(run: Run, folder: Path, half: bool) -> None:
    """Measure target tokens per second of `lskd cache`, without its start, and of the forward pass alone, in turns."""
    folder.mkdir()
    args = throughput.parse([*(REHEARSED if run.rehearse else CACHED).split(), *(["--fp16"] if half else [])])
    with contextlib.redirect_stdout(sys.stderr), throughput.quiet():
        data = throughput.make_data(folder, args.vocab, args.sentences)
        parameters = throughput.make_teacher(args, data, folder / "teacher.pt")
    like = torch.empty(0, dtype=torch.float16 if half else torch.float32, device=run.device)
    task = translation_task(str(data), None, None, max_source_positions=1024, max_target_positions=1024)
    path = str(folder / "teacher.pt")
    speeds: dict[str, list[float]] = {"cache": [], "forward": []}
    peaks: dict[str, float] = {}
    teacher = OnlineTeacher.from_checkpoints(path, task)
    order = random.Random(1)
    for number in range(1 if run.rehearse else ROUNDS + 1):
        out = folder / f"round-{number}"
        writer = CacheWriter(out, task, "train", Plan(min(TOP_K, 4) if run.rehearse else TOP_K), 1.0, path, half=half)
        source = TeacherTopK(teacher, task, writer.dataset, writer.dtype["ids"].shape[0], 1.0, like, MAX_TOKENS)
        blocks = writer.to_do()
        for name in order.sample(list(speeds), 2):
            if run.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            synchronise(run.device)
            begun = time.perf_counter()
            done = (
                sum(writer.write(blocks, source)) if name == "cache" else forward(teacher, source, writer, blocks, like)
            )
            synchronise(run.device)
            # The first round is a warm-up.
            if number or run.rehearse:
                speeds[name].append(done / (time.perf_counter() - begun))
            if run.device.type == "cuda":
                peaks[name] = round(torch.cuda.max_memory_allocated() / 2**20)
    best = {name: max(values) for name, values in speeds.items()}
    run.write(
        part="cache",
        dtype="float16" if half else "float32",
        teacher_parameters=parameters,
        vocab=len(task.target_dictionary),
        top_k=min(TOP_K, 4) if run.rehearse else TOP_K,
        max_tokens=MAX_TOKENS,
        tokens_per_second=four(best["cache"]),
        forward_tokens_per_second=four(best["forward"]),
        speed_to_forward=four(best["cache"] / best["forward"]),
        peak_device_mib=peaks.get("cache"),
        forward_peak_device_mib=peaks.get("forward"),
        rounds=[
            {name: four(value) for name, value in zip(speeds, pair, strict=True)}
            for pair in zip(*speeds.values(), strict=True)
        ],
    )


@torch.no_grad()
def forward(
    teacher: OnlineTeacher, source: TeacherTopK, writer: CacheWriter, blocks: Sequence[int], like: torch.Tensor
) -> int:
    """Compute the teacher's logits of the same batches, collated beforehand. Return the number of target tokens."""
    teacher._follow(like)
    batches = [ids for block in blocks for ids in source.batches(writer._sentences(block))]
    samples = [source.dataset.collater([source.dataset[i] for i in ids]) for ids in batches]
    for sample in samples:
        inputs = utils.move_to_cuda(sample["net_input"], like.device) if like.is_cuda else sample["net_input"]
        for model in teacher.models:
            model(**inputs)
    return sum(sample["ntokens"] for sample in samples)


# Translating.


def translate(run: Run, folder: Path) -> None:
    """Measure sentences per second of fairseq-generate with the best of some batch sizes, and of `lskd translate`."""
    data = run.pack / "data" / "translate"
    source, target = languages(data)
    folder.mkdir()
    half = [] if run.rehearse else ["--fp16"]
    words = ["fairseq-train", data / "bin", "-s", source, "-t", target, "--user-dir", ROOT / "fairseq_lskd"]
    words += [
        "--criterion",
        "label_smoothed_teacher",
        "--label-smoothing",
        "0.1",
        "--save-dir",
        folder / "run",
        *BASE.split(),
    ]
    begun = time.time()
    call([*words, *(SMALL if run.rehearse else SIZE).split(), *(["--cpu"] if run.rehearse else half)], run)
    print(f"trained in {time.time() - begun:.0f} s", flush=True)
    checkpoint = folder / "run" / "checkpoint_last.pt"
    for language in (source, target):
        shutil.copy(data / "bin" / f"dict.{language}.txt", folder / "run")
    lines = (data / "pieces" / f"test.{source}").read_text(encoding="utf-8").splitlines(keepends=True)
    text = folder / "text"
    text.write_text("".join(lines[: 40 if run.rehearse else None]), encoding="utf-8")
    search = ["--beam", BEAM, "--max-len-a", "1.2", "--max-len-b", "10"]
    # A rehearsal translates only a few lines.
    rates: dict[str, float] = {}
    found: dict[str, dict[str, Any]] = {}
    for size in BATCHES[:1] if run.rehearse else BATCHES:
        words = ["fairseq-generate", binarised(run, data, text, folder, (source, target)), "-s", source, "-t", target]
        words += ["--path", checkpoint, "--gen-subset", "test", "--max-tokens", size, *search, *half]
        name = f"fairseq-generate, batches of {size:,}"
        with run.part(part="translate", engine=name):
            said = call([*words, *(["--cpu"] if run.rehearse else [])], run)
            rate = re.search(r"Translated [\d,]+ sentences .*\(([\d.]+) sentences/s", said)
            assert rate, said[-1000:]
            rates[name], found[name] = (
                float(rate[1]),
                {"max_tokens": size, "compute_type": "float16" if half else "float32"},
            )
    with run.part(part="translate", engine="lskd translate"):
        out = folder / "nbest.jsonl"
        call(["lskd", "translate", text, "--teacher-path", checkpoint, "--out", out, *search], run)
        record = json.loads(manifest_path(out).read_text(encoding="utf-8"))
        name = f"lskd translate, {record.get('engine', 'fairseq')}"
        rates[name] = record["lines"] / record["seconds"]
        found[name] = {"settings": record["settings"], "measured": record.get("measured")}
    best = max((rate for name, rate in rates.items() if name.startswith("fairseq-generate")), default=None)
    for name, rate in rates.items():
        run.write(
            part="translate",
            engine=name,
            sentences=len(text.read_text(encoding="utf-8").splitlines()),
            beam=BEAM,
            sentences_per_second=four(rate),
            times_best_fairseq_generate=None if best is None else four(rate / best),
            **found[name],
        )


def languages(data: Path) -> tuple[str, str]:
    options = json.loads((data / "pieces" / "encode.json").read_text(encoding="utf-8"))["options"]
    return options["source-lang"], options["target-lang"]


def binarised(run: Run, data: Path, text: Path, folder: Path, pair: tuple[str, str]) -> Path:
    """Return the packed folder of binarised data; in a rehearsal, one with only a few lines."""
    if not run.rehearse:
        return data / "bin"
    if not (folder / "bin").is_dir():
        for language in pair:
            shutil.copy(text, folder / f"test.{language}")
        words: list[Any] = ["fairseq-preprocess", "-s", pair[0], "-t", pair[1], "--testpref", folder / "test"]
        words += ["--srcdict", data / "bin" / f"dict.{pair[0]}.txt", "--tgtdict", data / "bin" / f"dict.{pair[1]}.txt"]
        call([*words, "--destdir", folder / "bin"], run)
    return folder / "bin"


def call(words: Sequence[Any], run: Run) -> str:
    """Run a command and return its output.

    Raises:
        RuntimeError: if it fails. The message has the end of the output.
    """
    environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": ""} if run.rehearse else {})}
    done = subprocess.run(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    if done.returncode:
        print(done.stdout[-5000:], flush=True)
        raise RuntimeError(f"{words[0]} ended with status {done.returncode}: {done.stdout[-300:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(stage("teachers", measure))
