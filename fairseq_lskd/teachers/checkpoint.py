"""Reading a checkpoint that may be missing, broken, hostile or not fairseq's."""

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
from .known import check_known
from .sizes import too_large

#: How torch says what a pickle would have called or made.
REFUSED = re.compile(r"[Uu]nsupported (?:global: )?GLOBAL (\S+)")
#: fairseq 0.12's encoder layers keep an old copy of their weights for a fast path of PyTorch's, and position encodings
#: a number that nobody sets, so that it may be NaN. The others are counters.
_UNUSED = re.compile(
    r"encoder\.layers\.\d+\.(in_proj|out_proj|fc1|fc2)_(weight|bias)|(^|\.)(version|_float_tensor|num_updates)$"
)


def is_weight(name: str) -> bool:
    """Whether an entry of a checkpoint's `model` is one that the model computes with; others may hold anything."""
    return not _UNUSED.search(name)


#: Name of such a copy, and where in its layer the weights are that it is a copy of.
_COPY = re.compile(r"(?P<layer>.*encoder\.layers\.\d+\.)(?P<part>in_proj|out_proj|fc1|fc2)_(?P<kind>weight|bias)")
_COPIED = {"in_proj": "self_attn.q_proj", "out_proj": "self_attn.out_proj", "fc1": "fc1", "fc2": "fc2"}


def without_copies(model: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's `model` without the copies that fairseq 0.12's encoder layers keep of their own weights.

    fairseq 0.12 fills them from the weights whenever it loads a checkpoint, whether the checkpoint has them or not.
    Builds of fairseq that have no copies refuse a checkpoint that does.
    """

    def is_copy(name: str) -> bool:
        found = _COPY.fullmatch(name)
        return found is not None and f"{found['layer']}{_COPIED[found['part']]}.{found['kind']}" in model

    return {name: weight for name, weight in model.items() if not is_copy(name)}


def parameters(model: nn.Module) -> int:
    """How many parameters a model computes with; those that are tied count once."""
    return sum(weight.numel() for name, weight in model.named_parameters() if is_weight(name))


def _names_of_foreign_code(path: Path, first: str) -> str:
    try:
        return ", ".join(sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path)))
    except Exception:  # a legacy archive, which torch cannot list
        return first


def read_archive(path: str | Path) -> dict[str, Any]:
    """What a checkpoint holds, as fairseq wrote it; read with `weights_only=True`, to the CPU.

    Raises:
        UserError: if the file is missing, corrupt, no fairseq checkpoint, or carries foreign code, be it in an
            option that fairseq would evaluate (which is not run).
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise UserError(f"no checkpoint at {path}: found {found} there, expected a file that fairseq-train wrote.")
    try:
        # Memory-mapping makes this read nearly free, but only the zip format has it.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a file of another kind can fail the unpickler in any way
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{path} cannot be read: {error.strerror}.") from None
        if refused := REFUSED.search(str(error)):
            raise UserError(
                f"{path} carries foreign code ({_names_of_foreign_code(path, refused[1])}); a checkpoint that "
                "fairseq wrote holds tensors and options only. It was not run. Export the weights "
                "from the program that wrote it, or take another checkpoint."
            ) from None
        raise UserError(f"{path} is not a checkpoint or is corrupt: {_reason(error)} Copy or train it again.") from None
    weights = state.get("model") if isinstance(state, dict) else None
    if not isinstance(weights, dict) or not (state.get("cfg") or state.get("args")):
        found = ", ".join(sorted(map(str, state))) if isinstance(state, dict) else type(state).__name__
        raise UserError(
            f"{path} is not a fairseq checkpoint: expected the keys 'model' and 'cfg' (or 'args'), found {found}."
        )
    if problem := next(filter(None, (_no_weight(name, weight) for name, weight in weights.items())), None):
        raise UserError(f"{path} is not a fairseq checkpoint or is corrupt: {problem}. Copy or train it again.")
    if wrong := evaluated_options.problems(state.get("args"), state.get("cfg")):
        raise UserError(evaluated_options.message(path, wrong))
    return state


def _no_weight(name: Any, weight: Any) -> str | None:
    """Why an entry of a checkpoint's `model` is not a tensor that the file has the numbers of; None if it is."""
    if not isinstance(name, str):
        return f"its model has the name {shown(name)}, expected a text"
    if not isinstance(weight, torch.Tensor):
        return f"its weight {shown(name)} is {shown(weight)}, expected a tensor"
    if weight.layout is not torch.strided or weight.is_meta or weight.is_quantized:
        return f"its weight {shown(name)} is a tensor without plain numbers ({weight.layout}, {weight.device})"
    # A view that repeats its numbers can be of any size.
    if weight.numel() * weight.element_size() > weight.untyped_storage().nbytes():
        return f"its weight {shown(name)} has the shape {list(weight.shape)}, and fewer numbers than that"
    return None


def _reason(error: Exception) -> str:
    # torch begins with the advice to load without safety, or to file an issue.
    text = str(error).rpartition("WeightsUnpickler error: ")[2]
    lines = [line for line in text.splitlines() if line and not line.startswith("Weights only load failed")]
    first = lines[0].partition(" In PyTorch 2.6")[0].rstrip(".") if lines else "no more to read"
    return f"{type(error).__name__}: {first}."


def said(error: Exception) -> str:
    """What an exception says, on one line that is not too long: fairseq and torch can name every weight of a model."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 600 else f"{text[:600]}…"


#: Options that are used before a model is built, and what they are.
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
    except Exception as error:  # OmegaConf's, of values that stand for others
        raise UserError(f"{path} is not a checkpoint of fairseq's, or was edited: {said(error)}") from None


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint in fairseq's current form, its options under "cfg".

    Its tensors are mapped into memory: what is not looked at is not read.

    Raises:
        UserError: as `read_archive` does, and where fairseq does not know the architecture or the task.
    """
    archive = read_archive(path)
    check_known(path, archive)
    try:
        # As `load_checkpoint_to_cpu` does, which would read all of the file into memory, the optimizer's state too.
        if archive.get("cfg") is not None:
            archive["cfg"] = OmegaConf.create(archive["cfg"], flags={"allow_objects": True})
        state = checkpoint_utils._upgrade_state_dict(archive)
        if state.get("args") is not None:
            state["cfg"] = convert_namespace_to_omegaconf(state["args"])
    except Exception as error:  # other programs write files of the same form, with anything in them
        raise UserError(f"{path} is not a checkpoint of fairseq's: {said(error)}") from None
    for section, kinds in _OPTIONS.items():
        _check_options(path, section, state["cfg"].get(section), kinds)
    if wrong := too_large(state["cfg"].get("model"), state["model"]):
        raise UserError(
            f"{path} asks for another model than it holds: {'; '.join(wrong)}. It was edited or is damaged: copy or "
            "train it again."
        )
    return state
