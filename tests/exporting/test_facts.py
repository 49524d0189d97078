"""The entry of an exported folder in a result record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairseq_lskd.errors import UserError

pytest.importorskip("ctranslate2")

from fairseq_lskd.export.facts import exported_facts, read_manifest
from fairseq_lskd.scoring.metrics import score_corpus


def test_scores_equal_those_of_score_corpus(checkpoint: Path, folders: dict[str, Path]) -> None:
    hypotheses, references = ["A B C D E.", "F G H I."], ["A B C D E.", "F G H J."]
    found = exported_facts(folders["int8"], checkpoint, hypotheses, [references], ("bleu", "ter"), None)
    scores = score_corpus(hypotheses, references, metrics=("bleu", "ter"))
    assert (found["bleu"], found["ter"]) == (scores["bleu"], scores["ter"]) and "chrf" not in found
    files = [path for path in folders["int8"].iterdir() if path.name != "export.json"]
    assert found["bytes"] == sum(path.stat().st_size for path in files)
    assert found["compute_type"] == "int8" and found["ctranslate2"]


def test_a_folder_of_another_checkpoint_is_refused(tmp_path: Path, folders: dict[str, Path]) -> None:
    other = tmp_path / "other.pt"
    other.write_bytes(b"")
    with pytest.raises(UserError, match=r"exported-int8 .*another checkpoint than .*other\.pt"):
        exported_facts(folders["int8"], other, ["a"], [["a"]], ("bleu",), None)
    with pytest.raises(UserError, match=r"export\.json"):
        exported_facts(tmp_path, other, ["a"], [["a"]], ("bleu",), None)


@pytest.mark.parametrize("field", ["inputs", "options", "max_positions", "versions"])
@pytest.mark.parametrize("value", [None, 3, [], {}], ids=str)
def test_a_manifest_of_another_form_is_refused(field: str, value: object, tmp_path: Path) -> None:
    good = {"inputs": {"checkpoint": "a"}, "options": {"compute-type": "int8"}, "max_positions": [9, 9]}
    good |= {"versions": {"ctranslate2": "4.0"}}
    (tmp_path / "export.json").write_text(json.dumps(good))
    assert read_manifest(tmp_path) == good
    (tmp_path / "export.json").write_text(json.dumps(good | {field: value}))
    with pytest.raises(UserError, match=r"export\.json: .*" + field):
        read_manifest(tmp_path)
