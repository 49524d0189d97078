"""The encoder's fast path for inference: fairseq 0.12 on torch 1.13 and later.

``TransformerEncoderLayerBase.forward`` passes a padding mask to the private ``torch._transformer_encoder_layer_fwd``
without ``mask_type``, which the function needs since 1.13 ("Mask Type should be defined"). The patch turns the fast
path off. The ordinary path, which training uses too, computes the same.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

NAME = "encoder-fastpath"
NEEDED_BY = 'inference fails on torch >= 1.13 ("Mask Type should be defined")'
MODULE = "fairseq.modules.transformer_layer"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"


def needed() -> bool:
    """Whether fairseq calls the function, and the function needs the argument that fairseq does not pass."""
    import torch

    layer: Any = getattr(sys.modules.get(MODULE), "TransformerEncoderLayerBase", None)
    if layer is not None and "_transformer_encoder_layer_fwd" not in layer.forward.__code__.co_names:
        return False
    if not hasattr(torch, "_transformer_encoder_layer_fwd"):
        return True
    schema = torch.ops.aten._transformer_encoder_layer_fwd.default._schema
    return any(argument.name == "mask_type" for argument in schema.arguments)


def apply() -> None:
    """Turn the fast path off in each new encoder layer."""
    layer: Any = sys.modules[MODULE].TransformerEncoderLayerBase
    original = layer.__init__
    if getattr(original, "without_fastpath", False):
        return

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.can_use_fastpath = False

    __init__.without_fastpath = True  # type: ignore[attr-defined]  # a mark on a function
    layer.__init__ = __init__
