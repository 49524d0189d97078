"""Read checkpoints that may be missing, damaged, malicious or not from fairseq."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf
from torch import nn

from ..compat import evaluated_options
from ..errors import UserError
from ..reading import COUNT, misfit, shown
from ..runs import AVERAGE
from .known import check_known
from .sizes import too_large

#: The part of torch's message that names a class or function that the pickle refers to.
REFUSED = re.compile(r"[Uu]nsupported (?:global: )?GLOBAL (\S+)")
SHARDED = (
    "{} is one shard of a model that was trained with --ddp-backend fully_sharded --use-sharded-state. Continue its "
    "training for one update without --use-sharded-state: fairseq then writes the whole model to one file"
)
MOST_NAMES = 6  #: checkpoints that a message names
#: Entries that models do not compute with: copies of weights that fairseq 0.12's encoder layers have for PyTorch's fast
#: path, a number of position encodings that is never set (it may be NaN), and counters.
_UNUSED = re.compile(
    r"encoder\.layers\.\d+\.(in_proj|out_proj|fc1|fc2)_(weight|bias)|(^|\.)(version|_float_tensor|num_updates)$"
)


def is_weight(name: str) -> bool:
    """Whether the model computes with this entry of a checkpoint's `model`. Other entries may have any value."""
    return not _UNUSED.search(name)


#: Names of copies of weights, and where in a layer the original weights are.
_COPY = re.compile(r"(?P<layer>.*encoder\.layers\.\d+\.)(?P<part>in_proj|out_proj|fc1|fc2)_(?P<kind>weight|bias)")
_COPIED = {"in_proj": "self_attn.q_proj", "out_proj": "self_attn.out_proj", "fc1": "fc1", "fc2": "fc2"}


