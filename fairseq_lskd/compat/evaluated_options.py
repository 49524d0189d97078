"""Options that fairseq passes to ``eval``: a malicious checkpoint can run code through them.

``weights_only=True`` refuses code in pickles. But ``adaptive_softmax_cutoff``, fconv's ``encoder_layers`` and about
thirty other options are strings that fairseq 0.12 evaluates while it builds a model, task or optimizer. The patch has
two parts:

- The modules that call ``eval`` get an ``eval`` that reads only literals (`literals.evaluate`).
- ``load_checkpoint_to_cpu`` refuses a checkpoint if such an option is not a literal, before a model is built. It also
  refuses options that name a device, a pipe or a URL where fairseq opens a file to build a model.

tests/compat/test_evaluated_options.py reads fairseq's source and fails if fairseq evaluates an option that is missing
here.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .literals import NotALiteral, evaluate

NAME = "evaluated-options"
NEEDED_BY = "fairseq runs code from a checkpoint's options, such as --adaptive-softmax-cutoff or the layers of fconv"
LOADER = "fairseq.checkpoint_utils"
#: The modules that call ``eval``, without those of fairseq_cli, which evaluate only the user's command line.
EVALUATING = (
    "fairseq.utils",
    "fairseq.criterions.ctc",
    "fairseq.data.audio.raw_audio_dataset",
    "fairseq.data.codedataset",
    "fairseq.models.fconv",
    "fairseq.models.fconv_lm",
    "fairseq.models.fconv_self_att",
    "fairseq.models.hubert.hubert",
    "fairseq.models.lightconv_lm",
    "fairseq.models.multires_hubert.multires_hubert",  # in builds with the version 0.12.3
    "fairseq.models.speech_to_text.s2t_wav_transformer",
    "fairseq.models.transformer_lm",
    "fairseq.models.wav2vec.wav2vec",
    "fairseq.models.wav2vec.wav2vec2",
    "fairseq.optim.adafactor",
    "fairseq.optim.adam",
    "fairseq.optim.adamax",
    "fairseq.optim.cpu_adam",
    "fairseq.optim.fused_lamb",
)
MODULES: tuple[str, ...] = (*EVALUATING, LOADER)
WHEN = "after"

#: The options that these modules and fairseq's examples evaluate.
OPTIONS = frozenset(
    (
        *("adafactor_eps", "adam_betas", "adamax_betas", "adaptive_input_cutoff"),
        *("adaptive_softmax_cutoff", "character_filters", "conv_aggregator_layers", "conv_dec_config"),
        *("conv_enc_config", "conv_feature_layers", "decoder_attention", "decoder_layers"),
        *("decoder_zero_init", "downsample", "encoder_attention", "encoder_layers", "gated_attention"),
        *("lamb_betas", "left_pad_source", "left_pad_target", "override_encoder_layers", "pipeline_balance"),
        *("pipeline_decoder_balance", "pipeline_decoder_devices", "pipeline_devices"),
        *("pipeline_encoder_balance", "pipeline_encoder_devices", "pretrained", "project_input"),
        *("self_attention", "transformer_context", "transformer_dec_config", "transformer_enc_config"),
        *("transformer_sampling", "vggblock_enc_config", "wer_args", "xformers_att_config"),
    )
)
#: The options that name files that models and tasks open when they are built.
FILES = frozenset(
    (
        *("decoder_embed_path", "encoder_embed_path", "load_pretrained_decoder_from"),
        *("load_pretrained_encoder_from", "pretrained_checkpoint", "pretrained_decoder"),
        *("pretrained_mlm_checkpoint", "pretrained_xlm_checkpoint", "quantization_config_path"),
        *("speaker_emb_path", "w2v_path"),
    )
)
#: A plain word, which an architecture may use as a name ("base" for ``pretrained``). Evaluating a word runs no code.
_WORD = re.compile(r"[\w.:/-]*")


class HarmfulOption(ValueError):
    """A checkpoint has an option that would run code, or open something that is not a file."""


def problems(*options: Any) -> list[str]:
    """Return the problems with a checkpoint's options (``args`` or ``cfg``, unpickled or from omegaconf)."""
    found: dict[str, None] = {}
    for name, value in _texts(options, set()):
        if name in OPTIONS and not _WORD.fullmatch(value):
            try:
                evaluate(value)
            except NotALiteral as error:
                found[f"{name} = {error}"] = None
        if name in FILES and (kind := _no_file(value)):
            found[f"{name} = {value[:100]!r} names {kind}, expected a file"] = None
    return list(found)


