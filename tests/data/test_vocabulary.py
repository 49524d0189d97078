"""`lskd encode`: vocabulary, dictionaries, pieces and the output folder."""

import gzip
import itertools
import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
import sentencepiece

from fairseq_lskd import cli
from fairseq_lskd.data import chunks, encoding
from fairseq_lskd.data.encoding import encode_bitext
from fairseq_lskd.data.generated import write_bitext
from fairseq_lskd.data.grammar import Grammar
from fairseq_lskd.data.vocabulary import VocabularyOptions, dictionary_pieces
from fairseq_lskd.errors import UserError
from fairseq_lskd.lines import read_lines

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
SPLITS, LANGUAGES = ("train", "valid", "test"), ("xx", "yy")


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated bitext; its train.yy is gzipped."""
    out = tmp_path_factory.mktemp("bitext") / "raw"
    write_bitext(Grammar(nouns=40, verbs=20, adjectives=15), out, train=1500, valid=30, test=30)
    plain = out / "train.yy"
    (out / "train.yy.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    return out


@pytest.fixture(scope="session")
def encoded(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("encoded") / "out"
    assert encode_bitext(raw, out, *LANGUAGES, VocabularyOptions(vocab_size=200))
    return out


def encode(raw: Path, out: Path, *more: str) -> int:
    return cli.main(["encode", "--raw", str(raw), "--out", str(out), "-s", "xx", "-t", "yy", *more])


def raw_lines(raw: Path, name: str) -> list[str]:
    path = raw / name
    return list(read_lines(path if path.exists() else raw / f"{name}.gz"))


def dictionary(path: Path) -> list[tuple[str, int]]:
    rows = [line.rsplit(" ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(piece, int(count)) for piece, count in rows]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_tiny(folder: Path, **changes: str) -> Path:
    """Write a bitext of random words. `changes` replaces some of its files."""
    folder.mkdir()
    rng = random.Random(1)
    for split in SPLITS:
        for lang in LANGUAGES:
            lines = [
                " ".join("".join(rng.choice("abcdef") for _ in range(rng.randint(1, 5))) for _ in range(6))
                for _ in range(120 if split == "train" else 5)
            ]
            text = changes.get(f"{split}_{lang}", "\n".join(lines) + "\n")
            (folder / f"{split}.{lang}").write_text(text, encoding="utf-8")
    return folder


def test_dictionaries_are_sentencepiece_in_order(encoded: Path) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(encoded / "spm.model"))
    pieces = [model.id_to_piece(i) for i in range(3, len(model))]
    assert len(model) == 200 and pieces
    for lang in LANGUAGES:
        assert [piece for piece, _ in dictionary(encoded / f"dict.{lang}.txt")] == pieces
    vocab = [line.split("\t")[0] for line in (encoded / "spm.vocab").read_text(encoding="utf-8").splitlines()]
    assert vocab == ["<unk>", "<s>", "</s>", *pieces]


def test_counts_are_those_of_the_language(encoded: Path) -> None:
    record = json.loads((encoded / "encode.json").read_text())
    for lang in LANGUAGES:
        counts = Counter((encoded / f"train.{lang}").read_text(encoding="utf-8").split())
        found = dict(dictionary(encoded / f"dict.{lang}.txt"))
        assert {piece: count for piece, count in found.items() if count} == counts
        assert 0 in found.values(), "the other language's pieces are there, with no count"
        assert record["counts"][f"train.{lang}"] == {"lines": 1500, "pieces": counts.total(), "unknown": 0}
    assert dictionary(encoded / "dict.xx.txt") != dictionary(encoded / "dict.yy.txt")


def test_pieces_decode_to_the_text(raw: Path, encoded: Path) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(encoded / "spm.model"))
    for split in SPLITS:
        for lang in LANGUAGES:
            lines = (encoded / f"{split}.{lang}").read_text(encoding="utf-8").splitlines()
            decoded = [model.decode(line.split(" ")) for line in lines]
            assert decoded == raw_lines(raw, f"{split}.{lang}")


def test_the_manifest_has_no_paths(encoded: Path, raw: Path) -> None:
    text = (encoded / "encode.json").read_text()
    assert str(raw) not in text and str(encoded) not in text
    record = json.loads(text)
    assert record["options"]["vocab-size"] == 200 and len(record["inputs"]["train.yy"]) == 64
    assert set(record["versions"]) == {"fairseq_lskd", "python", "sentencepiece"}


def test_chunks_and_workers_change_nothing(raw: Path, encoded: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(chunks, "SIZE", 10_000)
    encode_bitext(raw, tmp_path / "out", *LANGUAGES, VocabularyOptions(vocab_size=200), workers=2)
    assert snapshot(tmp_path / "out") == snapshot(encoded)


def test_up_to_date_also_from_another_folder(raw: Path, encoded: Path, tmp_path: Path, capsys) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in raw.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    before = {path: path.stat().st_mtime_ns for path in encoded.iterdir()}
    assert encode(moved, encoded, "--vocab-size", "200") == 0
    assert "up to date" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in encoded.iterdir()} == before


def test_other_options_and_inputs(raw: Path, encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as error:
        encode(raw, encoded, "--vocab-size", "150", "--model-type", "bpe")
    message = str(error.value)
    for fact in (
        f"{encoded} was created with different options",
        "--vocab-size: 200",
        "150",
        "bpe",
        "LSKD_REPLACE=1",
        "prepare.sh: --data",
    ):
        assert fact in message
    assert message.count("\n  --") == 2
    monkeypatch.setenv("LSKD_REPLACE", "0")  # an experiment's shared data
    with pytest.raises(SystemExit, match="other experiments may use it: delete it, or name other data") as error:
        encode(raw, encoded, "--vocab-size", "150")
    assert "LSKD_REPLACE=1" not in str(error.value)
    monkeypatch.delenv("LSKD_REPLACE")
    with pytest.raises(SystemExit, match=r"input test\.xx: SHA-256 [0-9a-f]{12}…, now SHA-256") as error:
        encode(write_tiny(tmp_path / "raw"), encoded, "--vocab-size", "200")
    assert "--vocab-size" not in str(error.value)


def test_given_model(raw: Path, encoded: Path, tmp_path: Path) -> None:
    model = encoded / "spm.model"
    assert encode(raw, tmp_path / "out", "--spm-model", str(model)) == 0
    for name, content in snapshot(encoded).items():
        if name != "encode.json":
            assert (tmp_path / "out" / name).read_bytes() == content
    assert encode(raw, tmp_path / "out", "--spm-model", str(model)) == 0
    with pytest.raises(SystemExit, match=r"input --spm-model: SHA-256 .*, now none"):
        encode(raw, tmp_path / "out", "--vocab-size", "200")


def test_given_model_with_training_options(raw: Path, encoded: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"--spm-model uses a trained vocabulary\. Leave out --vocab-size, --model-type"
    ):
        encode(
            raw, tmp_path / "o", "--spm-model", str(encoded / "spm.model"), "--vocab-size", "9", "--model-type", "bpe"
        )


@pytest.mark.parametrize(
    ("content", "message"), [(None, ": cannot be read"), (b"no model", " is not a SentencePiece model")]
)
def test_given_file_is_no_model(raw: Path, tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "spm.model"
    if content:
        path.write_bytes(content)
    with pytest.raises(SystemExit, match=re.escape(f"--spm-model {path}{message}")):
        encode(raw, tmp_path / "out", "--spm-model", str(path))


def test_unknown_characters_are_counted(encoded: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    raw = write_tiny(tmp_path / "raw", test_xx="a ψ b\n" * 5)
    encode(raw, tmp_path / "out", "--spm-model", str(encoded / "spm.model"))
    counts = json.loads((tmp_path / "out" / "encode.json").read_text())["counts"]
    assert counts["test.xx"]["unknown"] == 5
    said = capsys.readouterr().err
    assert f"warning: {5 / counts['test.xx']['pieces']:.1%} of the pieces of {tmp_path / 'out' / 'test.xx'}" in said


def test_a_sample_trains_another_model(tmp_path: Path) -> None:
    raw = write_tiny(tmp_path / "raw")
    models = []
    for name, more in (
        ("a", ("--sample", "40")),
        ("b", ("--sample", "40", "--seed", "2")),
        ("c", ("--sample", "40", "--seed", "1")),
        ("d", ()),
        ("e", ("--sample", "9999")),
    ):
        encode(raw, tmp_path / name, "--vocab-size", "40", *more)
        models.append((tmp_path / name / "spm.model").read_bytes())
    a, b, c, d, e = models
    assert a == c and d == e and len({a, b, d}) == 3


def test_a_seed_without_a_sample(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--seed works with --sample only"):
        encode(raw, tmp_path / "out", "--seed", "3")


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_too_large_a_vocabulary_names_a_size_that_works(tmp_path: Path, model_type: str) -> None:
    raw = write_tiny(tmp_path / "raw")
    with pytest.raises(SystemExit, match="--vocab-size 50000 is too large for this corpus") as error:
        encode(raw, tmp_path / "out", "--vocab-size", "50000", "--model-type", model_type)
    assert list(tmp_path.iterdir()) == [raw]
    largest = re.search(r"--vocab-size (\d+) or less", str(error.value))[1]
    assert encode(raw, tmp_path / "out", "--vocab-size", largest, "--model-type", model_type) == 0
    assert len(dictionary(tmp_path / "out" / "dict.xx.txt")) == int(largest) - 3


def test_too_small_a_vocabulary_names_a_size_that_works(tmp_path: Path) -> None:
    raw = write_tiny(tmp_path / "raw")
    with pytest.raises(SystemExit, match="--vocab-size 5 is too small") as error:
        encode(raw, tmp_path / "out", "--vocab-size", "5")
    least = re.search(r"--vocab-size (\d+) or more", str(error.value))[1]
    assert encode(raw, tmp_path / "out", "--vocab-size", least) == 0


def test_unicode_separators_are_spaces(tmp_path: Path) -> None:
    """fairseq splits at each of them, so a piece that contains one would become two tokens."""
    odd = "ab\u0085cd \u2028ef\x1cfa\u00a0b\u3000c\x0bd\n"
    raw = write_tiny(tmp_path / "raw", train_xx=odd * 120, test_xx=odd * 5)
    encode(raw, tmp_path / "out", "--vocab-size", "40")
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "out" / "spm.model"))
    lines = (tmp_path / "out" / "test.xx").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == "" and len(lines) == 5
    for line in lines:
        assert line.split() == line.split(" ")
        assert model.decode(line.split()) == "ab cd ef fa b c d"


def test_lines_without_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python does not treat a zero-width space as white space, but SentencePiece drops it."""
    monkeypatch.setattr(chunks, "SIZE", 3)  # several chunks, over which line numbers continue
    raw = write_tiny(tmp_path / "raw", valid_yy="a\n\u200b\nb\nc\n\u200b\u200b\n")
    with pytest.raises(SystemExit, match="invisible characters") as error:
        encode(raw, tmp_path / "out", "--vocab-size", "40")
    assert f"{raw / 'valid.yy'}: 2 lines (2, 5)" in str(error.value)
    assert list(tmp_path.iterdir()) == [raw]


