"""`lskd generate`: splits, truth and the output folder."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest
import scipy.stats

from fairseq_lskd import cli
from fairseq_lskd.data.bitext import check_bitext
from fairseq_lskd.data.generated import draw_pairs, draw_references, read_truth, write_bitext
from fairseq_lskd.data.grammar import Grammar
from fairseq_lskd.errors import UserError
from fairseq_lskd.lines import read_lines

from .test_grammar import TINY

SMALL = ["--train", "60", "--valid", "20", "--test", "20", "--nouns", "9", "--verbs", "6", "--adjectives", "5"]


@pytest.mark.parametrize("name", ["nouns", "verbs", "adjectives", "adverbs", "prepositions"])
def test_too_many_words(name: str) -> None:
    with pytest.raises(UserError, match=f"--{name} 300000000: expected 1 to 100,000"):
        Grammar(**{name: 300_000_000})


def generate(out: Path, *more: str) -> int:
    return cli.main(["generate", "--out", str(out), *SMALL, *more])


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_and_truth(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "new" / "raw"
    assert generate(out) == 0
    assert "written" in capsys.readouterr().out
    bitext = check_bitext(out, ("xx", "yy"))
    assert {split: sides["xx"].lines for split, sides in bitext.items()} == {"train": 60, "valid": 20, "test": 20}
    grammar, truth = Grammar.from_json(out / "grammar.json"), read_truth(out)
    for split in ("train", "valid", "test"):
        pairs = list(zip(read_lines(out / f"{split}.xx"), read_lines(out / f"{split}.yy"), strict=True))
        scores = [grammar.log_prob(target, source) for source, target in pairs]
        entropies = [grammar.entropy(source) for source, _ in pairs]
        facts = truth[split]
        assert facts["sentences"] == len(pairs)
        assert facts["words"]["yy"] == sum(len(target.split(" ")) for _, target in pairs)
        assert facts["log_prob"] == pytest.approx(math.fsum(scores))
        assert facts["log_prob_per_sentence"] == pytest.approx(math.fsum(scores) / len(pairs))
        assert facts["entropy_per_sentence"] == pytest.approx(math.fsum(entropies) / len(pairs))
        rows = list(read_lines(out / f"truth.{split}.tsv"))
        assert rows[0] == "log_prob\tentropy"
        assert [float(row.split("\t")[0]) for row in rows[1:]] == pytest.approx(scores, abs=1e-6)


def test_splits_share_no_source_even_if_sources_are_few(tmp_path: Path) -> None:
    grammar = Grammar(nouns=1, verbs=1, adjectives=1, adverbs=1, prepositions=1)
    write_bitext(grammar, tmp_path / "out", train=300, valid=30, test=30)
    train, valid, test = (set(read_lines(tmp_path / "out" / f"{s}.xx")) for s in ("train", "valid", "test"))
    assert not train & valid and not train & test and not valid & test
    unfiltered = [source for (source, _), _ in zip(draw_pairs(grammar, "train", 1), range(300), strict=False)]
    assert set(unfiltered) & (valid | test), "this grammar would not have shown an overlap"


def test_a_larger_train_changes_no_other_split(tmp_path: Path) -> None:
    generate(tmp_path / "a")
    generate(tmp_path / "b", "--train", "90")
    a, b = snapshot(tmp_path / "a"), snapshot(tmp_path / "b")
    for name in ("valid.xx", "valid.yy", "test.xx", "test.yy", "truth.test.tsv", "grammar.json"):
        assert a[name] == b[name]
    assert b["train.yy"].startswith(a["train.yy"]) and b["train.yy"] != a["train.yy"]


def test_another_seed_changes_everything_and_the_same_seed_nothing(tmp_path: Path) -> None:
    generate(tmp_path / "a")
    generate(tmp_path / "b")
    generate(tmp_path / "c", "--seed", "2")
    a, b, c = (snapshot(tmp_path / name) for name in "abc")
    assert a == b
    assert all(a[name] != c[name] for name in ("train.xx", "test.yy", "grammar.json"))


def test_up_to_date(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    generate(tmp_path / "out")
    before = snapshot(tmp_path / "out")
    assert generate(tmp_path / "out") == 0
    assert "up to date" in capsys.readouterr().out
    assert snapshot(tmp_path / "out") == before


def test_other_options(tmp_path: Path) -> None:
    generate(tmp_path / "out")
    before = snapshot(tmp_path / "out")
    with pytest.raises(SystemExit) as error:
        generate(tmp_path / "out", "--train", "61")
    message = str(error.value.code)
    for fact in (f"error: {tmp_path / 'out'} was created with different options", "--train: 60", "61", "another --out"):
        assert fact in message
    assert message.count("\n  --") == 1
    assert snapshot(tmp_path / "out") == before


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit, match=r"exists, but has no generate\.json"):
        generate(tmp_path)
    assert snapshot(tmp_path) == {"notes.txt": b"mine"}


@pytest.mark.parametrize("damage", ["missing", "7 bytes"])
def test_damaged_output(tmp_path: Path, damage: str) -> None:
    generate(tmp_path / "out")
    path = tmp_path / "out" / "test.xx"
    if damage == "missing":
        path.unlink()
    else:
        path.write_text("partial")
    with pytest.raises(SystemExit, match=rf"test\.xx was changed: it is {damage}, expected \d+ bytes; delete"):
        generate(tmp_path / "out")


def test_every_split_has_its_own_stream() -> None:
    grammar = Grammar(nouns=20, verbs=9)
    firsts = {next(draw_pairs(grammar, split, 1)) for split in ("train", "valid", "test")}
    assert len(firsts) == 3


def test_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = 0
    whole = Grammar.sample

    def interrupted(self, rng):
        nonlocal draws
        draws += 1
        if draws > 50:
            raise KeyboardInterrupt
        return whole(self, rng)

    monkeypatch.setattr(Grammar, "sample", interrupted)
    with pytest.raises(SystemExit) as ended:
        generate(tmp_path / "out")
    assert ended.value.code == 130
    assert draws == 51 and list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert generate(tmp_path / "out") == 0


def test_impossible_sizes(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--valid 0: expected at least 1"):
        generate(tmp_path / "out", "--valid", "0")


def test_ambiguity_is_recorded_if_it_is_not_the_default(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    generate(out)
    assert generate(out, "--synonyms", "3", "--free-order", "0") == 0
    assert "up to date" in capsys.readouterr().out
    for record in ("generate.json", "grammar.json"):
        assert not [word for word in ("synonyms", "free") if word in (out / record).read_text()]
    with pytest.raises(SystemExit, match=r"--synonyms: none, now 5\n  --free-order: none, now 0\.5"):
        generate(out, "--synonyms", "5", "--free-order", "0.5")
    generate(tmp_path / "more", "--synonyms", "5", "--free-order", "0.5")
    grammar = Grammar.from_json(tmp_path / "more" / "grammar.json")
    scores = [
        grammar.log_prob(target, source)
        for source, target in zip(
            read_lines(tmp_path / "more" / "test.xx"), read_lines(tmp_path / "more" / "test.yy"), strict=True
        )
    ]
    truth = {name: read_truth(tmp_path / name)["test"] for name in ("out", "more")}
    assert truth["more"]["log_prob"] == pytest.approx(math.fsum(scores))
    assert truth["more"]["entropy_per_sentence"] > truth["out"]["entropy_per_sentence"] + 1


def test_the_entropy_per_word_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    generate(tmp_path / "out")
    facts = read_truth(tmp_path / "out")["test"]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("test ")]
    a_word = facts["entropy_per_sentence"] * facts["sentences"] / facts["words"]["yy"]
    assert [float(word) for word in line.split()[-2:]] == [round(facts["entropy_per_sentence"], 3), round(a_word, 3)]


def test_references_change_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    generate(tmp_path / "one")
    generate(tmp_path / "three", "--references", "3")
    generate(tmp_path / "five", "--references", "5", "--test", "30")
    one, three, five = (snapshot(tmp_path / name) for name in ("one", "three", "five"))
    assert three.keys() - one.keys() == {"test.1.yy", "test.2.yy"}
    assert all(one[name] == three[name] for name in one if name != "generate.json")
    # More references, and more sources, continue the existing ones.
    assert five.keys() - three.keys() == {"test.3.yy", "test.4.yy"}
    assert all(five[name].startswith(three[name]) for name in ("test.xx", "test.yy", "test.1.yy", "test.2.yy"))
    others = {five[name] for name in ("test.yy", "test.1.yy", "test.2.yy", "test.3.yy", "test.4.yy")}
    assert len(others) == 5
    grammar = Grammar.from_json(tmp_path / "five" / "grammar.json")
    for number in range(1, 5):
        targets = list(read_lines(tmp_path / "five" / f"test.{number}.yy"))
        for source, target in zip(read_lines(tmp_path / "five" / "test.xx"), targets, strict=True):
            assert grammar.log_prob(target, source) > -math.inf


def test_the_number_of_references_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    generate(out)
    assert "references" not in json.loads((out / "generate.json").read_text())["options"]
    assert generate(out, "--references", "1") == 0 and "up to date" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="--references: none, now 2"):
        generate(out, "--references", "2")
    again = tmp_path / "again"
    assert generate(again, "--references", "2") == 0 and generate(again, "--references", "2") == 0
    assert "up to date" in capsys.readouterr().out
    record = json.loads((again / "generate.json").read_text())
    assert record["options"]["references"] == 2 and "test.1.yy" in record["digests"]
    with pytest.raises(SystemExit, match="--references: 2, now none"):
        generate(again)
    (again / "test.1.yy").unlink()
    with pytest.raises(SystemExit, match=r"test\.1\.yy was changed: it is missing"):
        generate(again, "--references", "2")


@pytest.mark.parametrize("number", ["0", "-1", "65", "many", "2.5"])
def test_impossible_numbers_of_references(tmp_path: Path, number: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        generate(tmp_path / "out", "--references", number)
    said = f"{ended.value.code}{capsys.readouterr().err}"
    assert "--references" in said and number in said
    assert not (tmp_path / "out").exists()


def test_references_are_independent_draws_from_the_truth() -> None:
    """The joint counts of two references of one source fit the products of their probabilities (chi-square)."""
    grammar = Grammar(lexicon=TINY)
    source = "the day robs the bank ."
    support = grammar.translations(source)
    draws = 6000
    first, second = (list(draw_references(grammar, [source] * draws, number, 1)) for number in (1, 2))
    joint = Counter(zip(first, second, strict=True))
    expected = {(a, b): draws * p * q for a, p in support.items() for b, q in support.items()}
    assert set(joint) <= set(expected)
    common = {pair: count for pair, count in expected.items() if count >= 5}
    rare = draws - sum(common.values())
    seen = [*((joint[pair], count) for pair, count in common.items())]
    seen += [(draws - sum(joint[pair] for pair in common), rare)]
    chi_square = sum((count - mean) ** 2 / mean for count, mean in seen)
    assert chi_square < scipy.stats.chi2.ppf(0.9999, len(seen) - 1)


def test_exhausted_grammar() -> None:
    class Everything:
        def __contains__(self, source: object) -> bool:
            return True

    with pytest.raises(UserError, match="--train: the grammar has too few source sentences"):
        next(draw_pairs(Grammar(nouns=1, verbs=1), "train", 1, Everything()))
