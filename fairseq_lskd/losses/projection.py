"""The output projection of a model, in blocks of classes. Products are in float32 or wider."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Classes that are projected together. Smaller blocks would stay in a CPU's cache, but need more operator calls, which
#: cost more than the cache saves.
BLOCK = 2**13
#: Whether torch.mm has `out_dtype` (torch >= 2.8 on CUDA).
_MM_HAS_OUT_DTYPE = "dtype" in torch.ops.aten.mm.overloads()
#: oneDNN's product of float32 matrices, which torch.compile uses too; None if torch was built without oneDNN. On AMD
#: processors it is 1.2 times as fast as torch.mm.
_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


class Projection(NamedTuple):
    """The inputs of a model's output projection. The logits are `hidden @ weight.T + bias`."""

    hidden: Tensor  #: [N, D]
    weight: Tensor  #: [K, D]
    bias: Tensor | None = None  #: [K]

    def rows(self, rows: slice | Tensor) -> Projection:
        """Select tokens."""
        return self._replace(hidden=self.hidden[rows])

    def classes(self, classes: slice) -> Projection:
        """Select classes."""
        return self._replace(weight=self.weight[classes], bias=None if self.bias is None else self.bias[classes])


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return `a @ b`, in float32 if the inputs are in half precision."""
    if a.dtype in (torch.float32, torch.float64):
        return torch.mm(a, b)
    if a.is_cuda and _MM_HAS_OUT_DTYPE:
        return torch.mm(a, b, out_dtype=torch.float32)
    return torch.mm(a.float(), b.float())


def of_one_dtype(projection: Projection) -> Projection:
    """Detach, and convert matrix and bias to the dtype of the hidden states, as autocast does."""
    hidden = projection.hidden.detach()
    weight, bias = projection.weight.detach().to(hidden.dtype), projection.bias
    return Projection(hidden, weight, None if bias is None else bias.detach().to(hidden.dtype))


def project(projection: Projection) -> Tensor:
    """Return the logits, `[n, K]`, float32 or float64."""
    hidden, weight, bias = projection
    if _ONEDNN is not None and hidden.dtype == torch.float32 and hidden.device.type == "cpu":
        logits = _ONEDNN(hidden, weight, None, "none", [], "")
    else:
        logits = product(hidden, weight.t())
    return logits if bias is None else logits.add_(bias)


def project_into(projection: Projection, out: Tensor) -> Tensor:
    """Return the logits, `[n, K]`; written into `out`, in blocks, if there is more than one block of classes."""
    if out.size(1) <= BLOCK:
        return project_wide(projection, out.size(1)).to(out.dtype)
    for start in range(0, out.size(1), BLOCK):
        block = slice(start, min(start + BLOCK, out.size(1)))
        out[:, block] = project_wide(projection.classes(block), block.stop - start)
    return out


def project_wide(projection: Projection, classes: int) -> Tensor:
    """Return the logits, `[n, classes]`, -inf for the last classes if the projection has fewer."""
    lacking = classes - projection.weight.size(0)
    if lacking == classes:
        return projection.hidden.new_full((len(projection.hidden), classes), -torch.inf)
    logits = project(projection)
    return F.pad(logits, (0, lacking), value=-torch.inf) if lacking else logits
