"""Convert a fairseq Transformer to a CTranslate2 model folder, and compare it with the original."""

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
from fairseq.models import FairseqEncoderDecoderModel
from fairseq.models.transformer import TransformerDecoderBase, TransformerEncoderBase, TransformerModelBase

from ...errors import UserError
from ...files import FULL, errors_name, sha256, write_json
from ...reading import NUMBER, read_json
from ...teachers.alone import Teacher
from ...teachers.model_folder import PADDING
from .fairseq_engine import forced_log_probs

ACTIVATIONS = {
    "relu": Activation.RELU,
    "gelu": Activation.GELU,
    "gelu_accurate": Activation.GELUTanh,
    "gelu_fast": Activation.GELUTanh,
    "swish": Activation.SWISH,
}
#: Maximum difference of log-probabilities between the two models in float32, in nats.
TOLERANCE = 1e-3
VERIFIED = "verified.json"
#: Minimum shape of `VERIFIED`. "files" has the SHA-256 of all other files; older versions did not write it.
RECORD = {"largest_difference": NUMBER, "files": {str: str}}
#: Suffix of the temporary folder of a conversion.
UNFINISHED = ".unfinished"
SECONDS = 2.0  #: maximum time between creating and locking this folder


class Unsupported(Exception):
    """CTranslate2 does not support this model. The message gives the reason."""


class FromModel(Converter):
    """Converts a loaded model. CTranslate2's own converter cannot read checkpoints with options in Hydra's form."""

    def __init__(self, teacher: Teacher):
        self.task, (self.model,), self.marks = teacher.task, teacher.models, teacher.marks

    def _load(self) -> TransformerSpec:
        model, options = self.model, _options(self.model)
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
        marks = self.marks
        spec.config.decoder_start_token = spec.config.eos_token if marks is None else marks.start(self.task)
        # A language token in place of the end symbol is given with each source.
        spec.config.add_source_eos = marks is None or marks.source is None or not marks.replacing
        return spec


def _is_part(model: Any) -> bool:
    """Whether a model is the Transformer of a language pair in a `multilingual_transformer`."""
    return (
        type(model) is FairseqEncoderDecoderModel
        and isinstance(model.encoder, TransformerEncoderBase)
        and isinstance(model.decoder, TransformerDecoderBase)
    )


def _options(model: Any) -> Any:
    return model.encoder.cfg if _is_part(model) else model.cfg


def _problems(model: Any) -> list[str]:
    """Return the features of a model that CTranslate2 does not support."""
    if not isinstance(model, TransformerModelBase) and not _is_part(model):
        return [type(model).__name__]
    options = _options(model)
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
                "different --encoder-normalize-before and --decoder-normalize-before",
            ),
            (
                options.encoder.attention_heads != options.decoder.attention_heads,
                "different --encoder-attention-heads and --decoder-attention-heads",
            ),
        )
        if wrong
    ]


def convert(teacher: Teacher, cache: Path) -> Path:
    """Return the folder in `cache` with the teacher as a float32 CTranslate2 model. Convert the teacher if needed.

    The digests of a cached model are checked. A damaged model is converted again, with a message on stderr.

    Raises:
        Unsupported: if CTranslate2 does not support the model, or its log-probabilities differ from fairseq's.
        OSError: if the model cannot be written, for example on a full disk.
    """
    if problems := _problems(teacher.models[0]):
        raise Unsupported(f"CTranslate2 does not support {', '.join(problems)}")
    digests = [sha256(path) for path in (*teacher.paths, *teacher.dictionaries, *teacher.more_files)]
    if teacher.marks is not None and teacher.marks.replacing:
        digests.append(str(teacher.pair))  # the model has a part for each pair, or its decoder starts with a language
    key = hashlib.sha256(" ".join([ctranslate2.__version__, *digests]).encode()).hexdigest()
    folder = cache / key[:16]
    cache.mkdir(parents=True, exist_ok=True)
    _sweep(cache)
    if (folder / VERIFIED).is_file():
        if not (problem := _damage(folder)):
            return folder
        print(f"{folder}: {problem}. Converting the model again", file=sys.stderr)
    # In a temporary folder, as shards may convert at the same time. The first to finish is kept.
    with _workplace(cache, key[:16]) as place, errors_name(folder, place):
        made = place / "model"
        try:
            FromModel(teacher).convert(str(made))
            difference = _difference(teacher, made)
        except OSError:  # such as a full disk
            raise
        except Exception as error:  # CTranslate2 may fail in any way on an unusual model
            if shutil.disk_usage(cache).free < FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
            raise Unsupported(f"CTranslate2 cannot convert the model ({type(error).__name__}: {error})") from error
        if not difference <= TOLERANCE:
            raise Unsupported(
                f"the log-probabilities of CTranslate2 and fairseq differ by up to {difference:.2g}, expected at most "
                f"{TOLERANCE:g}"
            )
        files = {path.name: sha256(path) for path in sorted(made.iterdir())}
        record = {"largest_difference": difference, "checkpoint": str(teacher.paths[0]), "files": files}
        write_json(made / VERIFIED, record)
        try:
            made.rename(folder)
        except OSError:  # there is a folder: the model of another process, or a damaged one
            if not (folder / VERIFIED).is_file() or _damage(folder):
                with contextlib.suppress(FileNotFoundError):
                    folder.rename(place / "old")
                made.rename(folder)
    return folder


def _damage(folder: Path) -> str | None:
    """Compare a converted model with its recorded digests. Return the first problem, or None."""
    try:
        files = read_json(folder / VERIFIED, RECORD, "the record of a conversion")["files"]
    except UserError as error:
        return str(error)
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256(path) != digest:
            return f"{name} was changed"
    return None


@contextlib.contextmanager
def _workplace(cache: Path, key: str) -> Iterator[Path]:
    """Create a temporary folder for a conversion, and lock it until it is removed or the process dies."""
    place = Path(tempfile.mkdtemp(dir=cache, prefix=f".{key}.", suffix=UNFINISHED))
    lock = os.open(place, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # the file system may not support locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield place
    finally:
        os.close(lock)
        shutil.rmtree(place, ignore_errors=True)


def _sweep(cache: Path) -> None:
    """Remove the folders of killed conversions, which no process has locked."""
    for place in cache.glob(f".*{UNFINISHED}"):
        with contextlib.suppress(OSError):
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A new folder may not be locked yet.
                if time.time() - place.stat().st_mtime > SECONDS:
                    shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(lock)


def _difference(teacher: Teacher, folder: Path) -> float:
    """Return the largest difference between the token log-probabilities of both models on random sentences."""
    chance = random.Random(1)
    dictionaries = (teacher.task.source_dictionary, teacher.task.target_dictionary)
    source, target = (dictionary.symbols[dictionary.nspecial :] for dictionary in dictionaries)
    lengths = [n for n in (1, 2, 5, 13, 40) if n < min(teacher.max_positions)]
    sources = [chance.choices(source, k=n) for n in lengths]
    targets = [chance.choices(target, k=n) for n in reversed(lengths)]
    translator = ctranslate2.Translator(str(folder), "cpu", compute_type="float32")
    before, after, start = map(list, teacher.affixes)
    whole = [[*before, *each, *after] for each in sources], [start + each for each in targets]
    theirs = [result.log_probs for result in translator.score_batch(*whole, offset=len(start))]
    ours = forced_log_probs(teacher.task, teacher.models, sources, targets, torch.device("cpu"), teacher.marks)
    # Unlike max(), NumPy returns NaN if a value is NaN.
    return float(np.abs(np.concatenate(ours) - np.concatenate(theirs)).max())
