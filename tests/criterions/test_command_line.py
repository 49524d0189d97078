"""Wrong options are refused before fairseq-train starts."""

import pytest
from tiny import MODEL

from fairseq_lskd.criterions.command_line import check_options, problems_of
from fairseq_lskd.errors import UserError

WORDS = ["data/bin", "-s", "en", "-t", "de", "--arch", "transformer_iwslt_de_en", *MODEL]
WORDS += ["--optimizer", "adam", "--lr", "1e-3", "--max-tokens", "100"]
WORD = ["--criterion", "word_kd", "--teacher-path", "t.pt"]


def complaint(*words: str) -> str:
    with pytest.raises(UserError) as error:
        check_options([*WORDS, *words])
    return str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        WORD,
        [*WORD, "--kd-weight", "1", "--kd-temperature", "2", "--kd-select", "batch", "--kd-divergence", "reverse_kl"],
        ["--criterion", "seq_kd"],
        ["--criterion", "seq_kd", "--sequence-weights", "w.npz", "--reference-weight", "0.3", "--teacher-cache", "c"],
        ["--criterion", "label_smoothed_teacher", "--label-smoothing", "0.1", "--user-dir", "fairseq_lskd"],
        ["--criterion", "cross_entropy"],
    ],
)
def test_right_options_pass(words: list[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.chdir(request.config.rootpath)
    check_options([*WORDS, *words])


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        ([*WORD, "--kd-weight", "1.5", "--kd-temperature=0"], ["--kd-weight 1.5", "--kd-temperature 0"]),
        ([*WORD, "--kd-weight", "much"], ["--kd-weight", "'much'"]),
        ([*WORD, "--kd-weigth", "1"], ["--kd-weigth"]),
        (["--criterion", "word_kd"], ["--teacher-path is missing"]),
        (["--criterion", "seq_kd", "--kd-weight", "0.3"], ["--kd-weight 0.3", "without a teacher"]),
        (["--criterion", "seq_kd", "--reference-weight", "1.1", "--sequence-weights", "w.npz"], ["--reference-weight"]),
        ([*WORD, "--user-dir", "missing"], ["--user-dir missing"]),
    ],
)
def test_wrong_options_are_refused(words: list[str], facts: list[str], capsys: pytest.CaptureFixture) -> None:
    said = complaint(*words)
    assert all(fact in said for fact in facts) and "usage" not in said
    assert capsys.readouterr() == ("", "")


def test_an_unbiased_cache_supports_fewer_options() -> None:
    words = ["--criterion", "word_kd", "--teacher-cache", "c", "--kd-divergence", "reverse_kl"]
    check_options([*WORDS, *words])
    with pytest.raises(UserError, match="--kd-divergence reverse_kl: --teacher-cache c is a sampled cache"):
        check_options([*WORDS, *words], sampled=True)
    check_options([*WORDS, *words[:-2]], sampled=True)


def test_the_problems_of_a_command_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["test"])
    cached = ["--criterion", "word_kd", "--teacher-cache", "c", "--kd-top-k", "3", "--kd-ranking", "2"]
    assert problems_of(["fairseq-train", *WORDS, *cached]) == []
    found = problems_of(["--sampled", "fairseq-train", *WORDS, *cached])
    assert [problem.split(":")[0] for problem in found] == ["--kd-top-k 3", "--kd-ranking 2"]
    (found,) = problems_of(["fairseq-train", *WORDS, *WORD, "--kd-weigth", "1"])
    assert "--kd-weigth 1; --kd-weigth: did you mean --kd-weight? `lskd criterion word_kd`" in found
