"""Exported folders of multilingual students translate as fairseq-generate does, with their language tokens."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sentencepiece
from multilingual import BY_TASK, MARKS, MODELS, MULTI, PAIRS, binarise, fairseq_generate, save, trained
from tiny import MODEL

from fairseq_lskd.cli import main
from fairseq_lskd.data.sentencepiece_model import load_model
from fairseq_lskd.files import sha256

pytest.importorskip("ctranslate2")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "translate_raw.py"
#: Greedy, because fairseq-generate scores the language token too, which may decide between close translations. The
#: bound of the length does not depend on the batch.
SEARCH = ["--beam", "1", "--max-len-a", "0", "--max-len-b", "14"]
PARTED = "multilingual_translation"
#: For each form, its options and architecture, and whether a folder serves one pair only.
FORMS: dict[str, tuple[list[str], tuple[str, ...], bool]] = {
    "source and target": ([*MULTI, *MARKS], (), False),
    "target before the source": ([*MULTI, "--encoder-langtok", "tgt"], (), False),
    "none": (MULTI, (), False),
    "in place of end marks": ([*MULTI, *MARKS, "--lang-tok-replacing-bos-eos"], (), True),
    "parts": (BY_TASK[PARTED], MODELS[PARTED], True),
    "parts with marks": ([*BY_TASK[PARTED], *MARKS], MODELS[PARTED], True),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs in pieces of one SentencePiece model, at `pieces/spm.model` beside the folder."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "raw").mkdir()
    (folder / "pieces").mkdir()
    chance = random.Random(1)
    for pair in PAIRS:
        source, target = pair.split("-")
        for split, count in (("train", 60), ("valid", 9), ("test", 12)):
            rows = [chance.choices("abcdefghij", k=chance.randint(1, 9)) for _ in range(count)]
            step = -1 if source == "de" else 1
            text = {source: rows, target: [[*(word.upper() for word in row[::step]), "."] for row in rows]}
            for language, lines in text.items():
                (folder / "raw" / f"{split}.{pair}.{language}").write_text(
                    "".join(f"{' '.join(words)}\n" for words in lines)
                )
    files = sorted((folder / "raw").glob("train.*"))
    sentencepiece.SentencePieceTrainer.train(
        input=",".join(map(str, files)),
        model_prefix=str(folder / "pieces" / "spm"),
        model_type="word",
        vocab_size=30,
        use_all_vocab=True,
        num_threads=1,
        minloglevel=2,
    )
    model = load_model(folder / "pieces" / "spm.model", "")
    for path in (folder / "raw").iterdir():
        pieces = [model.encode(line, out_type=str) for line in path.read_text().splitlines()]
        (folder / "pieces" / path.name).write_text("".join(f"{' '.join(each)}\n" for each in pieces))
    vocabulary = folder / "dict.txt"
    vocabulary.write_text("".join(f"{model.id_to_piece(i)} 1\n" for i in range(3, len(model))))
    return binarise(folder / "pieces", vocabulary, folder / "bin")


def export(checkpoint: Path, out: Path, *flags: str) -> Path:
    assert main(["export", str(checkpoint), "--out", str(out), "--compute-type", "float32", *flags]) == 0
    return out


def refused(*words: str | Path) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*map(str, words)])
    return str(caught.value.code)


def translate(data: Path, model: Path, out: Path, pair: str, *flags: str) -> list[str]:
    """Run `lskd translate --model`. Return the best translations in pieces."""
    text = data.parent / "pieces" / f"test.{pair}.{pair[:2]}"
    # A single batch, as in fairseq-generate, because the maximum length of a translation depends on its batch.
    settings = ["--compute-type", "float32", "--workers", "1", "--max-tokens", "400", "--threads", "1"]
    main(["translate", str(text), "--model", str(model), "--out", str(out), *SEARCH, *settings, *flags])
    return [json.loads(line)["hypotheses"][0]["tokens"] for line in out.read_text().splitlines()]


@pytest.mark.parametrize("form", list(FORMS))
def test_a_folder_translates_as_fairseq_generate_does(data: Path, tmp_path: Path, form: str) -> None:
    flags, model, of_one_pair = FORMS[form]
    name = f"{form.replace(' ', '-')}.pt"
    path = trained(data.parent / "checkpoints" / name, data, *flags, arch=model or tuple(MODEL))
    if not of_one_pair:
        folder = export(path, tmp_path / "all")
        assert set(json.loads((folder / "export.json").read_text())["pairs"]) == set(PAIRS)
    for pair in PAIRS:
        languages = ["-s", pair[:2], "-t", "en"]
        wanted = fairseq_generate(data, path, *flags, *languages, *SEARCH)
        assert len(set(wanted)) > 3
        if of_one_pair:
            folder = export(path, tmp_path / pair, *languages)
            found = translate(data, folder, tmp_path / f"{pair}.jsonl", pair)
        else:
            found = translate(data, folder, tmp_path / f"{pair}.jsonl", pair, *languages)
        assert found == wanted


def in_fairseq(data: Path, path: Path, pair: str) -> list[str]:
    """The translations of a checkpoint with CTranslate2's defaults, as raw text."""
    flags = [*MULTI, *MARKS, "-s", pair[:2], "-t", "en", "--beam", "5"]
    pieces = fairseq_generate(data, path, *flags)
    return ["".join(each.split()).replace("▁", " ").strip() for each in pieces]