def test_a_piece_that_is_fairseqs_symbol() -> None:

    class Model:
        pieces = ("<unk>", "<s>", "<pad>", "fine", "a\u0085b")

        def __len__(self) -> int:
            return len(self.pieces)

        def is_control(self, i: int) -> bool:
            return i == 1

        def is_unknown(self, i: int) -> bool:
            return i == 0

        def id_to_piece(self, i: int) -> str:
            return self.pieces[i]

    with pytest.raises(UserError, match=r"pieces that fairseq cannot use: '<pad>', 'a\\x85b'"):
        dictionary_pieces(Model())  # type: ignore[arg-type]


def test_wrong_bitext_is_refused(tmp_path: Path) -> None:
    raw = write_tiny(tmp_path / "raw", valid_xx="a\n\n", test_yy="")
    with pytest.raises(SystemExit) as error:
        encode(raw, tmp_path / "out", "--vocab-size", "40")
    assert "valid.xx: blank: 1 line (2)" in str(error.value) and "test.yy: the file is empty" in str(error.value)
    assert list(tmp_path.iterdir()) == [raw]


def test_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = write_tiny(tmp_path / "raw")
    seen = []

    def interrupted(path: Path, *_: object) -> None:
        seen.extend(path.parent.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(encoding, "write_dictionary", interrupted)
    with pytest.raises(SystemExit, match="130"):
        encode(raw, tmp_path / "out", "--vocab-size", "40")
    assert {path.name for path in seen} >= {"train.xx", "spm.model"}, "it was interrupted half-way"
    assert list(tmp_path.iterdir()) == [raw]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--vocab-size", "0"), "--vocab-size 0: expected at least 1"),
        (("--character-coverage", "1.5"), "--character-coverage 1.5: expected above 0, at most 1"),
        (("--sample", "0"), "--sample 0: expected at least 1"),
        (("--workers", "0"), "--workers 0: expected 1 or more"),
        (("-t", "xx"), "--source-lang and --target-lang are both xx"),
    ],
)
def test_impossible_options(raw: Path, tmp_path: Path, more: tuple[str, ...], message: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        encode(raw, tmp_path / "out", *more)


@pytest.mark.skipif(not (CORPORA / "multi30k").is_dir(), reason=f"no {CORPORA.name}/multi30k beside the checkout")
def test_real_text(tmp_path: Path) -> None:
    """Decoding 2,000 pairs of Multi30k restores the text, except for SentencePiece's normalisation."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for split, given in (("train", "train"), ("valid", "val"), ("test", "test_2016_flickr")):
        for lang in ("de", "en"):
            lines = itertools.islice(read_lines(CORPORA / "multi30k" / f"{given}.{lang}.gz"), 2000)
            (raw / f"{split}.{lang}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = tmp_path / "out"
    encode_bitext(raw, out, "de", "en", VocabularyOptions(vocab_size=1000, model_type="bpe"))
    model = sentencepiece.SentencePieceProcessor(model_file=str(out / "spm.model"))
    for name in ("train.de", "test.en"):
        decoded = [model.decode(line.split(" ")) for line in read_lines(out / name)]
        assert decoded == [model.normalize(line).replace("▁", " ").strip() for line in read_lines(raw / name)]
    assert [p for p, _ in dictionary(out / "dict.de.txt")] == [p for p, _ in dictionary(out / "dict.en.txt")]
