"""Options of the search that do not hold, and batches of similar length."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.decoding import DecodingOptions, make_batches


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beam": 0, "nbest": 0}, "--beam 0: expected 1 or more; --nbest 0: expected 1 to --beam 0"),
        ({"beam": 4, "nbest": 5}, "--nbest 5: expected 1 to --beam 4"),
        ({"lenpen": -1.0}, "--lenpen -1.0: expected 0 or more"),
        ({"max_len_b": 0}, "--max-len-a 0 --max-len-b 0 leave a source of one token 0 target tokens"),
        ({"max_len_a": 1.5, "max_len_b": 2, "min_len": 6}, "leave a source of one token 5 target tokens"),
        ({"min_len": -1}, "--min-len -1: expected 0 or more"),
        ({"temperature": 0.0, "sampling": True}, "--temperature 0.0: expected above 0"),
        ({"temperature": 0.5}, "--temperature goes with --sampling"),
        ({"sampling_topk": 5}, "--sampling-topk need"),
        ({"sampling_epsilon": 0.1}, "--sampling-epsilon need"),
        ({"sampling": True, "sampling_epsilon": 1.0}, "--sampling-epsilon 1"),
        ({"sampling": True, "sampling_eta": -0.1}, "--sampling-eta -0.1"),
        ({"sampling": True, "sampling_eta": 0.1, "sampling_epsilon": 0.1}, "--sampling-epsilon and --sampling-eta"),
        ({"sampling": True, "sampling_topk": 5, "sampling_topp": 0.5}, "expected one of them"),
        ({"sampling": True, "sampling_topp": 1.5}, "--sampling-topp 1.5: expected at most 1"),
        ({"sampling": True, "diverse_beam_groups": 5}, "--sampling and --diverse-beam-groups: expected one of them"),
        ({"beam": 5, "diverse_beam_groups": 2}, "--diverse-beam-groups 2 does not divide --beam 5"),
        ({"seed": -1}, "--seed -1: expected 0 to 4,294,967,295"),
    ],
)
def test_options_that_do_not_hold_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        DecodingOptions(**options)
    assert said in str(caught.value)


def test_options_that_older_versions_lacked_are_recorded_where_they_are_used() -> None:
    assert not {"unkpen", "sampling-epsilon", "sampling-eta"} & DecodingOptions().recorded().keys()
    options = DecodingOptions(sampling=True, sampling_eta=0.1, unkpen=math.inf)
    recorded = options.recorded()
    assert (recorded["sampling-eta"], recorded["unkpen"], recorded["beam"]) == (0.1, "inf", 5)


def test_the_length_bound_counts_the_source_s_end_mark() -> None:
    assert DecodingOptions(max_len_a=1.2, max_len_b=10).max_length(9) == 22


@given(st.lists(st.integers(1, 60), max_size=200), st.integers(1, 300), st.none() | st.integers(1, 20))
def test_batches_hold_every_sentence_once_and_keep_to_their_size(
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
def test_numbers_that_are_none(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')} {value}: expected finite numbers"):
        DecodingOptions(**{"sampling": True, name: value})
