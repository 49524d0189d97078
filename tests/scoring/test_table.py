"""Tests of tables of result records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.scoring import format_table

BLEU, CHRF = "nrefs:1|tok:13a|version:2.5.1", "nrefs:1|nc:6|version:2.5.1"


def result(system: str, **more: Any) -> dict[str, Any]:
    scores = {"parameters": 1234567, "bleu": 31.25, "chrf": 54.0, "signature": BLEU, "chrf_signature": CHRF}
    return {"system": system, **scores, "train_seconds": 59.6, "command": ["fairseq-train"], **more}


RECORDS = [
    result("teacher", method="none", teacher_smoothing=0.1, valid_ppl=6.125),
    result("word-0.1", method="word", teacher_smoothing=0.1, temperature=2.0, parameters=400, bleu=9.06),
]


def test_a_whole_table() -> None:
    assert format_table(RECORDS).splitlines() == [
        "system      teacher LS  method      T    parameters    BLEU    chrF    valid ppl    train s",
        "--------  ------------  --------  ---  ------------  ------  ------  -----------  ---------",
        "teacher            0.1  none              1,234,567    31.2    54.0         6.12         60",
        "word-0.1           0.1  word      2.0           400     9.1    54.0                      60",
        "",
        f"BLEU: {BLEU}",
        f"chrF: {CHRF}",
    ]


def test_a_loss_over_k_types_is_a_lower_bound() -> None:
    """So is the loss of a cached student without k, in an older record."""
    rows = [
        result("online", method="word", cached=False, train_kd_loss=0.9),
        result("old", method="word", cached=True, train_kd_loss=0.7),
        result("k", method="word", cached=True, kd_top_k=16, train_kd_loss=0.6, train_kd_loss_std=0.01),
        result("cut", method="word", cached=False, kd_top_k=4, train_kd_loss=0.5),
        result("sampled", method="word", cached=True, cache_bytes=48, train_kd_loss=0.8),
        result("alone", method="word", cached=True, kd_top_k=8, kd_rest="renormalise", train_kd_loss=0.4),
    ]
    lines = format_table(rows).splitlines()
    cells = ["    0.900", ">= 0.700", ">= 0.600 +- 0.010", ">= 0.500", "    0.800", "~ 0.400"]
    assert all(cell in line for cell, line in zip(cells, lines[2:8], strict=True)) and ">=" not in lines[2]
    assert any("8 most probable types alone, renormalised" in line for line in lines)
    assert any("16 or 4 most probable types" in line and "lower bound" in line for line in lines)
    assert "lower bound" not in format_table(rows[:1])


def test_empty_columns_are_left_out() -> None:
    head = format_table([result("a", temperature=None)]).splitlines()[0]
    assert head.split("  ")[0] == "system" and "BLEU" in head
    assert not {"T", "method", "KL to truth", "valid ppl"} & set(head.replace("  ", "\n").split("\n"))
    assert "KL to truth" in format_table([result("a"), result("b", kl_to_truth=0.0)])


def test_the_pair_is_shown_if_there_are_several() -> None:
    """Rows of older versions have none."""
    rows = [result("a", pair="de-en"), result("b")]
    assert "pair" not in format_table(rows)
    assert "fr-en" in format_table([*rows, result("c", pair="fr-en")])


def test_a_zero_is_a_value() -> None:
    assert format_table([result("a", teacher_smoothing=0.0)]).splitlines()[2].split()[1] == "0.0"


def test_every_signature_is_shown_once() -> None:
    other = result("b", signature="nrefs:1|tok:intl|version:2.5.1")
    end = format_table([result("a"), other, result("c")]).split("\n\n")[1]
    assert end.splitlines() == [f"BLEU: {BLEU}", "BLEU: nrefs:1|tok:intl|version:2.5.1", f"chrF: {CHRF}"]


@pytest.mark.parametrize(
    ("style", "row"),
    [
        ("github", "| word-0.1 |          0.1 | word     | 2.0 |          400 |    9.1 |"),
        ("tsv", "word-0.1\t         0.1\tword    \t2.0\t         400\t   9.1\t"),
        ("latex", " word-0.1 &          0.1 & word     & 2.0 &          400 &    9.1 &"),
    ],
)
def test_other_styles(style: str, row: str) -> None:
    assert any(line.startswith(row) for line in format_table(RECORDS, style).splitlines())


def test_notes_in_latex_have_its_escapes() -> None:
    rows = [result("a_b", method="word", cached=True, kd_top_k=8, kd_rest="renormalise", train_kd_loss=0.4)]
    notes = format_table(rows, "latex_booktabs", ["warning: 5 % {of} a^b > c"]).partition("\n\n")[2].splitlines()
    assert notes[0] == r"BLEU: nrefs:1\textbar{}tok:13a\textbar{}version:2.5.1"
    assert notes[2].startswith(r"train KD, \textasciitilde{}: computed")  # as in the cell
    assert notes[-1] == r"warning: 5 \% \{of\} a\^{}b \ensuremath{>} c"


def test_deviations_are_explained_without_bleu_too() -> None:
    scores = {"chrf": 54.0, "chrf_std": 1.0, "chrf_signature": CHRF}
    assert "+-: standard deviation over seeds" in format_table([{"system": "a", **scores}])
    assert "+-" not in format_table(RECORDS)


@pytest.mark.parametrize("style", ["simple", "github", "latex_booktabs", "tsv", "html"])
def test_unconverged_systems_are_marked_in_every_style(style: str) -> None:
    rows = [
        result("done", updates=1200, converged=True),
        result("short", updates=1100, converged=False),
        result("brief", updates=90, converged=None),
        result("old"),
    ]
    text = format_table(rows, style)
    assert "short !" in text and "1,200" in text
    assert not any(f"{name} !" in text for name in ("done", "brief", "old"))
    assert len([line for line in text.splitlines() if line.startswith("!: ") and "last fifth" in line]) == 1
    assert "!" not in format_table([rows[0], rows[2], rows[3]], "simple")


class TestCommand:
    @pytest.fixture(autouse=True)
    def files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for name, record in zip("ab", RECORDS, strict=True):
            Path(f"{name}.json").write_text(json.dumps(record))

    def refused(self, *words: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main(["table", *words, "--out", "results.json"])
        assert not Path("results.json").exists()
        return str(caught.value.code)

    def test_gathers_records_and_prints_them(self, capsys: pytest.CaptureFixture) -> None:
        assert main(["table", "a.json", "b.json", "--out", "all/results.json"]) == 0
        assert json.loads(Path("all/results.json").read_text()) == RECORDS
        assert capsys.readouterr().out == format_table(RECORDS) + "\n"

    def test_reads_what_it_gathered(self, capsys: pytest.CaptureFixture) -> None:
        main(["table", "a.json", "b.json", "--out", "results.json"])
        capsys.readouterr()
        assert main(["table", "results.json", "--style", "github"]) == 0
        assert capsys.readouterr().out == format_table(RECORDS, "github") + "\n"
        assert main(["table", "results.json", "--style", "markdown"]) == 0
        assert capsys.readouterr().out == format_table(RECORDS, "github") + "\n"

    def test_refuses_an_unknown_style_and_names_the_known(self) -> None:
        said = self.refused("a.json", "--style", "fancy")
        assert said.startswith("lskd table: error: --style fancy: expected one of ") and "github" in said

    @pytest.mark.parametrize("content", ["", "{", "text", "\udcff"])
    def test_refuses_invalid_json(self, content: str) -> None:
        Path("c.json").write_bytes(content.encode("utf-8", "surrogateescape"))
        assert self.refused("a.json", "c.json").startswith("lskd table: error: c.json: ")

    def test_refuses_a_file_that_is_not_there(self) -> None:
        assert self.refused("c.json").startswith("lskd table: error: c.json: no such file. Score")

    @pytest.mark.parametrize("without", ["signature", "chrf_signature"])
    def test_refuses_a_score_without_a_signature(self, without: str) -> None:
        Path("c.json").write_text(json.dumps({key: value for key, value in result("c").items() if key != without}))
        assert "no sacreBLEU signature" in self.refused("a.json", "c.json")

    @pytest.mark.parametrize("content", ["3", '"text"', "[1]"])
    def test_refuses_other_json(self, content: str) -> None:
        Path("c.json").write_text(content)
        assert "expected the JSON that `lskd record`" in self.refused("a.json", "c.json")

    def test_refuses_an_empty_list(self) -> None:
        Path("c.json").write_text("[]")
        assert self.refused("c.json").startswith("lskd table: error: c.json: there are no records")

    def test_exits_silently_when_the_pipe_is_closed(self) -> None:
        # The output is larger than the buffer of a pipe.
        many = [row | {"system": f"{row['system']}-{number}"} for number in range(1000) for row in RECORDS]
        Path("many.json").write_text(json.dumps(many))
        command = [sys.executable, "-m", "fairseq_lskd.cli", "table", "many.json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline().startswith("system")
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 141