def message(path: Any, wrong: list[str]) -> str:
    """Return the error message for a checkpoint with such options."""
    return (
        f"{path} has options that make fairseq run code, or open something that is not a file: {'; '.join(wrong)}. "
        "Nothing was run. fairseq-train does not record such options. Use a checkpoint from a source that you trust."
    )


def _texts(value: Any, seen: set[int]) -> Iterator[tuple[str, str]]:
    """Yield the name and value of every string in nested options, with interpolations resolved."""
    if isinstance(value, str | bytes) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, argparse.Namespace):
        items: Any = vars(value).items()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        items = _items(value)
    elif isinstance(value, Sequence):
        items = [("", item) for item in value]
    else:
        return
    for name, item in items:
        if isinstance(item, str):
            yield str(name), item
        else:
            yield from _texts(item, seen)


def _items(mapping: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    for name in mapping:
        try:
            yield name, mapping[name]
        except Exception:  # omegaconf raises on missing values and broken interpolations, and will do so again on use
            continue


def _no_file(name: str) -> str | None:
    """Return what `name` is if it cannot be a file; None if it is or may be a file."""
    if re.match(r"\w+:", name):
        return "a URL"
    path = Path(name)
    try:
        # fairseq itself reports a missing file.
        return "a device or a pipe" if path.exists() and not (path.is_file() or path.is_dir()) else None
    except (OSError, ValueError):
        return "an invalid path"


def needed() -> bool:
    """Whether an imported module still has Python's ``eval``, or loads checkpoints without the check."""
    loads = getattr(sys.modules.get(LOADER), "load_checkpoint_to_cpu", None)
    return any("eval" not in vars(sys.modules[name]) for name in _loaded()) or not (
        loads is None or getattr(loads, "checks_options", False)
    )


def _loaded() -> list[str]:
    return [name for name in EVALUATING if name in sys.modules]


def apply() -> None:
    """Give the modules the safe ``eval``, and check checkpoints when they are loaded."""
    for name in _loaded():
        vars(sys.modules[name])["eval"] = evaluate
    module: Any = sys.modules.get(LOADER)
    original = getattr(module, "load_checkpoint_to_cpu", None)
    if original is None or getattr(original, "checks_options", False):
        return

    @functools.wraps(original)
    def load_checkpoint_to_cpu(path: Any, *args: Any, **kwargs: Any) -> Any:
        state = original(path, *args, **kwargs)
        # Checked after --model-overrides, which may replace an option.
        if wrong := problems(state.get("args"), state.get("cfg")):
            if is_command():
                sys.exit(f"fairseq_lskd: error: {message(path, wrong)}")
            raise HarmfulOption(message(path, wrong))
        return state

    load_checkpoint_to_cpu.checks_options = True  # type: ignore[attr-defined]  # a mark on a function
    module.load_checkpoint_to_cpu = load_checkpoint_to_cpu


def running_command() -> str | None:
    """Return the name of fairseq's command that this process is, such as `fairseq-train`; None if it is another."""
    program = Path(sys.argv[0]).name
    if program.startswith("fairseq-"):
        return program
    package, _, module = getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", "").rpartition(".")
    return f"fairseq-{module.replace('_', '-')}" if package == "fairseq_cli" else None


def is_command() -> bool:
    """Whether this process is one of fairseq's commands, which should end with a message, not a traceback."""
    return running_command() is not None
