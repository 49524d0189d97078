"""Log-probabilities of the sentences of a split under teacher forcing."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ..losses import fused_loss, negative_log_likelihood
from ..models import log_probs, project, why_not_projected


class Sentences(NamedTuple):
    """Values per sentence, in corpus order, on the CPU."""

    log_probs: Tensor  #: [N] float64, nats
    tokens: Tensor  #: [N] int64, number of target tokens with the end of sentence, without padding


@torch.no_grad()
def sentence_log_probs(model: Any, task: Any, split: str, max_tokens: int = 4000, device: str = "cpu") -> Sentences:
    """Return `log q(y | x)` of every pair of a split: the sum over target tokens, each computed in float32.

    Args:
        model: fairseq model of the task. It is moved to the device and set to eval mode.
        task: fairseq's translation task, with the split loaded.
        max_tokens: maximum number of tokens in a batch, with padding.
    """
    model.eval().to(device)
    dataset, padding = task.dataset(split), task.target_dictionary.pad()
    values = torch.zeros(len(dataset), dtype=torch.float64)
    tokens = torch.zeros(len(dataset), dtype=torch.long)
    projected = why_not_projected(model) is None
    batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=max_tokens)
    with tqdm(total=len(dataset), desc=split, unit=" sentences", delay=2, disable=None) as progress:
        for indices in batches:
            sample = dataset.collater([dataset[int(i)] for i in indices])
            inputs = {name: value.to(device) for name, value in sample["net_input"].items() if torch.is_tensor(value)}
            target = sample["target"].to(device)
            mask = target.ne(padding)
            if projected:  # without a [tokens x vocabulary] tensor
                labels = target[mask]
                one = torch.ones_like(labels, dtype=torch.float32)
                nll = torch.zeros_like(target, dtype=torch.float64)
                nll[mask] = fused_loss(project(model, inputs, mask), labels, one).nll.double()
            else:
                nll = negative_log_likelihood(log_probs(model, inputs), target, ~mask).double()
            values[sample["id"]] = -nll.sum(1).cpu()
            tokens[sample["id"]] = mask.sum(1).cpu()
            progress.update(len(indices))
    return Sentences(values, tokens)
