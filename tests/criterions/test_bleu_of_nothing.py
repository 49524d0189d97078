"""Validation BLEU of a model that generates no word."""

from __future__ import annotations

import numpy as np
from fairseq.logging import metrics

from fairseq_lskd.criterions.label_smoothed_teacher import LabelSmoothedTeacherCriterion

LOSS = {"loss": 1.0, "nll_loss": 1.0, "sample_size": 1, "ntokens": 1, "nll_tokens": 1, "nsentences": 1}
NOTHING = {f"_bleu_{kind}_{n}": 0 for kind in ("counts", "totals") for n in range(4)} | {"_bleu_sys_len": 0}


def test_bleu_is_0_where_nothing_was_decoded() -> None:
    with metrics.aggregate() as found:
        LabelSmoothedTeacherCriterion.reduce_metrics([LOSS | NOTHING])
    assert found.get_smoothed_values()["bleu"] == 0


def test_a_batch_without_words_does_not_change_the_bleu_of_other_batches() -> None:
    with metrics.aggregate() as found:
        LabelSmoothedTeacherCriterion.reduce_metrics([LOSS | NOTHING])
        # The sums that fairseq's task logs for a perfect translation of four words.
        for name in ("_bleu_counts", "_bleu_totals"):
            metrics.log_scalar(name, np.array([4, 3, 2, 1]))
        for name in ("_bleu_sys_len", "_bleu_ref_len"):
            metrics.log_scalar(name, 4)
    assert found.get_smoothed_values()["bleu"] == 100
