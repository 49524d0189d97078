"""Status lines of fairseq commands."""

from __future__ import annotations

import pytest

from fairseq_lskd.statuses import statuses as statuses_of

# As fairseq 0.12.2 prints them.
INNER = (
    '2024-05-01 10:00:00 | INFO | train_inner | {"epoch": 1, "update": 0.164, "loss": "%s", "nll_loss": "10.046", '
    '"ppl": "1057.43", "wps": "6341.3", "ups": "3.52", "wpb": "1794.8", "bsz": "137.2", "num_updates": "%d", '
    '"lr": "0.0006", "gnorm": "2.099", "clip": "100", "train_wall": "6", "wall": "8"}\n'
)
VALID = (
    '2024-05-01 10:00:20 | INFO | valid | {"epoch": 1, "valid_loss": "7.364", "valid_nll_loss": "7.364", '
    '"valid_ppl": "164.77", "valid_wps": "12542.7", "valid_wpb": "1095.1", "valid_num_updates": "50"}\n'
)
TRAIN = ["fairseq-train", "data", "--max-update", "100"]


class Clock:
    """A `time.monotonic` that advances by `step` seconds per call."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 1000.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


def statuses(monkeypatch: pytest.MonkeyPatch, lines: list[str], command: list[str], step: float = 30.0) -> list[str]:
    monkeypatch.setattr("fairseq_lskd.statuses.time", Clock(step))
    return list(statuses_of(iter(lines), command))


def test_progress_of_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [INNER % ("10.046", 20), INNER % ("8.226", 40), "other | INFO | words\n", VALID, INNER % ("7.1", 60)]
    # Each line takes 30 s: 20 updates in the first 30 s, then 20 in 90 s. 40 updates in 120 s remain for 40 updates.
    assert statuses(monkeypatch, lines, TRAIN) == [
        "update 40/100 | loss 8.226 | 6341.3 tokens/s | 01:30 left",
        "update 50 | valid ppl 164.77",
        "update 60/100 | loss 7.1 | 6341.3 tokens/s | 02:00 left",
    ]


def test_the_time_left_counts_validations_apart_from_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update takes 1.5 s, and a validation 300 s: after 40 more updates, with one validation, the training ends."""
    now = iter([0.0, 30.0, 60.0, 330.0, 390.0, 420.0, 450.0])
    monkeypatch.setattr("fairseq_lskd.statuses.time.monotonic", lambda: next(now))
    valid = VALID.replace('"50"', '"%d"')
    command = ["fairseq-train", "data", "--max-update", "120"]
    lines = [INNER % ("9", 20), INNER % ("8", 40), INNER % ("7", 60), valid % 60, INNER % ("6", 80), INNER % ("5", 100)]
    # Without a validation, 20 updates take 30 s. The one at update 60 takes 300 s; the next is at update 120.
    assert [line.rpartition(" | ")[2] for line in statuses_of(iter(lines), command)] == [
        "02:00 left",
        "01:30 left",
        "valid ppl 164.77",
        "06:00 left",
        "05:30 left",
    ]


def test_the_time_left_of_a_resumed_training_counts_validations_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = (
        "2026-01-01 | INFO | fairseq.trainer | Loaded checkpoint runs/x/checkpoint_last.pt (epoch 4 @ 40 updates)\n"
    )
    now = iter([0.0, 1.0, 31.0, 40.0, 121.0])
    monkeypatch.setattr("fairseq_lskd.statuses.time.monotonic", lambda: next(now))
    lines = [loaded, INNER % ("9", 40), INNER % ("8", 60), VALID.replace('"50"', '"60"'), INNER % ("7", 80)]
    said = list(statuses_of(iter(lines), TRAIN))
    # 20 updates in 30 s, 60 s for a validation every 20 updates: 20 updates and two validations are left, or 150 s.
    assert said[-1].endswith("02:30 left")


