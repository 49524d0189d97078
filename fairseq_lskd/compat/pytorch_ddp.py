"""``--ddp-backend pytorch_ddp``, the default: with fairseq 0.12, DDP waits for parameters without gradients.

Encoder layers of fairseq 0.12 have copies of their weights for the fast path of inference. The copies get no gradient,
so DDP's second update fails ("Expected to have finished reduction in the prior iteration").
``--find-unused-parameters`` avoids this, but traverses the graph at every update. The patch makes DDP ignore the
copies. They stay in the checkpoint.
"""

from __future__ import annotations

import sys
from typing import Any

NAME = "pytorch-ddp"
NEEDED_BY = (
    '--ddp-backend pytorch_ddp fails at the second update ("Expected to have finished reduction"), '
    'and on a CPU ("device_ids ... can only be used with ... GPU modules")'
)
MODULE = "fairseq.models.distributed_fairseq_model"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"

LAYER = ("fairseq.modules.transformer_layer", "TransformerEncoderLayerBase")
#: Names of the copies in a layer.
COPIES = tuple(f"{part}_{kind}" for part in ("in_proj", "out_proj", "fc1", "fc2") for kind in ("weight", "bias"))


def needed() -> bool:
    """Whether fairseq uses torch's DDP."""
    from torch.nn.parallel import DistributedDataParallel

    return getattr(sys.modules[MODULE], "DistributedDataParallel", None) is DistributedDataParallel


def copies(model: Any) -> list[str]:
    """Return the names of a model's parameters that only the fast path reads."""
    layer = getattr(sys.modules.get(LAYER[0]), LAYER[1], ())
    return [
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if isinstance(module, layer)
        for name in COPIES
        if name in module._parameters
    ]


def apply() -> None:
    """Replace DDP in fairseq's module by a function that makes it ignore the copies."""
    from torch.nn.parallel import DistributedDataParallel

    def distributed(module: Any, device_ids: Any = None, output_device: Any = None, **options: Any) -> Any:
        if all(weight.device.type == "cpu" for weight in module.parameters()):
            device_ids = output_device = None
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, copies(module))
        return DistributedDataParallel(module, device_ids=device_ids, output_device=output_device, **options)

    sys.modules[MODULE].DistributedDataParallel = distributed  # type: ignore[attr-defined]  # a module's global
