"""`lskd encode`: separate vocabularies, byte fallback, samples, and the classical recipe."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import random
import shutil
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import sentencepiece

from fairseq_lskd import cli
from fairseq_lskd.data import chunks, encoding, moses
from fairseq_lskd.data.encoding import encode_bitext, encode_classically
from fairseq_lskd.data.vocabulary import TRAINING_THREADS, VocabularyOptions, train_model
from fairseq_lskd.lines import read_lines

LANGUAGES = ("de", "en")
CORPUS = Path(__file__).parents[2].parent / "shared" / "corpora" / "multi30k"
#: With 1,000 pieces, whole words are candidates for a unigram model, whatever follows them.
SHARED = {"unigram": 700, "bpe": 1000}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bitext whose languages share no letters. valid and test have characters that train lacks."""
    folder = tmp_path_factory.mktemp("bitext")
    chance = random.Random(2)
    for split, lines in (("train", 400), ("valid", 10), ("test", 10)):
        for language, letters in (("de", "abcdefg"), ("en", "tuvwxyz")):
            words = ["".join(chance.choices(letters, k=chance.randint(2, 6))) for _ in range(150)]
            with (folder / f"{split}.{language}").open("w", encoding="utf-8") as out:
                for _ in range(lines):
                    line = chance.choices(words, k=7)
                    end = " well-known , it 's 5 € ." if split == "train" else " ψ-€."
                    print(" ".join(line) + end, file=out)
    return folder


def encode(raw: Path, out: Path, *more: str) -> dict:
    words = ["--raw", str(raw), "--out", str(out), "-s", "de", "-t", "en", "--workers", "1", *more]
    assert cli.main(["encode", *words]) == 0
    return json.loads((out / "encode.json").read_text())


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def symbols(path: Path) -> list[str]:
    return [line.rsplit(" ", 1)[0] for line in lines(path)]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def paired(count: int, seed: int) -> dict[str, list[str]]:
    """Return sentences of 3 to 20 words in both languages, as many in each."""
    chance = random.Random(seed)
    sides: dict[str, list[str]] = {"de": [], "en": []}
    for _ in range(count):
        row = [[chance.randrange(7) for _ in range(chance.randint(2, 6))] for _ in range(chance.randint(3, 20))]
        for language, letters in (("de", "abcdefg"), ("en", "tuvwxyz")):
            sides[language].append(" ".join("".join(letters[i] for i in word) for word in row))
    return sides


@pytest.fixture
def aligned(tmp_path: Path) -> Path:
    folder = tmp_path / "aligned"
    folder.mkdir()
    for seed, split in enumerate(("train", "valid", "test")):
        for language, side in paired(400 if split == "train" else 200, seed).items():
            (folder / f"{split}.{language}").write_text("\n".join(side) + "\n")
    return folder


@pytest.mark.parametrize("recipe", ["sentencepiece", "moses-bpe"])
def test_text_out_of_step_is_refused(aligned: Path, tmp_path: Path, capsys: pytest.CaptureFixture, recipe: str) -> None:
    words = ("--vocab-size", "100", "--recipe", recipe)
    text = lines(aligned / "test.en")
    (aligned / "test.en").write_text("\n".join([*text[:100], *text[101:], "tuv"]) + "\n")
    with pytest.raises(SystemExit) as error:
        encode(aligned, tmp_path / "out", *words)
    assert f"of {aligned / 'test.en'} belong to" in str(error.value) and "--allow-shifted" in str(error.value)
    assert not (tmp_path / "out").exists()
    encode(aligned, tmp_path / "out", *words, "--allow-shifted")
    assert f"of {aligned / 'test.en'} belong to" in capsys.readouterr().err
    encode(aligned, tmp_path / "out", *words)
    assert "up to date" in capsys.readouterr().out


