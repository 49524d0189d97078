"""Options that fairseq hands to ``eval``: a checkpoint that holds them would run whatever they say.

``weights_only=True`` refuses pickles that call something, but ``adaptive_softmax_cutoff``, fconv's ``encoder_layers``
and some thirty others are texts, which fairseq 0.12 evaluates while it builds a model, task or optimizer. Here

- the modules that do so get an ``eval`` that reads literals only (`literals.evaluate`), whatever way a text took there;
- ``load_checkpoint_to_cpu`` refuses a checkpoint whose options are no literals, before anything is built of it;
  so it does one whose options name a device, a pipe or a URL where a file is opened while a model is built.

tests/compat/test_evaluated_options.py reads fairseq's source and fails if it evaluates an option that is not here.
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
NEEDED_BY = "fairseq runs the code that a checkpoint has in an option, --adaptive-softmax-cutoff or fconv's layers say"
LOADER = "fairseq.checkpoint_utils"
#: The modules that call ``eval``. fairseq_cli's are none of them: they evaluate what the user typed.
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
    "fairseq.models.multires_hubert.multires_hubert",  # of builds that call themselves 0.12.3
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

#: The options that they evaluate, and those of fairseq's examples, which are user directories.
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
#: The options by which models and tasks open a file when they are built.
FILES = frozenset(
    (
        *("decoder_embed_path", "encoder_embed_path", "load_pretrained_decoder_from"),
        *("load_pretrained_encoder_from", "pretrained_checkpoint", "pretrained_decoder"),
        *("pretrained_mlm_checkpoint", "pretrained_xlm_checkpoint", "quantization_config_path"),
        *("speaker_emb_path", "w2v_path"),
    )
)
#: A name that another architecture takes for what is no literal here ("base" of ``pretrained``). To evaluate it would
#: look something up, and run nothing.
_WORD = re.compile(r"[\w.:/-]*")


class HarmfulOption(ValueError):
    """A checkpoint has an option that would run code, or open what is no file."""


def problems(*options: Any) -> list[str]:
    """What is wrong with a checkpoint's options (``args`` or ``cfg``, as unpickled or as omegaconf's), a line each."""
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
    """What to say of a checkpoint with such options."""
    return (
        f"{path}: its options would have fairseq run code, or open what is no file: {'; '.join(wrong)}. Nothing was "
        "run. No training of fairseq's records such options: take a checkpoint of which you know where it comes from."
    )


def _texts(value: Any, seen: set[int]) -> Iterator[tuple[str, str]]:
    """Every text in nested options, with its name; interpolations resolved."""
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
        except Exception:  # omegaconf's, for what is missing or leads nowhere: whoever asks for it gets the same
            continue


def _no_file(name: str) -> str | None:
    if re.match(r"\w+:", name):
        return "a URL"
    path = Path(name)
    try:
        # What is missing is fairseq's to say.
        return "a device or a pipe" if path.exists() and not (path.is_file() or path.is_dir()) else None
    except (OSError, ValueError):
        return "no path"


def needed() -> bool:
    """Whether an imported module still has Python's own ``eval``, or loads a checkpoint unchecked."""
    loads = getattr(sys.modules.get(LOADER), "load_checkpoint_to_cpu", None)
    return any("eval" not in vars(sys.modules[name]) for name in _loaded()) or not (
        loads is None or getattr(loads, "checks_options", False)
    )


def _loaded() -> list[str]:
    return [name for name in EVALUATING if name in sys.modules]


def apply() -> None:
    """Give those modules an ``eval`` of their own, and have checkpoints checked as they are loaded."""
    for name in _loaded():
        vars(sys.modules[name])["eval"] = evaluate
    module: Any = sys.modules.get(LOADER)
    original = getattr(module, "load_checkpoint_to_cpu", None)
    if original is None or getattr(original, "checks_options", False):
        return

    @functools.wraps(original)
    def load_checkpoint_to_cpu(path: Any, *args: Any, **kwargs: Any) -> Any:
        state = original(path, *args, **kwargs)
        # After --model-overrides, which may mend an option.
        if wrong := problems(state.get("args"), state.get("cfg")):
            if is_command():
                sys.exit(f"fairseq_lskd: error: {message(path, wrong)}")
            raise HarmfulOption(message(path, wrong))
        return state

    load_checkpoint_to_cpu.checks_options = True  # type: ignore[attr-defined]  # a mark on a function
    module.load_checkpoint_to_cpu = load_checkpoint_to_cpu


def is_command() -> bool:
    """Whether this process is one of fairseq's commands, which is to end in a message and not a traceback."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return Path(sys.argv[0]).name.startswith("fairseq-") or getattr(spec, "name", "").startswith("fairseq_cli.")
