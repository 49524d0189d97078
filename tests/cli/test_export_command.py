"""`lskd export` of a tiny student with SentencePiece, and examples/translate_raw.py."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sentencepiece
import torch

from fairseq_lskd.cli import main
from fairseq_lskd.cli.export import COMPUTE_TYPES
from fairseq_lskd.files import sha256

pytest.importorskip("ctranslate2")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "translate_raw.py"
#: Code that runs the example without fairseq, torch and fairseq_lskd.
ALONE = f"""
import runpy, sys
for name in ("fairseq", "fairseq_lskd", "torch"):
    sys.modules[name] = None
runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from prepared import prepare

    return prepare(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def checkpoint(data: Path) -> Path:
    """The checkpoint of a trained student, with its dictionaries beside it. Its data folder is `data`/bin."""
    from trained import trained_teacher

    return trained_teacher(data / "bin")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def export(checkpoint: Path, *words: str) -> None:
    assert main(["export", str(checkpoint), "--out", "out", *words]) == 0


def refused(*words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["export", *words])
    assert str(caught.value.code).startswith("lskd export: error: ")
    return str(caught.value.code).removeprefix("lskd export: error: ")


def translate(folder: str, text: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", ALONE, folder], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def in_fairseq(checkpoint: Path, model: Path, lines: list[str]) -> list[str]:
    """Translate lines with fairseq's search."""
    from fairseq_lskd.sequences.decoding import Batch, DecodingOptions
    from fairseq_lskd.sequences.engines.fairseq_engine import FairseqEngine
    from fairseq_lskd.teachers.alone import load_teacher

    engine = FairseqEngine(load_teacher(str(checkpoint)), DecodingOptions(), "cpu", 1)
    engine.configure(engine.default)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    (found,) = engine.translate([Batch([pieces.encode(line, out_type=str) for line in lines], 0, 0)])
    return [pieces.decode(hypotheses[0].tokens) for hypotheses in found]


def test_the_example_translates_raw_text_as_fairseq_does(data: Path, checkpoint: Path) -> None:
    lines = (data / "raw/test.de").read_text().splitlines()
    wanted = in_fairseq(checkpoint, data / "pieces/spm.model", lines)
    assert len(set(wanted)) > 10
    export(checkpoint, "--compute-type", "float32")
    assert translate("out", "".join(f"{line}\n" for line in lines)) == wanted
    # Blank lines, unknown characters and lines that are too long are translated to one line each.
    found = translate("out", f"{lines[0]}\n\n  {lines[1]} \nüñ 猫\n{'a ' * 2000}\n{lines[2]}")
    assert len(found) == 6
    assert [found[0], *found[1:3], found[5]] == [wanted[0], "", wanted[1], wanted[2]]


def test_the_example_reads_and_writes_utf8_and_ends_quietly(data: Path, checkpoint: Path) -> None:
    export(checkpoint)
    # ASCII, as in the C locale of a Python without UTF-8 mode.
    plain = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    text = (data / "raw/test.de").read_bytes()
    call = [sys.executable, "-c", ALONE, "out"]
    done = subprocess.run(call, input=text, env=plain, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.count(b"\n") == text.count(b"\n")
    first = text.splitlines(keepends=True)[0]
    done = subprocess.run(call, input=first * 2 + b"Gr\xfc\xdfe\n", capture_output=True, timeout=60)
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1 and b"line 3 of the input is not UTF-8" in done.stderr
    ended = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert ended.stdout is not None
    ended.stdout.close()  # as `| head` does
    assert ended.communicate(text * 20, timeout=60)[1] == b""
    Path("out/export.json").unlink()
    done = subprocess.run(call, input=text, capture_output=True, timeout=60)
    assert done.stdout == b"" and done.stderr.startswith(
        b"out: found no export.json; expected a folder that `lskd export`"
    )


def test_int8_is_small_and_needs_neither_fairseq_nor_torch(
    data: Path, checkpoint: Path, capsys: pytest.CaptureFixture
) -> None:
    export(checkpoint)
    assert re.fullmatch(r"out: int8, 0\.\d\d MB\n", capsys.readouterr().err)
    names = ["config.json", "export.json", "model.bin", "sentencepiece.model", "shared_vocabulary.json"]
    assert sorted(path.name for path in Path("out").iterdir()) == names
    assert Path("out/sentencepiece.model").read_bytes() == (data / "pieces/spm.model").read_bytes()
    lines = (data / "raw/test.de").read_text()
    wanted = in_fairseq(checkpoint, data / "pieces/spm.model", lines.splitlines())
    same = [one == two for one, two in zip(translate("out", lines), wanted, strict=True)]
    assert sum(same) >= 0.8 * len(same)


def test_the_record_has_the_digests_of_its_inputs(data: Path, checkpoint: Path) -> None:
    export(checkpoint)
    record = json.loads(Path("out/export.json").read_text())
    assert record["options"] == {"compute-type": "int8"}
    assert record["inputs"] == {
        "checkpoint": sha256(checkpoint),
        "dict.de.txt": sha256(data / "bin/dict.de.txt"),
        "dict.en.txt": sha256(data / "bin/dict.en.txt"),
        "sentencepiece.model": sha256(data / "pieces/spm.model"),
    }
    assert record["outputs"]["model.bin"] == Path("out/model.bin").stat().st_size
    assert record["bytes"] == sum(record["outputs"].values())
    assert record["checkpoint_bytes"] == checkpoint.stat().st_size
    assert record["float32_largest_difference"] < 1e-3
    assert (record["source_lang"], record["target_lang"], record["max_positions"]) == ("de", "en", [1024, 1024])
    assert {"fairseq_lskd", "python", "ctranslate2", "sentencepiece", "fairseq", "torch"} == record["versions"].keys()


@pytest.mark.parametrize(("kind", "most"), [("int8", 0.35), ("int8_float16", 0.31), ("float16", 0.52)])
def test_weights_are_stored_quantised(data: Path, tmp_path: Path, kind: str, most: float) -> None:
    from tiny import save

    short = ["--max-source-positions", "64", "--max-target-positions", "64"]
    width = [f"--{side}-{name}" for side in ("encoder", "decoder") for name in ("embed-dim", "ffn-embed-dim")]
    flags = [word for flag in width for word in (flag, "64")]
    checkpoint = save(tmp_path / "wide" / "checkpoint.pt", data / "bin", *short, *flags)
    for compute_type in ("float32", kind):
        words = ["--out", compute_type, "--compute-type", compute_type]
        assert main(["export", str(checkpoint), *words]) == 0
    whole, stored = (Path(name, "model.bin").stat().st_size for name in ("float32", kind))
    assert stored <= most * whole


def test_all_compute_types_of_ctranslate2_are_offered() -> None:
    from ctranslate2.specs.model_spec import ACCEPTED_MODEL_TYPES

    assert set(COMPUTE_TYPES) == set(ACCEPTED_MODEL_TYPES)


def test_quantising_leaves_the_student_alone(data: Path, checkpoint: Path) -> None:
    from fairseq_lskd.export.folder import export_student
    from fairseq_lskd.export.pieces import find_pieces
    from fairseq_lskd.teachers.alone import load_teacher
    from fairseq_lskd.teachers.checkpoint import is_weight

    student = load_teacher(str(checkpoint))
    before = {name: weight.clone() for name, weight in student.models[0].state_dict().items()}
    assert export_student(student, find_pieces(student, None, None, None), Path("out"), "int8")
    after = student.models[0].state_dict()
    assert all(torch.equal(weight, before[name]) for name, weight in after.items() if is_weight(name))


def test_limits_on_lengths_travel_with_the_folder(data: Path, tmp_path: Path) -> None:
    from tiny import save

    flags = ["--max-source-positions", "12", "--max-target-positions", "12"]
    export(save(tmp_path / "short" / "checkpoint.pt", data / "bin", *flags))
    assert json.loads(Path("out/export.json").read_text())["max_positions"] == [12, 12]
    assert len(translate("out", f"{'a ' * 50}\na b c\n")) == 2


def test_the_example_is_short() -> None:
    tree = ast.parse(EXAMPLE.read_text())
    tree.body = tree.body[1:]  # the docstring
    assert len(ast.unparse(tree).replace("\n\n", "\n").splitlines()) == 42  # as docs/export.md says


def test_a_second_call_does_nothing_and_other_options_are_refused(
    checkpoint: Path, capsys: pytest.CaptureFixture
) -> None:
    export(checkpoint)
    files = {path.name: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    capsys.readouterr()
    export(checkpoint)
    assert capsys.readouterr().err == "out: up to date\n"
    assert files == {path.name: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    said = refused(str(checkpoint), "--out", "out", "--compute-type", "float32")
    for fact in ("out was created with different options", "--compute-type: int8", "float32", "another --out"):
        assert fact in said
    Path("out/model.bin").write_bytes(b"")
    assert "model.bin was changed: it is 0 bytes" in refused(str(checkpoint), "--out", "out")


def test_an_interrupt_leaves_nothing(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    with pytest.raises(SystemExit):
        main(["export", str(checkpoint), "--out", "out"])
    assert not list(Path().iterdir())


class TestPieces:
    """How the SentencePiece model is found, and which files are refused."""

    @pytest.fixture
    def moved(self, data: Path, checkpoint: Path) -> Path:
        """The checkpoint and its dictionaries in another folder. Its data folder does not exist."""
        shutil.copytree(checkpoint.parent, "moved")
        state = torch.load("moved/checkpoint_best.pt", weights_only=True)
        state["cfg"]["task"]["data"] = "gone/bin"
        torch.save(state, "moved/checkpoint_best.pt")
        return Path("moved/checkpoint_best.pt")

    def test_beside_the_checkpoint(self, data: Path, moved: Path) -> None:
        shutil.copy(data / "pieces/spm.model", "moved")
        export(moved)

    def test_where_the_run_s_record_says(self, data: Path, moved: Path) -> None:
        record = {"command": [], "inputs": {f"{data}/pieces/encode.json": ""}}
        record |= {"seconds": 1.0, "finished": None, "labels": {}}
        Path("moved/run.json").write_text(json.dumps(record))
        export(moved)

    def test_beside_the_dictionaries_that_are_named(self, data: Path, moved: Path) -> None:
        Path("moved/run.json").write_text("somebody else's")
        export(moved, "--data", f"{data}/pieces")

    def test_a_missing_sentencepiece_model_is_asked_for(self, moved: Path) -> None:
        said = refused(str(moved), "--out", "out")
        looked_for = ("moved/spm.model", "pieces/spm.model", "gone/bin/spm.model", "gone/pieces/spm.model")
        for fact in ("no SentencePiece model of moved/checkpoint_best.pt", ", ".join(looked_for), "--sentencepiece,"):
            assert fact in said
        assert not Path("out").exists()

    def test_one_for_each_side(self, data: Path, moved: Path) -> None:
        model = data / "pieces/spm.model"
        other = train_pieces("other", 40, (data / "raw/train.de", data / "raw/train.en", data / "raw/test.en"))
        export(moved, "--sentencepiece-source", str(model), "--sentencepiece-target", str(other))
        assert sorted(path.name for path in Path("out").glob("*.model")) == [
            "sentencepiece.source.model",
            "sentencepiece.target.model",
        ]
        assert Path("out/sentencepiece.target.model").read_bytes() == other.read_bytes()
        lines = (data / "raw/test.de").read_text()
        assert main(["export", str(moved), "--out", "joint", "--sentencepiece", str(model)]) == 0
        assert translate("out", lines) == translate("joint", lines)

    def test_another_model_is_refused(self, data: Path, checkpoint: Path) -> None:
        other = train_pieces("other", 14, (data / "raw/train.de",))
        said = refused(str(checkpoint), "--out", "out", "--sentencepiece", str(other))
        assert re.match(rf"{other} .*\b\d+% of the tokens in \S+dict.de.txt .*at most 2%.*--sentencepiece\b", said)

    def test_pieces_that_the_student_does_not_know_are_warned_of(
        self, data: Path, checkpoint: Path, capsys: pytest.CaptureFixture
    ) -> None:
        Path("more.de").write_text("k l m n o p q r s t\n" * 5)
        files = (data / "raw/train.de", data / "raw/train.en", Path("more.de"))
        export(checkpoint, "--sentencepiece", str(train_pieces("larger", 70, files)))
        assert re.search(r"warning: .*\b\d+ of \d+ pieces of larger.model.*<unk>", capsys.readouterr().err)


def train_pieces(name: str, size: int, files: tuple[Path, ...]) -> Path:
    sentencepiece.SentencePieceTrainer.train(
        input=",".join(map(str, files)),
        model_prefix=name,
        vocab_size=size,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return Path(f"{name}.model")


class TestComparison:
    @pytest.fixture
    def sides(self, data: Path) -> list[str]:
        return ["--compare", f"{data}/raw/test.de", f"{data}/raw/test.en"]

    def test_float32_scores_as_fairseq_does(
        self, data: Path, checkpoint: Path, sides: list[str], capsys: pytest.CaptureFixture
    ) -> None:
        export(checkpoint, "--compute-type", "float32", *sides, "--rounds", "2")
        rows = json.loads(Path("out.compare.json").read_text())
        assert [row["system"].split()[0] for row in rows] == ["fairseq", "ctranslate2"]
        for row in rows:
            assert row["compute_type"] == "float32" and row["sentences"] == 20 and len(row["rates"]) == 2
            assert row["bytes"] == sum(row["files"].values()) and row["sentences_per_second"] > 0
            assert row["signature"].startswith("nrefs:1|case:mixed|")
            assert {"settings", "beam", "cores", "source", "references", "versions", "command"} <= row.keys()
            assert row["checkpoint_sha256"] == sha256(checkpoint)
        assert rows[0]["bleu"] == rows[1]["bleu"] and rows[0]["chrf"] == rows[1]["chrf"]
        assert list(rows[0]["files"]) == ["checkpoint_best.pt", "dict.de.txt", "dict.en.txt", "sentencepiece.model"]
        said = capsys.readouterr()
        assert re.fullmatch(
            r"system +model +compute type +MB +sentences/s +BLEU\n"
            r"-.*\n"
            r"fairseq 0.12.2 +\S+checkpoint_best.pt +float32 +\d\.\d\d +[\d.,]+ +\d+\.\d\n"
            r"ctranslate2 \S+ +out +float32 +\d\.\d\d +[\d.,]+ +\d+\.\d\n"
            r"\n"
            r"\S+test.de: 20 sentences, beam 5, 1 CPU core\(s\), median of 2 rounds\n"
            r"BLEU: nrefs:1\|.*\n",
            said.out,
        )
        turns = re.findall(r"round \d \| (\S+) \|", said.err)
        assert turns == [str(checkpoint), "out", "out", str(checkpoint)]

    def test_a_folder_that_is_there_is_compared_and_stays_up_to_date(
        self, checkpoint: Path, sides: list[str], capsys: pytest.CaptureFixture
    ) -> None:
        export(checkpoint)
        for _ in range(2):
            export(checkpoint, *sides, "--limit", "4", "--rounds", "1", "--beam", "2")
            assert "out: up to date\n" in capsys.readouterr().err
        rows = json.loads(Path("out.compare.json").read_text())
        assert [(row["sentences"], row["beam"], row["compute_type"]) for row in rows] == [
            (4, 2, "float32"),
            (4, 2, "int8_float32"),
        ]

    def test_a_damaged_folder_is_refused(self, checkpoint: Path, sides: list[str]) -> None:
        export(checkpoint)
        model = Path("out/model.bin")
        model.write_bytes(b"\xff" * model.stat().st_size)
        said = refused(str(checkpoint), "--out", "out", *sides)
        assert re.fullmatch(r"out: CTranslate2 cannot load this model \(.*\)\. Export it again", said)

    def test_several_references(self, data: Path, checkpoint: Path, sides: list[str]) -> None:
        own = [data / "raw" / "test.en", Path("paraphrases.en")]
        own[1].write_text("".join(f"{line[::-1]}\n" for line in own[0].read_text().splitlines()))
        export(checkpoint, *sides, str(own[1]), "--rounds", "1")
        rows = json.loads(Path("out.compare.json").read_text())
        assert all(row["signature"].startswith("nrefs:2|") for row in rows)
        assert [each["sha256"] for each in rows[0]["references"]] == list(map(sha256, own))
        assert "--compare" in refused(str(checkpoint), "--out", "more", *sides[:2]) and not Path("more").exists()

    def test_texts_that_do_not_fit_are_refused_before_any_work(self, data: Path, checkpoint: Path) -> None:
        raw, pieces = data / "raw", data / "pieces"
        for source, references, said in (
            (raw / "test.de", raw / "valid.en", "have 20 and 9 lines"),
            (pieces / "test.de", raw / "test.en", "pieces/test.de is in SentencePiece pieces; expected raw text"),
            (raw / "test.de", pieces / "test.en", "pieces/test.en is in SentencePiece pieces; expected raw text"),
            (raw / "none.de", raw / "test.en", "none.de: cannot be read (No such file or directory)"),
            (raw / "test.de", raw / "none.en", "none.en: cannot be read (No such file or directory)"),
        ):
            assert said in refused(str(checkpoint), "--out", "out", "--compare", str(source), str(references))
        assert not Path("out").exists()


def test_an_architecture_that_ctranslate2_lacks_is_named(data: Path, tmp_path: Path) -> None:
    from fairseq import models, options
    from tiny import TRAIN, make_task, save

    path = save(tmp_path / "lstm.pt", data / "bin")
    words = [str(data / "bin"), "--arch", "lstm_wiseman_iwslt_de_en", *TRAIN]
    args = options.parse_args_and_arch(options.get_training_parser(), words)
    state = torch.load(path, weights_only=True)
    state["cfg"]["model"] = args
    state["model"] = models.build_model(args, make_task(data / "bin")).state_dict()
    torch.save(state, path)
    said = refused(str(path), "--out", "out")
    assert said.startswith(f"{path} ") and "CTranslate2 does not support LSTMModel" in said
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.pt", "--out", "out"], "no checkpoint at none.pt"),
        (["a.pt:b.pt", "--out", "out"], "CHECKPOINT a.pt:b.pt: expected one checkpoint"),
        (
            ["none.pt", "--out", "out", "--rounds", "0", "--limit", "0"],
            "--limit 0: expected 1 or more; --rounds 0: expected 1 or more",
        ),
        (["{student}", "--out", "text"], "text exists, but has no export.json"),
        (["{student}", "--out", "other"], "other exists, but has no export.json"),
        (["{student}", "--out", "text/out"], "text/out: cannot write there (Not a directory)"),
        (
            ["{student}", "--out", "out", "--sentencepiece", "none"],
            "--sentencepiece none: cannot be read (No such file",
        ),
        (["{student}", "--out", "out", "--sentencepiece", "text"], "--sentencepiece text is not a SentencePiece model"),
        (["{student}", "--out", "out", "--data", "other"], "other: expected the teacher's dictionary at other/dict."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_named_and_leave_nothing(checkpoint: Path, words: list[str], said: str) -> None:
    Path("text").write_text("text")
    Path("other").mkdir()
    Path("other/file").write_text("")
    assert said in refused(*(word.format(student=checkpoint) for word in words))
    assert sorted(path.name for path in Path().iterdir()) == ["other", "text"]


def test_without_ctranslate2_the_way_out_is_named(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert re.fullmatch(
        r"lskd export needs CTranslate2, .* \S+ -m pip install \"ctranslate2>=4.0\" .*fairseq_lskd\[fast\]\)",
        refused(str(checkpoint), "--out", "out"),
    )