def without_copies(model: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's `model` without the copies of weights that fairseq 0.12's encoder layers have.

    fairseq 0.12 makes the copies again when it loads a checkpoint. Other builds of fairseq refuse checkpoints with
    copies.
    """

    def is_copy(name: str) -> bool:
        found = _COPY.fullmatch(name)
        return found is not None and f"{found['layer']}{_COPIED[found['part']]}.{found['kind']}" in model

    return {name: weight for name, weight in model.items() if not is_copy(name)}


def parameters(model: nn.Module) -> int:
    """Return the number of parameters that a model computes with. Tied parameters count once."""
    return sum(weight.numel() for name, weight in model.named_parameters() if is_weight(name))


def _names_of_foreign_code(path: Path, first: str) -> str:
    try:
        return ", ".join(sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path)))
    except Exception:  # a legacy archive, which torch cannot list
        return first


def near(path: Path) -> str:
    """Return sentences that name the checkpoints in a folder, or beside a missing file; "" if there are none."""
    if parts := [part for part in re.split(r"[,\s]+", str(path)) if Path(part).is_file()]:
        return f" Join several checkpoints by ':', as in {':'.join(parts)}."
    folder = path if path.is_dir() else path.parent
    names = [each.name for each in folder.glob("*.pt")] if folder.is_dir() else []
    names.sort(key=lambda name: (bool(re.search(r"\d", name)), name))  # those of epochs and updates last
    more = ", …" if len(names) > MOST_NAMES else ""
    meant = f" Did you mean {folder / AVERAGE}?" if path.is_dir() and AVERAGE in names else ""
    return f"{meant} {folder} has {', '.join(names[:MOST_NAMES])}{more}." if names else ""


def read_archive(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint as fairseq wrote it, to the CPU, with `weights_only=True`.

    Raises:
        UserError: if the file is missing, damaged or not a fairseq checkpoint, or has code in it, also in an option
            that fairseq would evaluate. The code is not run.
    """
    path = Path(path)
    if not path.is_file():
        if (shard := path.with_name(f"{path.stem}-shard0.pt")).is_file():
            raise UserError(SHARDED.format(shard))
        found = "a folder" if path.is_dir() else "nothing"
        raise UserError(
            f"no checkpoint at {path}: found {found}, expected a file that fairseq-train wrote.{near(path)}"
        )
    try:
        # Memory-mapping makes reading nearly free, but works only with the zip format.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # the file may be anything, so the unpickler may raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{path} cannot be read: {error.strerror}.") from None
        if refused := REFUSED.search(str(error)):
            raise UserError(
                f"{path} contains foreign code ({_names_of_foreign_code(path, refused[1])}), but fairseq's checkpoints "
                "contain only tensors and options. The code was not run. Export the weights from the program that "
                "wrote the file, or use another checkpoint."
            ) from None
        raise UserError(f"{path} is not a checkpoint or is corrupt: {_reason(error)} Copy or train it again.") from None
    weights = state.get("model") if isinstance(state, dict) else None
    if not isinstance(weights, dict) or not (state.get("cfg") or state.get("args")):
        found = ", ".join(sorted(map(str, state))) if isinstance(state, dict) else type(state).__name__
        raise UserError(
            f"{path} is not a fairseq checkpoint: expected the keys 'model' and 'cfg' (or 'args'), found {found}."
        )
    if "fsdp_metadata" in state:
        raise UserError(SHARDED.format(path))
    if problem := next(filter(None, (_no_weight(name, weight) for name, weight in weights.items())), None):
        raise UserError(f"{path} is not a fairseq checkpoint or is corrupt: {problem}. Copy or train it again.")
    if wrong := evaluated_options.problems(state.get("args"), state.get("cfg")):
        raise UserError(evaluated_options.message(path, wrong))
    return state


def _no_weight(name: Any, weight: Any) -> str | None:
    """Return why an entry of a checkpoint's `model` is not a tensor with all its numbers in the file; None if it is."""
    if not isinstance(name, str):
        return f"its model has a weight with the name {shown(name)}, expected a string"
    if not isinstance(weight, torch.Tensor):
        return f"its weight {shown(name)} is {shown(weight)}, expected a tensor"
    if weight.layout is not torch.strided or weight.is_meta or weight.is_quantized:
        return f"its weight {shown(name)} is a tensor without plain numbers ({weight.layout}, {weight.device})"
    # A view that repeats its numbers can have any size.
    if weight.numel() * weight.element_size() > weight.untyped_storage().nbytes():
        return f"its weight {shown(name)} has the shape {list(weight.shape)}, but the file has fewer numbers"
    return None


def _reason(error: Exception) -> str:
    # torch's message begins with the advice to load without `weights_only`, or to file an issue.
    text = str(error).rpartition("WeightsUnpickler error: ")[2]
    lines = [line for line in text.splitlines() if line and not line.startswith("Weights only load failed")]
    none = "the file ends too early" if isinstance(error, EOFError) else "no reason given"
    first = lines[0].partition(" In PyTorch 2.6")[0].rstrip(".") if lines else none
    return f"{type(error).__name__}: {first}."


def said(error: Exception) -> str:
    """Return an exception's type and message on one line of at most 600 characters, as torch may list all weights."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 600 else f"{text[:600]}…"


#: Options that are used before a model is built, and their types.
_POSITIONS = {"max_source_positions": (COUNT, type(None)), "max_target_positions": (COUNT, type(None))}
_OPTIONS: dict[str, dict[str, Any]] = {
    "task": _POSITIONS | dict.fromkeys(("_name", "data", "source_lang", "target_lang"), (str, type(None))),
    "model": _POSITIONS,
}


def _check_options(path: str | Path, section: str, options: Any, kinds: dict[str, Any]) -> None:
    try:
        if options is None or isinstance(options, str | int | float | list):
            raise ValueError(f"{section} is {shown(options)}, expected options")
        found = {name: getattr(options, name, None) for name in kinds}
        if problem := misfit(found, kinds):
            raise ValueError(f"{section}.{problem}")
    except Exception as error:  # OmegaConf raises many exceptions on interpolated values
        raise UserError(f"{path} is not a fairseq checkpoint, or was edited: {said(error)}") from None


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint and convert it to fairseq's current form, with options under "cfg".

    Tensors are mapped into memory and read only when they are used.

    Raises:
        UserError: as `read_archive`, and if the architecture or task is unknown.
    """
    archive = read_archive(path)
    check_known(path, archive)
    try:
        # The same as fairseq's `load_checkpoint_to_cpu`, but that reads the whole file, optimizer state included.
        if archive.get("cfg") is not None:
            archive["cfg"] = OmegaConf.create(archive["cfg"], flags={"allow_objects": True})
        state = checkpoint_utils._upgrade_state_dict(archive)
        if state.get("args") is not None:
            state["cfg"] = convert_namespace_to_omegaconf(state["args"])
    except Exception as error:  # other programs may write anything into a file of this form
        raise UserError(f"{path} is not a fairseq checkpoint: {said(error)}") from None
    for section, kinds in _OPTIONS.items():
        _check_options(path, section, state["cfg"].get(section), kinds)
    if wrong := too_large(state["cfg"].get("model"), state["model"]):
        raise UserError(
            f"{path} has options that do not fit its weights: {'; '.join(wrong)}. It was edited or is damaged. Copy "
            "or train it again."
        )
    return state
