"""A generated bitext of several languages, and fairseq's commands on it, in this process."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import tiny
import torch
from fairseq import options, tasks
from fairseq_cli import generate, preprocess, train, validate
from tiny import MODEL, TRAIN, begin, build_model, write
from trained import learn

PAIRS = ("de-en", "fr-en")
MULTI = ["--task", "translation_multi_simple_epoch", "--lang-pairs", ",".join(PAIRS), "--langs", "de,en,fr"]
MULTI += ["--sampling-method", "temperature", "--sampling-temperature", "2"]
MARKS = ["--encoder-langtok", "src", "--decoder-langtok"]
BY_TASK = {
    "translation": ["--task", "translation", "-s", "de", "-t", "en"],
    "translation_multi_simple_epoch": [*MULTI, *MARKS],
    "multilingual_translation": ["--task", "multilingual_translation", "--lang-pairs", ",".join(PAIRS)],
    "translation_from_pretrained_bart": (
        ["--task", "translation_from_pretrained_bart", "--langs", "de,en,fr", "-s", "de", "-t", "en"]
    ),
    "translation_lev": ["--task", "translation_lev", "-s", "de", "-t", "en"],
}
#: Options of every training, without --source-lang and --target-lang, which make some tasks decode.
COMMON = [word for word in TRAIN if word not in ("-s", "-t", "de", "en")]
COMMON += ["--max-update", "4", "--no-epoch-checkpoints", "--log-format", "json", "--log-interval", "1"]
#: Models for tasks that need their own: multilingual_transformer has one encoder and one decoder for each language.
MODELS = {"multilingual_translation": ("--arch", "multilingual_transformer", *MODEL[2:])}
NAT = ("--arch", "nonautoregressive_transformer", *MODEL[2:], "--share-all-embeddings", "--length-loss-factor", "0.1")


def binarise_pairs(folder: Path, pairs: Sequence[str] = PAIRS) -> Path:
    """Binarise generated pairs with one dictionary. Targets are in capitals: reversed for de, in order for fr."""
    chance = random.Random(1)
    for pair in pairs:
        source, target = pair.split("-")
        for split, count in (("train", 60), ("valid", 9), ("test", 9)):
            rows = [chance.choices("abcdefghij", k=chance.randint(1, 9)) for _ in range(count)]
            step = -1 if source == "de" else 1
            (folder / f"{split}.{pair}.{source}").write_text("".join(f"{' '.join(row)}\n" for row in rows))
            english = [f"{' '.join(row[::step]).upper()} END\n" for row in rows]
            (folder / f"{split}.{pair}.{target}").write_text("".join(english))
    vocabulary = folder / "dict.txt"
    vocabulary.write_text("".join(f"{word} 1\n" for word in [*"abcdefghij", *"ABCDEFGHIJ", "END"]))
    return binarise(folder, vocabulary, folder / "bin", pairs)


def binarise(text: Path, vocabulary: Path, out: Path, pairs: Sequence[str] = PAIRS) -> Path:
    """Run fairseq-preprocess on `SPLIT.PAIR.LANGUAGE` in a folder, with one dictionary for both sides."""
    for pair in pairs:
        source, target = pair.split("-")
        words = ["-s", source, "-t", target, "--destdir", str(out), "--workers", "1"]
        words += ["--srcdict", str(vocabulary), "--tgtdict", str(vocabulary)]
        for split in ("train", "valid", "test"):
            words += [f"--{split}pref", f"{text}/{split}.{pair}"]
        preprocess.main(options.get_preprocessing_parser().parse_args(words))
    return out


@contextlib.contextmanager
def _command(*words: Any) -> Iterator[io.StringIO]:
    said = io.StringIO()
    with mock.patch.object(sys, "argv", ["fairseq", *map(str, words)]), contextlib.redirect_stdout(said):
        yield said


@contextlib.contextmanager
def at_level(level: int) -> Iterator[None]:
    """Set the level of the root logger."""
    before = logging.root.level
    logging.root.setLevel(level)
    try:
        yield
    finally:
        logging.root.setLevel(before)


def fairseq_train(data: Path, out: Path, *flags: str, model: Sequence[str] = MODEL) -> dict[str, Any]:
    """Run unmodified `fairseq-train` in this process. Return the last logged values of training and validation.

    Raises:
        SystemExit: with the package's message.
    """
    log = out / "log.json"
    out.mkdir(parents=True, exist_ok=True)
    where = ["--save-dir", out, "--log-file", log, "--user-dir", Path(__file__).parents[1] / "fairseq_lskd"]
    # The log is read below. In a process of its own, fairseq sets this level; here another test may have set another.
    with _command(data, *model, *COMMON, *where, *flags), at_level(logging.INFO):
        train.cli_main()
    # fairseq's formatter writes a prefix before the JSON of each line.
    lines = [line.partition("{") for line in log.read_text().splitlines() if "train_inner" not in line]
    found: dict[str, Any] = {}
    for _, brace, rest in lines:
        with contextlib.suppress(json.JSONDecodeError):
            found |= json.loads(brace + rest)
    return found


def fairseq_generate(data: Path, checkpoint: Path, *flags: str) -> list[str]:
    """Run unmodified `fairseq-generate`. Return the translations of the test set, in order."""
    with _command(data, "--path", checkpoint, "--max-tokens", "400", "--cpu", "--num-workers", "0", *flags) as said:
        generate.cli_main()
    found = re.findall(r"^H-(\d+)\t\S+\t(.*)$", said.getvalue(), re.MULTILINE)
    return [text for _, text in sorted((int(index), text) for index, text in found)]


def fairseq_validate(data: Path, checkpoint: Path, *flags: str) -> None:
    """Run unmodified `fairseq-validate`."""
    with _command(data, "--path", checkpoint, "--max-tokens", "400", "--cpu", "--num-workers", "0", *flags):
        validate.cli_main()


#: As in `tiny`, for any task.
configure = functools.partial(tiny.configure, training=tuple(COMMON))
make_task = functools.partial(tiny.make_task, training=tuple(COMMON))


def make_model(task: Any, data: Path, *flags: str, model: tuple[str, ...] = tuple(MODEL), seed: int = 2) -> Any:
    """Make a model with random weights, as `tiny` does."""
    return build_model(task, configure(data, *flags, model=model), seed)


def save(path: Path, data: Path, *flags: str, model: tuple[str, ...] = tuple(MODEL), seed: int = 2) -> Path:
    """Write the checkpoint of a model with random weights."""
    task, cfg = make_task(data, *flags), configure(data, *flags, model=model)
    built = build_model(task, cfg, seed)
    return write(path, begin(cfg, task, built, tasks.FairseqTask.build_criterion(task, cfg.criterion)))


def batch(task: Any, split: str = "valid") -> dict[str, Any]:
    """Return a whole split as one batch, with all pairs if the task mixes them."""
    dataset = task.dataset(split)
    dataset.ordered_indices()  # some datasets need this call first
    return tiny.batch(task, range(len(dataset)), split)


@functools.cache
def trained(path: Path, data: Path, *flags: str, updates: int = 120, arch: tuple[str, ...] = tuple(MODEL)) -> Path:
    """Train a model so that it gives padding no probability and its translations end. Return its checkpoint."""
    task = make_task(data, *flags)
    torch.manual_seed(1)
    cfg = configure(data, *flags, model=arch)
    model = task.build_model(cfg.model)
    criterion = tasks.FairseqTask.build_criterion(task, cfg.criterion)
    sample = batch(task, "train")
    if hasattr(model, "models"):  # with a part, and a batch, for each pair; they share a decoder, so they take turns
        for _ in range(updates // 10):
            for pair in PAIRS:
                learn(model.models[pair], criterion, sample[pair], 10)
    else:
        learn(model, criterion, sample, updates)
    return write(path, begin(cfg, task, model, criterion))
