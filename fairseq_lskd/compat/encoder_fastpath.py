"""The encoder's fast path calls a private torch function: fairseq 0.12 on torch 1.13 and later.

``TransformerEncoderLayerBase.forward`` hands a padding mask to ``torch._transformer_encoder_layer_fwd``
without the ``mask_type`` that the function has wanted since 1.13 ("Mask Type should be defined"). The
ordinary path computes the same, and is the one that training takes anyway.
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
    """Whether fairseq calls the function, and torch's wants the argument that fairseq does not give."""
    import torch

    layer: Any = getattr(sys.modules.get(MODULE), "TransformerEncoderLayerBase", None)
    if layer is not None and "_transformer_encoder_layer_fwd" not in layer.forward.__code__.co_names:
        return False
    if not hasattr(torch, "_transformer_encoder_layer_fwd"):
        return True
    schema = torch.ops.aten._transformer_encoder_layer_fwd.default._schema
    return any(argument.name == "mask_type" for argument in schema.arguments)


def apply() -> None:
    """Have each new encoder layer say that it cannot use the fast path."""
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
