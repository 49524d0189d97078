"""Get hidden states with the output projection, or log-probabilities, from fairseq models, for the losses."""

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

#: Wrappers that keep the parameters in place. Others, such as fully sharded ones, remove them between forward passes.
TRANSPARENT = (ModuleProxyWrapper, DistributedTimeoutWrapper, LegacyDistributedDataParallel, DistributedDataParallel)


def why_not_left_to_right(model: Any) -> str | None:
    """Return why a model does not predict one token after the other; None if it does."""
    model = unwrapped(model)
    return f"{type(model).__name__} is not left-to-right" if isinstance(model, FairseqNATModel) else None


def why_not_projected(model: Any) -> str | None:
    """Return why a model's logits are not its hidden states times an output matrix; None if they are.

    Args:
        model: a fairseq encoder-decoder model, which may be wrapped for distributed training.
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
            return f"{type(owner).__name__} overrides {method}"
    if type(model.decoder.output_projection) is not nn.Linear:
        return f"the output projection is a {type(model.decoder.output_projection).__name__}"
    if tied_only and model.decoder.output_projection.weight is not model.decoder.embed_tokens.weight:
        return "--find-unused-parameters would treat the output matrix as unused"
    return None


def mask_indices(mask: Tensor, number: int | None = None) -> Tensor:
    """Return the indices at which a mask is true, in the flattened batch.

    Args:
        mask: `[batch, target length]` bool, N of them true; indices are returned as they are.
        number: N, if it is known, to avoid a synchronisation with the GPU. A wrong number ends the program.

    Returns:
        `[N]` int64, row by row.
    """
    if mask.dtype != torch.bool:
        return mask
    flat = mask.flatten()
    if number is None or not flat.is_cuda:
        return flat.nonzero().squeeze(1)
    torch._assert_async(flat.sum() == number)
    return flat.byte().argsort(descending=True, stable=True)[:number]


def project(model: Any, net_input: dict[str, Any], mask: Tensor) -> Projection:
    """Return the hidden states of the tokens in a mask, with the output projection.

    The model is one for which `why_not_projected` returns None.

    Args:
        net_input: fairseq's `sample["net_input"]`.
        mask: `[batch, target length]` bool, N of them true; or its `mask_indices`, `[N]` int64.

    Returns:
        hidden states `[N, D]` in the order of the mask, row by row, matrix `[K, D]`, and bias `[K]` or None.
    """
    hidden, _ = model(**net_input, features_only=True)
    device = hidden.device.type
    if torch.is_autocast_enabled(device):  # with --amp, layer norms return float32
        hidden = hidden.to(torch.get_autocast_dtype(device))
    layer = model.decoder.output_projection
    return Projection(hidden.flatten(0, 1)[mask_indices(mask)], layer.weight, layer.bias)


def log_probs(model: Any, net_input: dict[str, Any]) -> Tensor:
    """Return the log-probabilities of any model, `[batch, target length, vocabulary]`, float32 or wider."""
    output = model(**net_input)
    if (adaptive := getattr(model.decoder, "adaptive_softmax", None)) is None:
        return model.get_normalized_probs(output, log_probs=True)
    # fairseq computes them with in-place operations, which have no gradient.
    hidden = output[0]
    head = F.log_softmax(adaptive.head(hidden), dim=-1, dtype=torch.float32)
    first = adaptive.cutoff[0]
    tails = [
        F.log_softmax(tail(hidden), dim=-1, dtype=torch.float32) + head[..., first + i, None]
        for i, tail in enumerate(adaptive.tail)
    ]
    return torch.cat([head[..., :first], *tails], dim=-1)


def target_embeddings(model: Any) -> Tensor:
    """Return a model's target embeddings, `[K, D]`, detached from the graph.

    Raises:
        UserError: if the model has none.
    """
    layer = getattr(getattr(unwrapped(model), "decoder", None), "embed_tokens", None)
    if layer is None:
        raise UserError(
            f"--kd-select-by word_norm: {type(unwrapped(model)).__name__} has no target embeddings; use another "
            "--kd-select-by"
        )
    return layer.weight.detach()


def unwrapped(model: Any) -> Any:
    """Return the model inside fairseq's wrappers for distributed training."""
    while isinstance(model, TRANSPARENT):
        model = model.module
    return model


@torch.no_grad()
def sample_targets(
    model: Any, sample: dict[str, Any], dictionary: Any, temperature: float = 1.0, prefix: int = 0
) -> dict[str, Any]:
    """Return a batch with the same sources, and with targets that are sampled from the model without dropout.

    The maximum length of a target is twice the length of the longest source in the batch, plus 10 tokens.

    Args:
        sample: fairseq's batch.
        temperature: sampling temperature, above 0.
        prefix: number of tokens at the beginning of the batch's targets, such as language tokens, that are kept.
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
