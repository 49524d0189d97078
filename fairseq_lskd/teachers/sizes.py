"""Whether a checkpoint's options and weights are of one size, before a model is built as large as the options say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

#: A fairseq Transformer's sizes, by option: the weight that has each, and in which dimension.
_OF_WEIGHTS = {
    f"{side}_{option}": (f"{side}.{weight}", dimension)
    for side in ("encoder", "decoder")
    for option, weight, dimension in (
        ("embed_dim", "embed_tokens.weight", 1),
        ("ffn_embed_dim", "layers.0.fc1.weight", 0),
    )
}
#: Of other options and models: no larger than the largest of the file's dimensions, or than this, which is common.
_USUAL = 4096
_POSITIONS = 2**20  # a table of sines has a row for each, and no weight
_LAYER = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.")


def too_large(options: Any, weights: Mapping[str, Any]) -> list[str]:
    """What the options of a model ask for beyond what its weights can fill, in words.

    Args:
        options: fairseq's options of a model, whatever their form; weights: tensors by name.
    """
    shapes = {name: tuple(getattr(weight, "shape", ())) for name, weight in weights.items()}
    layers = Counter(side for side, _ in {match.groups() for match in map(_LAYER.match, shapes) if match})
    largest = max((size for shape in shapes.values() for size in shape), default=0)
    problems = []
    for name, value in _flat(options):
        weight, dimension = _OF_WEIGHTS.get(name, ("", 0))
        if name.endswith("_layers"):
            most = layers[name.removesuffix("_layers")] or len(shapes)
        elif len(shapes.get(weight, ())) > dimension:
            most = shapes[weight][dimension]
        elif name.endswith("_positions"):
            most = max(largest, _POSITIONS)
        elif name.endswith(("_dim", "_heads", "hidden_size")):
            most = max(largest, _USUAL)
        else:
            continue
        if value > most:
            problems.append(f"--{name.replace('_', '-')} {value:,}, where its weights are for {most:,} at most")
    return problems


def _flat(options: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Every whole number among options, those of `encoder:` and `decoder:` by their flat names."""
    for name in () if options is None else list(options) if hasattr(options, "items") else vars(options):
        try:
            value = options[name] if hasattr(options, "items") else getattr(options, name)
        except Exception:  # OmegaConf's, of a value that stands for another: whoever needs it is told
            continue
        if name in ("encoder", "decoder") and not prefix and hasattr(value, "items"):
            yield from _flat(value, f"{name}_")
        elif type(value) is int:
            yield f"{prefix}{name}", value
