"""Check that the sizes in a checkpoint's options fit its weights, before a model of these sizes is allocated."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

#: Options with the size of a fairseq Transformer: a weight of that size, and its dimension.
_OF_WEIGHTS = {
    f"{side}_{option}": (f"{side}.{weight}", dimension)
    for side in ("encoder", "decoder")
    for option, weight, dimension in (
        ("embed_dim", "embed_tokens.weight", 1),
        ("ffn_embed_dim", "layers.0.fc1.weight", 0),
    )
}
#: Sizes in other options and models may be up to the largest dimension of any weight, or up to this common size.
_USUAL = 4096
_POSITIONS = 2**20  # sinusoidal positions have no weight
_LAYER = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.")


def too_large(options: Any, weights: Mapping[str, Any]) -> list[str]:
    """Return a description of each option that asks for a larger size than the weights have.

    Args:
        options: fairseq's options of a model, in any form.
        weights: tensors by name.
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
            problems.append(f"--{name.replace('_', '-')} {value:,}, but its weights allow {most:,} at most")
    return problems


def _flat(options: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield all integer options, with options of `encoder:` and `decoder:` under their flat names."""
    for name in () if options is None else list(options) if hasattr(options, "items") else vars(options):
        try:
            value = options[name] if hasattr(options, "items") else getattr(options, name)
        except Exception:  # OmegaConf raises many exceptions on interpolated values; they fail later if they are used
            continue
        if name in ("encoder", "decoder") and not prefix and hasattr(value, "items"):
            yield from _flat(value, f"{name}_")
        elif type(value) is int:
            yield f"{prefix}{name}", value
