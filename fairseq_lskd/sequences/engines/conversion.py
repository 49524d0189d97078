"""A fairseq Transformer as a CTranslate2 model folder, made once and compared with the original."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import torch
from ctranslate2.converters import Converter
from ctranslate2.converters.fairseq import set_transformer_decoder, set_transformer_encoder
from ctranslate2.specs import Activation, TransformerSpec
from fairseq.models.transformer import TransformerModelBase

from ...errors import UserError
from ...files import FULL, errors_name, sha256, write_json
from ...reading import NUMBER, read_json
from ...teachers.alone import Teacher
from .ctranslate2_engine import PADDING
from .fairseq_engine import forced_log_probs

ACTIVATIONS = {
    "relu": Activation.RELU,
    "gelu": Activation.GELU,
    "gelu_accurate": Activation.GELUTanh,
    "gelu_fast": Activation.GELUTanh,
    "swish": Activation.SWISH,
}
#: Natural logarithms of a token's probability may differ by this much between the two in float32.
TOLERANCE = 1e-3
VERIFIED = "verified.json"
#: What it has at least; "files" are the SHA-256 of all others, which older versions did not write.
RECORD = {"largest_difference": NUMBER, "files": {str: str}}
#: How a folder ends in which a conversion goes on.
UNFINISHED = ".unfinished"
SECONDS = 2.0  #: between making such a folder and locking it, at most


class Unsupported(Exception):
    """CTranslate2 cannot run this model; the message says why."""


class FromModel(Converter):
    """Reads a model that is loaded: its options may be of Hydra's form, which CTranslate2's own reader knows not."""

    def __init__(self, teacher: Teacher):
        self.task, (self.model,) = teacher.task, teacher.models

    def _load(self) -> TransformerSpec:
        model, options = self.model, self.model.cfg
        with torch.no_grad():
            spec = TransformerSpec.from_config(
                (len(model.encoder.layers), len(model.decoder.layers)),
                options.encoder.attention_heads,
                pre_norm=options.encoder.normalize_before,
                activation=ACTIVATIONS[options.activation_fn],
                layernorm_embedding=options.layernorm_embedding,
            )
            set_transformer_encoder(spec.encoder, model.encoder)
            set_transformer_decoder(spec.decoder, model.decoder)
        for register, dictionary in (
            (spec.register_source_vocabulary, self.task.source_dictionary),
            (spec.register_target_vocabulary, self.task.target_dictionary),
        ):
            register([PADDING if symbol == "<pad>" else symbol for symbol in dictionary.symbols])
        spec.config.decoder_start_token = spec.config.eos_token
        spec.config.add_source_eos = True
        return spec


def _problems(model: Any) -> list[str]:
    """What of a model CTranslate2 does not have."""
    if not isinstance(model, TransformerModelBase):
        return [type(model).__name__]
    options = model.cfg
    return [
        problem
        for wrong, problem in (
            (options.activation_fn not in ACTIVATIONS, f"--activation-fn {options.activation_fn}"),
            (options.no_token_positional_embeddings, "--no-token-positional-embeddings"),
            (options.adaptive_softmax_cutoff is not None, "--adaptive-softmax-cutoff"),
            (
                options.no_cross_attention or options.cross_self_attention,
                "--no-cross-attention, --cross-self-attention",
            ),
            (
                options.encoder.normalize_before != options.decoder.normalize_before,
                "--encoder-normalize-before without --decoder-normalize-before, or the other way round",
            ),
            (
                options.encoder.attention_heads != options.decoder.attention_heads,
                "other --encoder-attention-heads than --decoder-attention-heads",
            ),
        )
        if wrong
    ]


def convert(teacher: Teacher, cache: Path) -> Path:
    """The folder in `cache` with this teacher as a CTranslate2 model in float32; made if it is not there.

    It is checked to the last bit before it is used, and made again where it was damaged, saying so on stderr.

    Raises:
        Unsupported: if CTranslate2 has no such model, or what it computes is not what fairseq computes.
        OSError: if it cannot be written: a full disk says nothing about the model.
    """
    if problems := _problems(teacher.models[0]):
        raise Unsupported(f"CTranslate2 has no {', no '.join(problems)}")
    digests = [sha256(path) for path in (*teacher.paths, *teacher.dictionaries, *teacher.more_files)]
    key = hashlib.sha256(" ".join([ctranslate2.__version__, *digests]).encode()).hexdigest()
    folder = cache / key[:16]
    cache.mkdir(parents=True, exist_ok=True)
    _sweep(cache)
    if (folder / VERIFIED).is_file():
        if not (problem := _damage(folder)):
            return folder
        print(f"{folder}: {problem}; the model is converted again", file=sys.stderr)
    # Beside its place: shards may convert at the same time, and whoever ends first is right.
    with _workplace(cache, key[:16]) as place, errors_name(folder, place):
        made = place / "model"
        try:
            FromModel(teacher).convert(str(made))
            difference = _difference(teacher, made)
        except OSError:  # a full disk, say, which is no fault of the model
            raise
        except Exception as error:  # models of all kinds can be made with fairseq
            if shutil.disk_usage(cache).free < FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
            raise Unsupported(f"CTranslate2 cannot convert it ({type(error).__name__}: {error})") from error
        if not difference <= TOLERANCE:
            raise Unsupported(
                f"CTranslate2's log-probabilities differ from fairseq's by up to {difference:.2g}, expected at most "
                f"{TOLERANCE:g}"
            )
        files = {path.name: sha256(path) for path in sorted(made.iterdir())}
        record = {"largest_difference": difference, "checkpoint": str(teacher.paths[0]), "files": files}
        write_json(made / VERIFIED, record)
        with contextlib.suppress(OSError):
            made.rename(folder)
        if not (folder / VERIFIED).is_file() or _damage(folder):
            with contextlib.suppress(FileNotFoundError):
                folder.rename(place / "old")
            made.rename(folder)
    return folder


def _damage(folder: Path) -> str | None:
    """Why a converted model is not what was written; None if it is, to the last bit."""
    try:
        files = read_json(folder / VERIFIED, RECORD, "what a conversion writes")["files"]
    except UserError as error:
        return str(error)
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256(path) != digest:
            return f"{name} is not as it was written"
    return None


@contextlib.contextmanager
def _workplace(cache: Path, key: str) -> Iterator[Path]:
    """A folder to convert in, which goes at the end. While its process lives, it has a lock on it."""
    place = Path(tempfile.mkdtemp(dir=cache, prefix=f".{key}.", suffix=UNFINISHED))
    lock = os.open(place, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield place
    finally:
        os.close(lock)
        shutil.rmtree(place, ignore_errors=True)


def _sweep(cache: Path) -> None:
    """Remove what killed conversions left: folders whose process has no lock on them any more."""
    for place in cache.glob(f".*{UNFINISHED}"):
        with contextlib.suppress(OSError):
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # One that has just been made may have no lock yet.
                if time.time() - place.stat().st_mtime > SECONDS:
                    shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(lock)


def _difference(teacher: Teacher, folder: Path) -> float:
    """The largest difference between the two models' log-probabilities of a token, over random sentences."""
    chance = random.Random(1)
    dictionaries = (teacher.task.source_dictionary, teacher.task.target_dictionary)
    source, target = (dictionary.symbols[dictionary.nspecial :] for dictionary in dictionaries)
    lengths = [n for n in (1, 2, 5, 13, 40) if n < min(teacher.max_positions)]
    sources = [chance.choices(source, k=n) for n in lengths]
    targets = [chance.choices(target, k=n) for n in reversed(lengths)]
    translator = ctranslate2.Translator(str(folder), "cpu", compute_type="float32")
    theirs = [result.log_probs for result in translator.score_batch(sources, targets)]
    ours = forced_log_probs(teacher.task, teacher.models, sources, targets, torch.device("cpu"))
    # Not max(), which may step over what is not a number.
    return float(np.abs(np.concatenate(ours) - np.concatenate(theirs)).max())