@pytest.mark.parametrize("update", ["40", "0", "nan?"])
def test_a_validation_at_an_odd_update_does_not_end_a_training(update: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = "2026-01-01 | INFO | fairseq.trainer | Loaded checkpoint x/checkpoint_last.pt (epoch 4 @ 40 updates)\n"
    valid = VALID.replace('"50"', f'"{update}"')
    said = statuses(monkeypatch, [loaded, INNER % ("9", 40), valid, INNER % ("8", 60), INNER % ("7", 80)], TRAIN)
    assert said[-1].startswith("update 80/100 |")


def test_progress_of_a_training_with_the_default_log_format(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = (
        "2024-05-01 10:00:00 | INFO | train_inner | epoch 001:     %d / 178 loss=%s, nll_loss=6.878, ppl=117.65, "
        "wps=6341.3, ups=9.25, num_updates=%d, lr=0.0025, wall=5\n"
    )
    valid = (
        "2024-05-01 10:00:20 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 7.364 | nll_loss 7.364 | ppl "
        "164.77 | bleu 1.5 | wps 12542.7 | num_updates 50\n"
    )
    lines = [inner % (20, "10.046", 20), inner % (40, "8.226", 40), inner[:90] + "\n", valid[:-5] + "\n", valid]
    assert statuses(monkeypatch, lines, TRAIN) == [
        "update 40/100 | loss 8.226 | 6341.3 tokens/s | 01:30 left",
        "update 50 | valid ppl 164.77 | valid BLEU 1.5",
    ]


def test_progress_says_where_a_resumed_training_continues() -> None:
    loaded = (
        "2026-01-01 | INFO | fairseq.trainer | Loaded checkpoint runs/x/checkpoint_last.pt (epoch 4 @ {} updates)\n"
    )
    assert list(statuses_of(iter([loaded.format(78)]), ["fairseq-train", "--max-update", "100"])) == [
        "continues at update 78 of 100"
    ]
    assert list(statuses_of(iter([loaded.format(0)]), ["fairseq-train", "--max-update", "100"])) == []


@pytest.mark.parametrize(
    ("options", "patience", "said"),
    [
        (["--max-update", "150"], 3, "update 50 of 150: no better validation loss in 3 validations (--patience 3)"),
        (["--best-checkpoint-metric=bleu"], 1, "update 50: no better validation BLEU in 1 validation (--patience 1)"),
    ],
)
def test_progress_says_why_a_training_ends_early(options: list[str], patience: int, said: str) -> None:
    stop = (
        "2026-01-01 | INFO | fairseq_cli.train | early stop since valid performance hasn't improved for last "
        f"{patience} runs\n"
    )
    found = list(statuses_of(iter([VALID, stop]), ["fairseq-train", "data", *options]))
    assert found == ["update 50 | valid ppl 164.77", f"stopped at {said}"]
    assert list(statuses_of(iter([stop]), ["fairseq-train", "data", *options])) == []
    at_its_end = ["fairseq-train", "data", *options, "--max-update", "50"]
    assert list(statuses_of(iter([VALID, stop]), at_its_end)) == ["update 50 | valid ppl 164.77"]
    ended = "nothing is left to train: validation has not improved for 3 runs >= patience: 3"
    assert list(statuses_of(iter([f"2026-01-01 | INFO | fairseq.checkpoint_utils | {ended}\n"]), options)) == [ended]


def test_progress_is_not_shown_more_often_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [INNER % ("7.0", number) for number in range(0, 100, 5)]
    assert len(statuses(monkeypatch, lines, TRAIN, step=2.5)) == 5  # one per 10 s in 47.5 s


@pytest.mark.parametrize(
    "words",
    [["--max-update", "9", "--max-update", "100"], ["--max-update", "9", "--max-update=100"], ["--max-update=100"]],
)
def test_the_last_max_update_counts_as_it_does_for_fairseq(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [INNER % ("7.0", 40), INNER % ("7.0", 60)]
    assert statuses(monkeypatch, lines, ["fairseq-train", *words])[0].startswith("update 60/100 |")


def test_a_training_without_max_update_shows_its_validations(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [INNER % ("7.0", 40), INNER % ("7.0", 60), VALID]
    assert statuses(monkeypatch, lines, ["fairseq-train", "--max-update"]) == ["update 50 | valid ppl 164.77"]


def test_garbled_lines_do_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = INNER[:120] + "\n"
    without = '2024 | INFO | train_inner | {"epoch": 1, "num_updates": "30"}\n'
    half_valid = '2024 | INFO | valid | {"epoch": 1, "valid_num_updates": "30"}\n'
    lines = [cut, without, half_valid, VALID[:-9], INNER % ("7.0", 40), cut, INNER % ("6.0", 60)]
    assert statuses(monkeypatch, lines, TRAIN) == ["update 60/100 | loss 6.0 | 6341.3 tokens/s | 02:00 left"]


def test_progress_of_a_translation(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["fairseq-generate", "data", "--nbest", "2"]
    size = "2026-11-22 20:00:00 | INFO | fairseq.data.data_utils | loaded 90 examples from: data/train.de-en.de\n"
    lines = ["S-3\tein Hund\n", "T-3\ta dog\n", "H-3\t-0.25\ta dog\n", "D-3\t-0.25\ta dog\n", "P-3\t-0.2 -0.3 -0.2\n"]
    assert statuses(monkeypatch, lines * 2, command, step=10) == ["2 hypotheses | 0 per second"]
    many = ["H-0\t-0.5\tx\n"] * 82
    assert statuses(monkeypatch, [size, *many], command, step=0.25)[:1] == ["41 hypotheses | 4 per second"]
    size = "2026-11-22 20:00:00 | INFO | fairseq.tasks.translation | data train de-en 90 examples\n"
    assert statuses(monkeypatch, [size, *many], command, step=0.25)[:1] == ["41 hypotheses | 4 per second | 00:33 left"]