@pytest.fixture(scope="module")
def checkpoint(data: Path) -> Path:
    return trained(data.parent / "checkpoints" / "many.pt", data, *MULTI, *MARKS)


def example(*words: str | Path, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, EXAMPLE, *words], input=text, capture_output=True, text=True, timeout=60)


def test_the_example_translates_raw_text(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    folder, one = export(checkpoint, tmp_path / "all"), export(checkpoint, tmp_path / "one", "-s", "fr", "-t", "en")
    for pair in PAIRS:
        text = (data.parent / "raw" / f"test.{pair}.{pair[:2]}").read_text()
        found, wanted = example(folder, pair, text=text).stdout.splitlines(), in_fairseq(data, checkpoint, pair)
        assert len(found) == len(wanted) == 12 and sum(map(str.__eq__, found, wanted)) > 8  # see SEARCH
    assert example(one, text=text).stdout.splitlines() == found
    for words in ((folder,), (folder, "en-de")):
        done = example(*words, text="a\n")
        assert done.returncode == 1 and "de-en, fr-en" in done.stderr and not done.stdout
    # A language token that the model generates is no part of a translation. Here, all types are such tokens.
    record = json.loads((one / "export.json").read_text())
    assert record["language_tokens"] == ["__de__", "__en__", "__fr__"]
    types = json.loads((one / "shared_vocabulary.json").read_text())
    other = shutil.copytree(one, tmp_path / "other")
    (other / "export.json").write_text(json.dumps(record | {"language_tokens": types}))
    assert example(other, text=text).stdout == "\n" * 12
    # Long and empty lines are translated to one line each.
    assert len(example(one, text=f"\n{'a ' * 3000}\nb\n").stdout.splitlines()) == 3


def test_the_record_has_the_pairs(checkpoint: Path, tmp_path: Path) -> None:
    one, whole = export(checkpoint, tmp_path / "one", "-s", "de", "-t", "en"), export(checkpoint, tmp_path / "all")
    record, other = (json.loads((folder / "export.json").read_text()) for folder in (one, whole))
    tokens = {"source_prefix": "__de__", "source_suffix": "", "target_prefix": "__en__"}
    assert record["pairs"] == {"de-en": tokens} and (record["source_lang"], record["target_lang"]) == ("de", "en")
    assert other["pairs"] == {"de-en": tokens, "fr-en": {**tokens, "source_prefix": "__fr__"}}
    assert "source_lang" not in other and record["inputs"]["checkpoint"] == sha256(checkpoint)
    assert record["max_positions"] == [1023, 1023]
    said = refused("export", checkpoint, "--out", one, "--compute-type", "float32", "-s", "fr", "-t", "en")
    assert "--pairs: de-en" in said and "fr-en" in said


def test_caches_of_an_exported_folder(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    """The folder records its tokens, in whatever form the model was trained."""
    for form in ("in place of end marks", "target before the source"):
        flags, _, of_one_pair = FORMS[form]
        path = trained(data.parent / "checkpoints" / f"{form.replace(' ', '-')}.pt", data, *flags)
        languages = ["-s", "fr", "-t", "en"]
        folder = export(path, tmp_path / form, *(languages if of_one_pair else []))
        blocks = []
        for teacher in (["--model", str(folder)], ["--teacher-path", str(path)]):
            out = tmp_path / f"{form}-{teacher[0]}"
            main(["cache", str(data), *languages, *teacher, "--out", str(out), "--cpu", "--top-k", "5"])
            blocks.append(_probabilities(out))
        assert all(abs(a - b) < 2e-3 for a, b in zip(*blocks, strict=True)) and len(blocks[0]) > 300


def _probabilities(cache: Path) -> list[float]:
    import numpy as np

    rows = np.concatenate([np.load(path) for path in sorted(cache.glob("block-*.npy"))])
    return np.exp(rows["log_probs"][:, 0].astype(float)).tolist()


def test_translation_with_a_split_and_comparison(
    data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    languages, raw = ["-s", "fr", "-t", "en"], data.parent / "raw"
    more = ["--data", str(data), "--generate", str(tmp_path / "hyp"), "--search", " ".join(SEARCH)]
    more += ["--compare", f"{raw}/test.fr-en.fr", f"{raw}/test.fr-en.en", "--rounds", "1"]
    export(checkpoint, tmp_path / "one", *languages, *more)
    wanted = fairseq_generate(data, checkpoint, *MULTI, *MARKS, *languages, *SEARCH)
    joined = ["".join(each.split()).replace("▁", " ").strip() for each in wanted]
    assert (tmp_path / "hyp").read_text().splitlines() == joined
    rows = json.loads((tmp_path / "one.compare.json").read_text())
    assert rows[0]["bleu"] == rows[1]["bleu"] > 5
    (tmp_path / "hyp").unlink()
    for flags in (more[:6], more[:2] + more[6:]):
        said = refused("export", checkpoint, "--out", tmp_path / "all", *flags)
        assert flags[2] in said and "--source-lang" in said and not (tmp_path / "all").exists()
    task = f"{' '.join(SEARCH)} --task translation_multi_simple_epoch --lang-pairs de-en --langs de,en,fr"
    words = ["--compute-type", "float32", *languages, *more[:5], task]
    assert "--task translation_multi_simple_epoch" in refused("export", checkpoint, "--out", tmp_path / "one", *words)


def test_the_comparison_leaves_out_language_tokens(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Here, all types are language tokens.
    everything = property(lambda teacher: frozenset(teacher.task.target_dictionary.symbols))
    monkeypatch.setattr("fairseq_lskd.teachers.alone.Teacher.language_tokens", everything)
    compared = ["--compare", *(f"{data.parent}/raw/test.fr-en.{side}" for side in ("fr", "en")), "--rounds", "1"]
    export(checkpoint, tmp_path / "one", "-s", "fr", "-t", "en", *compared)
    assert [row["bleu"] for row in json.loads((tmp_path / "one.compare.json").read_text())] == [0, 0]


class TestRefused:
    """Nothing is written."""

    def test_a_pair_that_the_student_never_saw(self, checkpoint: Path, tmp_path: Path) -> None:
        said = refused("export", checkpoint, "--out", tmp_path / "out", "-s", "en", "-t", "de")
        assert "not trained on en-de" in said and "de-en, fr-en" in said
        said = refused("export", checkpoint, "--out", tmp_path / "out", "-s", "cs", "-t", "en")
        assert "no language token for 'cs'" in said and list(tmp_path.iterdir()) == []

    def test_mbart(self, data: Path, tmp_path: Path) -> None:
        path = save(tmp_path / "t.pt", data, *BY_TASK["translation_from_pretrained_bart"])
        said = refused("export", path, "--out", tmp_path / "out")
        assert str(path) in said and "--no_default_special_tokens" in said and "teacher" not in said

    @pytest.mark.parametrize("form", ["in place of end marks", "parts"])
    def test_several_pairs_in_one_folder(self, data: Path, tmp_path: Path, form: str) -> None:
        flags, model, _ = FORMS[form]
        path = save(tmp_path / "t.pt", data, *flags, **({"model": model} if model else {}))
        said = refused("export", path, "--out", tmp_path / "out")
        assert "--source-lang and --target-lang" in said and "de-en, fr-en" in said and not (tmp_path / "out").exists()

    def test_dictionaries_of_other_languages(self, data: Path, tmp_path: Path) -> None:
        path = save(tmp_path / "t.pt", data, *BY_TASK[PARTED], model=MODELS[PARTED])
        folder = tmp_path / "dictionaries"
        folder.mkdir()
        for language in ("de", "en"):
            shutil.copy(data / f"dict.{language}.txt", folder)
        words = ["-s", "de", "-t", "en", "--data", folder]
        said = refused("export", path, "--out", tmp_path / "out", *words)
        assert "dict.fr.txt" in said and "--teacher-data" in said and not (tmp_path / "out").exists()

    def test_a_folder_asked_for_another_pair(self, data: Path, checkpoint: Path, tmp_path: Path) -> None:
        folder, one = export(checkpoint, tmp_path / "all"), export(checkpoint, tmp_path / "one", "-s", "de", "-t", "en")
        text = data.parent / "pieces" / "test.de-en.de"
        words = ["translate", text, "--out", tmp_path / "o.jsonl"]
        said = refused(*words, "--model", folder)
        assert "--source-lang and --target-lang" in said and "de-en, fr-en" in said
        said = refused(*words, "--model", one, "-s", "fr", "-t", "en")
        assert "not exported for fr-en" in said and "de-en" in said
        said = refused("cache", data, "-s", "fr", "-t", "en", "--model", one, "--out", tmp_path / "c", "--cpu")
        assert "not exported for fr-en" in said and not (tmp_path / "c").exists()
