"""What the losses need of fairseq's models: hidden states with the output matrix, or else log-probabilities."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from fairseq.data.data_utils import collate_tokens
from fairseq.distributed import DistributedTimeoutWrapper, LegacyDistributedDataParallel, ModuleProxyWrapper
from fairseq.models.fairseq_decoder import FairseqDecoder
from fairseq.models.nat import FairseqNATModel
from fairseq.models.transformer import TransformerDecoderBase, TransformerModelBase
from fairseq.search import Sampling
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .errors import UserError
from .losses import Projection

#: They leave the parameters where they are; others (fully sharded, say) take them away between forward passes.
TRANSPARENT = (ModuleProxyWrapper, DistributedTimeoutWrapper, LegacyDistributedDataParallel, DistributedDataParallel)


def why_not_left_to_right(model: Any) -> str | None:
    """Why a model does not predict one token after the other; None if it does."""
    model = unwrapped(model)
    return f"{type(model).__name__} is not left-to-right" if isinstance(model, FairseqNATModel) else None


def why_not_projected(model: Any) -> str | None:
    """Why a model's logits are not its hidden states times a matrix at hand; None if they are.

    Args:
        model: fairseq's encoder-decoder model, wrapped for distributed training or not.
    """
    tied_only = False
    while isinstance(model, TRANSPARENT):
        tied_only |= isinstance(model, DistributedDataParallel) and model.find_unused_parameters
        model = model.module
    name = type(model).__name__
    if not isinstance(model, TransformerModelBase) or not isinstance(model.decoder, TransformerDecoderBase):
        return f"{name} is not a Transformer"
    if model.decoder.adaptive_softmax is not None:
        return "the model has an adaptive softmax"
    for owner, base, method in (
        (model, TransformerModelBase, "forward"),
        (model, TransformerModelBase, "get_normalized_probs"),
        (model.decoder, TransformerDecoderBase, "forward"),
        (model.decoder, TransformerDecoderBase, "output_layer"),
        (model.decoder, FairseqDecoder, "get_normalized_probs"),
    ):
        if getattr(type(owner), method) is not getattr(base, method):
            return f"{type(owner).__name__} has a {method} of its own"
    if type(model.decoder.output_projection) is not nn.Linear:
        return f"the output projection is a {type(model.decoder.output_projection).__name__}"
    if tied_only and model.decoder.output_projection.weight is not model.decoder.embed_tokens.weight:
        return "--find-unused-parameters would take the output matrix for unused"
    return None


def mask_indices(mask: Tensor, number: int | None = None) -> Tensor:
    """`[N]` int64: where a `[batch, target length]` mask is true, row by row, in the flattened batch.

    Args:
        number: N, if it is known. Then a GPU is not waited for, as it would be to count; another number ends the
            program.
    """
    flat = mask.flatten()
    if number is None or not flat.is_cuda:
        return flat.nonzero().squeeze(1)
    torch._assert_async(flat.sum() == number)
    return flat.byte().argsort(descending=True, stable=True)[:number]


def project(model: Any, net_input: dict[str, Any], mask: Tensor) -> Projection:
    """Hidden states of the tokens in a mask, with the output projection, where `why_not_projected` is None.

    Args:
        net_input: fairseq's `sample["net_input"]`.
        mask: `[batch, target length]` bool, N of them true; or their `mask_indices`, `[N]` int64.

    Returns:
        `[N, D]`, `[K, D]` and `[K]` or None; tokens in the order of the mask, row by row.
    """
    hidden, _ = model(**net_input, features_only=True)
    device = hidden.device.type
    if torch.is_autocast_enabled(device):  # --amp, under which layer norms leave float32
        hidden = hidden.to(torch.get_autocast_dtype(device))
    layer = model.decoder.output_projection
    indices = mask_indices(mask) if mask.dtype == torch.bool else mask
    return Projection(hidden.flatten(0, 1)[indices], layer.weight, layer.bias)


def log_probs(model: Any, net_input: dict[str, Any]) -> Tensor:
    """`[batch, target length, vocabulary]` log-probabilities, float32 or wider, of any model."""
    output = model(**net_input)
    if (adaptive := getattr(model.decoder, "adaptive_softmax", None)) is None:
        return model.get_normalized_probs(output, log_probs=True)
    # fairseq's own writes them in place, so that nothing can be learned from them.
    hidden = output[0]
    head = F.log_softmax(adaptive.head(hidden), dim=-1, dtype=torch.float32)
    first = adaptive.cutoff[0]
    tails = [
        F.log_softmax(tail(hidden), dim=-1, dtype=torch.float32) + head[..., first + i, None]
        for i, tail in enumerate(adaptive.tail)
    ]
    return torch.cat([head[..., :first], *tails], dim=-1)


def target_embeddings(model: Any) -> Tensor:
    """A model's embeddings of the target's types, `[K, D]`, without a graph.

    Raises:
        UserError: if it has none.
    """
    layer = getattr(getattr(unwrapped(model), "decoder", None), "embed_tokens", None)
    if layer is None:
        raise UserError(
            f"--kd-select-by word_norm: {type(unwrapped(model)).__name__} has no embeddings of target types"
        )
    return layer.weight.detach()


def unwrapped(model: Any) -> Any:
    """The model inside fairseq's wrappers for distributed training."""
    while isinstance(model, TRANSPARENT):
        model = model.module
    return model


@torch.no_grad()
def sample_targets(
    model: Any, sample: dict[str, Any], dictionary: Any, temperature: float = 1.0, prefix: int = 0
) -> dict[str, Any]:
    """A batch with the same sources, and targets that the model samples for them, without dropout.

    A target has at most twice as many tokens as the batch's longest source, and ten.

    Args:
        sample: fairseq's batch; temperature: above 0, of the sampled distribution.
        prefix: tokens that a target keeps of the batch's at its beginning, a language's tag for one.
    """
    model = unwrapped(model)
    training = model.training
    generator = SequenceGenerator(
        [model],
        dictionary,
        beam_size=1,
        max_len_a=2,
        max_len_b=10,
        temperature=temperature,
        search_strategy=Sampling(dictionary),
    )
    try:
        kept = sample["target"][:, :prefix] if prefix else None
        found = generator.generate([model], {"net_input": sample["net_input"]}, prefix_tokens=kept)
    finally:
        model.train(training)
    tokens = [hypotheses[0]["tokens"] for hypotheses in found]
    ends = {"pad_idx": dictionary.pad(), "eos_idx": dictionary.eos(), "left_pad": False}
    previous = collate_tokens(tokens, **ends, move_eos_to_beginning=True)
    return {
        **sample,
        "target": collate_tokens(tokens, **ends),
        "net_input": {**sample["net_input"], "prev_output_tokens": previous},
        "ntokens": sum(map(len, tokens)),
    }
