"""Invalid options of the search, and batches of similar length."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.decoding import DecodingOptions, make_batches


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"beam": 0, "nbest": 0}, ["--beam 0", "--nbest 0"]),
        ({"beam": 4, "nbest": 5}, ["--nbest 5", "--beam 4"]),
        ({"lenpen": -1.0}, ["--lenpen -1.0"]),
        ({"max_len_b": 0}, ["--max-len-a 0", "--max-len-b 0", "0 target tokens"]),
        ({"max_len_a": 1.5, "max_len_b": 2, "min_len": 6}, ["--max-len-b 2", "5 target tokens", "--min-len 6"]),
        ({"min_len": -1}, ["--min-len -1"]),
        ({"temperature": 0.0, "sampling": True}, ["--temperature 0.0"]),
        ({"temperature": 0.5}, ["--temperature", "needs --sampling"]),
        ({"sampling_topk": 5}, ["--sampling-topk", "need --sampling"]),
        ({"sampling_epsilon": 0.1}, ["--sampling-epsilon", "need --sampling"]),
        ({"sampling": True, "sampling_epsilon": 1.0}, ["--sampling-epsilon 1"]),
        ({"sampling": True, "sampling_eta": -0.1}, ["--sampling-eta -0.1"]),
        ({"sampling": True, "sampling_eta": 0.1, "sampling_epsilon": 0.1}, ["--sampling-epsilon and --sampling-eta"]),
        ({"sampling": True, "sampling_topk": 5, "sampling_topp": 0.5}, ["--sampling-topk and --sampling-topp: "]),
        ({"sampling": True, "sampling_topp": 1.5}, ["--sampling-topp 1.5", "at most 1"]),
        ({"sampling": True, "diverse_beam_groups": 5}, ["--sampling", "--diverse-beam-groups", "only one"]),
        ({"beam": 5, "diverse_beam_groups": 2}, ["--diverse-beam-groups 2", "--beam 5"]),
        ({"seed": -1}, ["--seed -1", "0 to 4,294,967,295"]),
    ],
)
def test_invalid_options_are_named(options: dict[str, Any], facts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        DecodingOptions(**options)
    assert all(fact in str(caught.value) for fact in facts), caught.value


def test_options_that_older_versions_lacked_are_recorded_only_if_they_are_used() -> None:
    assert not {"unkpen", "sampling-epsilon", "sampling-eta"} & DecodingOptions().recorded().keys()
    options = DecodingOptions(sampling=True, sampling_eta=0.1, unkpen=math.inf)
    recorded = options.recorded()
    assert (recorded["sampling-eta"], recorded["unkpen"], recorded["beam"]) == (0.1, "inf", 5)


def test_the_maximum_length_counts_the_end_of_sentence_token_of_the_source() -> None:
    assert DecodingOptions(max_len_a=1.2, max_len_b=10).max_length(9) == 22


@given(st.lists(st.integers(1, 60), max_size=200), st.integers(1, 300), st.none() | st.integers(1, 20))
def test_batches_contain_each_sentence_once_and_respect_the_maximum_size(
    lengths: list[int], max_tokens: int, batch_size: int | None
) -> None:
    batches = make_batches(lengths, max_tokens, batch_size)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    in_order = [lengths[index] for batch in batches for index in batch]
    assert in_order == sorted(lengths, reverse=True)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * (lengths[batch[0]] + 1) <= max_tokens
        assert len(batch) <= (batch_size or len(batch))


@pytest.mark.parametrize("name", ["lenpen", "max_len_a", "temperature", "sampling_topp", "diverse_beam_strength"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_must_be_finite(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')} {value}.*finite"):
        DecodingOptions(**{"sampling": True, name: value})
