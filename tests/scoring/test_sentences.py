"""Tests of sentence log-probabilities."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import make_model

from fairseq_lskd.scoring import sentences
from fairseq_lskd.scoring.sentences import sentence_log_probs


@pytest.mark.parametrize("projected", [True, False])
def test_as_one_sentence_at_a_time(projected: bool, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not projected:
        monkeypatch.setattr(sentences, "why_not_projected", lambda model: "not a Transformer")
    model = make_model(task)
    found = sentence_log_probs(model, task, "valid", max_tokens=40)
    dataset = task.dataset("valid")
    assert len(found.log_probs) == len(dataset) == 9
    for i in range(len(dataset)):
        sample = dataset.collater([dataset[i]])
        with torch.no_grad():
            scores = torch.log_softmax(model(**sample["net_input"])[0].double(), dim=-1)[0]
        target = sample["target"][0]
        wanted = sum(scores[t, token].item() for t, token in enumerate(target))
        assert found.log_probs[i].item() == pytest.approx(wanted, rel=1e-5)
        assert found.tokens[i] == len(target)
