"""What a model gives each sentence of a split under teacher forcing, for comparisons sentence by sentence."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ..losses import fused_loss, negative_log_likelihood
from ..models import log_probs, project, why_not_projected


class Sentences(NamedTuple):
    """In corpus order, on the CPU."""

    log_probs: Tensor  #: [N] float64, nats
    tokens: Tensor  #: [N] int64, with the end of the sentence, without padding


@torch.no_grad()
def sentence_log_probs(model: Any, task: Any, split: str, max_tokens: int = 4000, device: str = "cpu") -> Sentences:
    """`log q(y | x)` of every pair of a split, summed over its target tokens; `log_probs` of tokens in float32.

    Args:
        model: fairseq's, of this task; it is put in eval mode and on the device.
        task: fairseq's translation task, with the split loaded.
        max_tokens: of a batch, padding included.
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
            if projected:  # never [tokens x vocabulary] at once
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