def test_a_shuffled_side_gives_a_warning(aligned: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    encode(aligned, tmp_path / "out", "--vocab-size", "100")
    assert "warning" not in capsys.readouterr().err
    text = lines(aligned / "train.en")
    random.Random(1).shuffle(text)
    (aligned / "train.en").write_text("\n".join(text) + "\n")
    encode(aligned, tmp_path / "shuffled", "--vocab-size", "100")
    assert "train.en are not correlated" in capsys.readouterr().err


def test_tokenised_references_give_a_warning_before_training(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(raw, tmp_path / "text")
    for language in ("de", "en"):
        train = (raw / f"train.{language}").read_text().replace(" , it", ", it").replace(" .", ".")
        (tmp_path / "text" / f"train.{language}").write_text(train)
    encode(tmp_path / "text", tmp_path / "out", "--vocab-size", "150")
    assert "is tokenised" not in capsys.readouterr().err
    shutil.copytree(tmp_path / "text", tmp_path / "tokens")
    (tmp_path / "tokens" / "test.en").write_text("t u v .\n" * 10)
    encode(tmp_path / "tokens", tmp_path / "again", "--vocab-size", "150")
    said = capsys.readouterr().err
    assert f"warning: {tmp_path / 'tokens' / 'test.en'} is tokenised" in said and "10 lines" in said
    assert "--allow-tokenised" in said and said.count("is tokenised") == 1
    shutil.copy(raw / "train.de", tmp_path / "text")
    encode(tmp_path / "text", tmp_path / "train", "--vocab-size", "150")
    assert f"warning: {tmp_path / 'text' / 'train.de'} is tokenised" in capsys.readouterr().err
    (tmp_path / "tokens" / "truth.json").write_text("{}")
    encode(tmp_path / "tokens", tmp_path / "again", "--vocab-size", "150")
    assert "is tokenised" not in capsys.readouterr().err


def test_references_in_the_training_text_give_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "raw").mkdir()
    for language in ("de", "en"):
        lines = [f"the number {number} of {language}\n" for number in range(60)]
        for split, part in (("train", lines[:40]), ("valid", lines[40:50]), ("test", [*lines[50:], *lines[:10]])):
            (tmp_path / "raw" / f"{split}.{language}").write_text("".join(part))
    encode(tmp_path / "raw", tmp_path / "out", "--vocab-size", "40", "--model-type", "bpe")
    said = capsys.readouterr().err
    assert f"{tmp_path / 'raw' / 'test.en'}: 10 lines (11, 12, 13" in said and "of 20 are in train.en too" in said
    assert "valid.en" not in said
    (tmp_path / "raw" / "prepare.json").write_text("{}")  # its test sets are checked already
    encode(tmp_path / "raw", tmp_path / "again", "--vocab-size", "40", "--model-type", "bpe")
    assert "train.en too" not in capsys.readouterr().err


def test_swapped_sides_give_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("py3langid")
    sides = {
        "de": ["Der Hund läuft schnell über die grüne Wiese.", "Zwei Kinder spielen mit einem Ball im Garten."],
        "en": ["The dog is running quickly across the green meadow.", "Two children are playing with a ball."],
    }
    for folder, endings in (("right", ("de", "en")), ("swapped", ("en", "de"))):
        (tmp_path / folder).mkdir()
        for split in ("train", "valid", "test"):
            for ending, text in zip(endings, sides.values(), strict=True):
                (tmp_path / folder / f"{split}.{ending}").write_text("".join(f"{line}\n" for line in text * 20))
        encode(tmp_path / folder, tmp_path / f"{folder}-out", "--vocab-size", "60", "--model-type", "bpe")
        said = capsys.readouterr().err
        assert said.count("look swapped") == (3 if folder == "swapped" else 0)
    assert f"{tmp_path / 'swapped'}" in said and "train: " in said


def test_equal_sides_and_tables_give_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    lines = [f"word {number} of the line" for number in range(300)]
    other = [f"Wort {number} der Zeile" for number in range(300)]
    table = [f"{a}\t{b}" for a, b in zip(other, lines, strict=True)]
    for name, source, said in (
        ("same", lines, "the same on both sides"),
        ("table", table, "a tab"),
        ("right", other, ""),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for split in ("train", "valid", "test"):
            for language, text in (("de", source), ("en", lines)):
                (folder / f"{split}.{language}").write_text("".join(f"{line}\n" for line in text))
        encode(folder, tmp_path / f"{name}-out", "--vocab-size", "60")
        found = capsys.readouterr().err
        assert [what in found for what in ("the same on both sides", "a tab")] == [
            what == said for what in ("the same on both sides", "a tab")
        ]


@pytest.mark.parametrize("zipped", [False, True])
def test_the_sides_are_compared_in_all_parts_of_the_text(
    zipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """As in corpora that were joined, one of which has one language on both sides."""
    english = [f"word {number} of the line" for number in range(3000)]
    german = [f"Wort {number} der Zeile" for number in range(3000)]
    for name, source in (("part", [*german[:1100], *english[1100:]]), ("start", [*english[:1100], *german[1100:]])):
        folder = tmp_path / name
        folder.mkdir()
        for split, count in (("train", 3000), ("valid", 50), ("test", 50)):
            for language, text in (("de", source if split == "train" else german), ("en", english)):
                content = "".join(f"{line}\n" for line in text[:count]).encode()
                path = folder / f"{split}.{language}{'.gz' if zipped else ''}"
                path.write_bytes(gzip.compress(content) if zipped else content)
        encode(folder, tmp_path / f"{name}-out", "--vocab-size", "60")
        assert ("train: most lines are the same on both sides" in capsys.readouterr().err) == (name == "part")


def test_other_names_of_the_validation_set_are_named(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "text")
    for old, new in (("de", "val.de"), ("en", "dev.en")):
        (tmp_path / "text" / f"valid.{old}").rename(tmp_path / "text" / new)
    with pytest.raises(SystemExit) as caught:
        encode(tmp_path / "text", tmp_path / "out")
    said = str(caught.value.code)
    assert "found val.de: rename it to valid.de" in said and "found dev.en: rename it to valid.en" in said


def test_separate_vocabularies(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    record = encode(raw, tmp_path / "out", "--separate", "--vocab-size", "60", "--model-type", "bpe")
    assert record["options"]["separate"] is True
    for language, others in (("de", "tuvxyz"), ("en", "abcd")):
        model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / f"out/spm.{language}.model"))
        found = symbols(tmp_path / f"out/dict.{language}.txt")
        assert found == [model.id_to_piece(i) for i in range(3, 60)]
        train = raw / f"train.{language}"
        for pieces, text in zip(lines(tmp_path / f"out/train.{language}"), lines(train), strict=True):
            assert model.decode(pieces.split()) == text
        assert not set(others) - set("".join(lines(train))) & set("".join(found))
    assert "dictionaries: 57 symbols" in capsys.readouterr().out


def test_two_given_models_are_the_two_that_were_trained(raw: Path, tmp_path: Path) -> None:
    encode(raw, tmp_path / "out", "--separate", "--vocab-size", "60")
    models = [str(tmp_path / f"out/spm.{language}.model") for language in LANGUAGES]
    record = encode(raw, tmp_path / "given", "--spm-model", *models)
    assert {"--spm-model of de", "--spm-model of en"} <= record["inputs"].keys()
    assert record["options"]["separate"] is True
    first, second = snapshot(tmp_path / "out"), snapshot(tmp_path / "given")
    assert first.pop("encode.json") != second.pop("encode.json") and first == second


def test_bytes_instead_of_unknown_characters(raw: Path, tmp_path: Path) -> None:
    without = encode(raw, tmp_path / "without", "--vocab-size", "100")
    with_bytes = encode(raw, tmp_path / "with", "--vocab-size", "350", "--byte-fallback")
    assert without["counts"]["test.de"]["unknown"] == 10
    assert with_bytes["counts"]["test.de"]["unknown"] == 0 and with_bytes["options"]["byte-fallback"] is True
    assert "<0xCF> <0x88>" in (tmp_path / "with/test.de").read_text(encoding="utf-8")  # ψ
    assert "<0xCF>" in symbols(tmp_path / "with/dict.de.txt")


def test_symbols_are_pieces(raw: Path, tmp_path: Path) -> None:
    plain = encode(raw, tmp_path / "plain", "--vocab-size", "100")
    record = encode(raw, tmp_path / "out", "--vocab-size", "100", "--symbols", "<mono>", "<bi>")
    assert {"<mono>", "<bi>"} <= set(symbols(tmp_path / "out/dict.de.txt"))
    assert record["options"]["symbols"] == ["<mono>", "<bi>"] and "symbols" not in plain["options"]
    with pytest.raises(SystemExit, match="--symbols '<pad>'"):
        cli.main(
            ["encode", "--raw", str(raw), "--out", str(tmp_path / "no"), "-s", "de", "-t", "en", "--symbols", "<pad>"]
        )


def test_the_character_coverage_is_the_languages(raw: Path, tmp_path: Path) -> None:
    assert encode(raw, tmp_path / "de", "--vocab-size", "60")["options"]["character-coverage"] == 1.0
    for language in LANGUAGES:
        for path in raw.glob(f"*.{language}"):
            copy = tmp_path / "zh" / path.with_suffix(".zh" if language == "de" else ".en").name
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    words = ["encode", "--raw", str(tmp_path / "zh"), "-s", "zh", "-t", "en", "--vocab-size", "60", "--workers", "1"]
    separate = {"zh": 0.9995, "en": 1.0}
    for i, (more, expected) in enumerate(
        (([], 0.9995), (["--character-coverage", "0.98"], 0.98), (["--separate"], separate))
    ):
        out = tmp_path / f"out{i}"
        assert cli.main([*words, "--out", str(out), *more]) == 0
        assert json.loads((out / "encode.json").read_text())["options"]["character-coverage"] == expected


def test_a_sample_of_all_pairs_is_recorded_as_no_sample(raw: Path, tmp_path: Path) -> None:
    """So folders of earlier versions, which only sampled on request, stay up to date."""
    assert encode(raw, tmp_path / "default", "--vocab-size", "60")["options"]["sample"] is None
    assert encode(raw, tmp_path / "all", "--vocab-size", "60", "--sample", "all")["options"]["sample"] is None
    some = encode(raw, tmp_path / "some", "--vocab-size", "60", "--sample", "300")["options"]
    assert (some["sample"], some["seed"]) == (300, 1)


def test_the_sample_does_not_depend_on_chunks_and_workers(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = VocabularyOptions(vocab_size=60, sample=100, separate=True)
    encode_bitext(raw, tmp_path / "one", *LANGUAGES, options)
    monkeypatch.setattr(chunks, "SIZE", 5_000)
    encode_bitext(raw, tmp_path / "two", *LANGUAGES, options, workers=2)
    assert snapshot(tmp_path / "two") == snapshot(tmp_path / "one")


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no shared/corpora/multi30k beside the checkout")
@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_words_and_counts_train_the_same_model_as_sentences(model_type: str) -> None:
    """On real text: the same pieces as from the sentences themselves, or fewer pieces in the encoded text."""
    text = [line for language in LANGUAGES for line in islice(read_lines(CORPUS / f"train.{language}.gz"), 2000)]
    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=proto,
        vocab_size=1000,
        model_type=model_type,
        character_coverage=1.0,
        num_threads=TRAINING_THREADS,
        minloglevel=2,
    )
    words = Counter(word for line in text for word in line.split())
    ours = train_model(words, VocabularyOptions(vocab_size=1000, model_type=model_type), 1.0)
    models = [sentencepiece.SentencePieceProcessor(model_proto=proto) for proto in (ours, proto.getvalue())]
    found, expected = ({model.id_to_piece(i) for i in range(1000)} for model in models)
    other = [line for language in LANGUAGES for line in read_lines(CORPUS / f"val.{language}.gz")]
    lengths = [sum(map(len, model.encode(other))) for model in models]
    assert len(found & expected) >= SHARED[model_type]
    assert lengths[0] <= lengths[1]


def test_a_whole_word_may_be_a_piece() -> None:
    """Even if it is only ever followed by spaces."""
    model = sentencepiece.SentencePieceProcessor(
        model_proto=train_model({"abcdef": 50, "ghijkl": 50, "a": 2}, VocabularyOptions(vocab_size=18), 1.0)
    )
    assert model.encode("abcdef ghijkl", out_type=str) == ["▁abcdef", "▁ghijkl"]


# The classical recipe.


def test_the_classical_recipe(raw: Path, tmp_path: Path) -> None:
    record = encode(raw, tmp_path / "out", "--recipe", "moses-bpe", "--vocab-size", "80", "--split-hyphens")
    assert record["options"]["recipe"] == "moses-bpe" and set(record["versions"]) >= {"sacremoses", "subword-nmt"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        ["bpe.codes", "encode.json", "dict.de.txt", "dict.en.txt"]
        + [f"{split}.{language}" for split in ("train", "valid", "test") for language in LANGUAGES]
    )
    assert symbols(tmp_path / "out/dict.de.txt") == symbols(tmp_path / "out/dict.en.txt")
    joined = [f"{line} ".replace("@@ ", "").rstrip() for line in lines(tmp_path / "out/train.de")]
    assert joined == [moses.Tokeniser("de", split_hyphens=True)(line) for line in lines(raw / "train.de")]
    assert all(" @-@ " in line and " &apos; s " in line for line in joined)
    assert len(lines(tmp_path / "out/bpe.codes")) <= 81


def test_hyphens_are_only_split_on_request(raw: Path, tmp_path: Path) -> None:
    encode(raw, tmp_path / "out", "--recipe", "moses-bpe", "--vocab-size", "80")
    assert "@-@" not in (tmp_path / "out/train.de").read_text()


def test_separate_dictionaries_with_joint_codes(raw: Path, tmp_path: Path) -> None:
    encode(raw, tmp_path / "out", "--recipe", "moses-bpe", "--vocab-size", "80", "--separate")
    found = {language: set(symbols(tmp_path / f"out/dict.{language}.txt")) for language in LANGUAGES}
    assert "." in found["de"] & found["en"] and found["de"] != found["en"]


def test_the_classical_recipe_on_any_number_of_workers(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = VocabularyOptions(vocab_size=80, sample=200)
    encode_classically(raw, tmp_path / "one", *LANGUAGES, options)
    monkeypatch.setattr(chunks, "SIZE", 6_000)
    encode_classically(raw, tmp_path / "two", *LANGUAGES, options, workers=2)
    assert snapshot(tmp_path / "two") == snapshot(tmp_path / "one")


def test_codes_are_those_of_subword_nmt(raw: Path) -> None:
    from subword_nmt.learn_bpe import learn_bpe

    text = lines(raw / "train.de")
    theirs = io.StringIO()
    learn_bpe(text, theirs, 60)
    assert moses.learn_codes(Counter(word for line in text for word in line.split()), 60) == theirs.getvalue()


def test_text_survives_the_classical_recipe() -> None:
    for language, text in (
        ("en", 'It\'s a well-known fact (really): 5% of "it" & more.'),
        ("fr", "L'eau, dit-il, est là."),
    ):
        tokens = moses.Tokeniser(language, split_hyphens=True)(text)
        assert tokens != text and moses.detokenise(tokens, language) == text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--recipe", "moses-bpe", "--model-type", "bpe", "--byte-fallback"),
            "--model-type, --byte-fallback: --recipe moses-bpe does not use SentencePiece",
        ),
        (("--recipe", "moses-bpe", "--spm-model", "x"), "--spm-model: --recipe moses-bpe does not use SentencePiece"),
        (("--split-hyphens",), "--split-hyphens works with --recipe moses-bpe only"),
        (("--spm-model", "a", "b", "c"), "--spm-model: expected 1 file, or 2"),
        (("--spm-model", "a", "--separate"), "--spm-model uses a trained vocabulary. Leave out --separate"),
    ],
)
def test_options_that_exclude_each_other(raw: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(SystemExit) as error:
        encode(raw, tmp_path / "out", *words)
    assert message in str(error.value) and not (tmp_path / "out").exists()


def test_the_classical_recipe_without_its_packages(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="--recipe moses-bpe needs sacremoses and subword-nmt"):
        encode(raw, tmp_path / "out", "--recipe", "moses-bpe")


@pytest.mark.parametrize("count", [300, 400, 500], ids=["fewer", "others", "more"])
def test_a_text_that_changes_while_it_is_encoded(
    raw: Path, tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    text = tmp_path / "raw" / "train.en"
    before = encoding.encode_splits

    def change(*args, **kwargs):
        text.write_text("".join(f"{line}\n" for line in islice(lines(text) * 2, 1, count + 1)))
        return before(*args, **kwargs)

    monkeypatch.setattr(encoding, "encode_splits", change)
    with pytest.raises(SystemExit) as caught:
        encode(tmp_path / "raw", tmp_path / "out", "--vocab-size", "80")
    assert f"train.en had 400 lines, now has {count}" in str(caught.value.code)
    assert not (tmp_path / "out").exists()
