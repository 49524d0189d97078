"""A fairseq Transformer as a CTranslate2 model folder, made once and compared with the original."""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import torch
from ctranslate2.converters import Converter
from ctranslate2.converters.fairseq import set_transformer_decoder, set_transformer_encoder
from ctranslate2.specs import Activation, TransformerSpec
from fairseq.models.transformer import TransformerModelBase

from ...files import sha256, write_json
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

    Raises:
        Unsupported: if CTranslate2 has no such model, or what it computes is not what fairseq computes.
    """
    if problems := _problems(teacher.models[0]):
        raise Unsupported(f"CTranslate2 has no {', no '.join(problems)}")
    digests = [sha256(path) for path in (*teacher.paths, *teacher.dictionaries)]
    key = hashlib.sha256(" ".join([ctranslate2.__version__, *digests]).encode()).hexdigest()
    folder = cache / key[:16]
    if (folder / VERIFIED).is_file():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    # Beside its place: shards may convert at the same time, and whoever ends first is right.
    with tempfile.TemporaryDirectory(dir=cache, prefix=".") as temporary:
        made = Path(temporary, "model")
        try:
            FromModel(teacher).convert(str(made))
            difference = _difference(teacher, made)
        except Exception as error:  # models of all kinds can be made with fairseq
            raise Unsupported(f"CTranslate2 cannot convert it ({type(error).__name__}: {error})") from error
        if not difference <= TOLERANCE:
            raise Unsupported(
                f"CTranslate2's log-probabilities differ from fairseq's by up to {difference:.2g}, expected at most "
                f"{TOLERANCE:g}"
            )
        write_json(made / VERIFIED, {"largest_difference": difference, "checkpoint": str(teacher.paths[0])})
        with contextlib.suppress(OSError):
            made.rename(folder)
        if not (folder / VERIFIED).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
    return folder


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
