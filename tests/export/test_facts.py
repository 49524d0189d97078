"""What a result record says of an exported folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairseq_lskd.errors import UserError

pytest.importorskip("ctranslate2")

from fairseq_lskd.export.facts import exported_facts
from fairseq_lskd.scoring.metrics import score_corpus


def test_scores_are_those_of_the_same_call(checkpoint: Path, folders: dict[str, Path]) -> None:
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
    with pytest.raises(UserError, match=r"exported-int8 was exported from another checkpoint than .*other\.pt"):
        exported_facts(folders["int8"], other, ["a"], [["a"]], ("bleu",), None)
    with pytest.raises(UserError, match=r"export\.json"):
        exported_facts(tmp_path, other, ["a"], [["a"]], ("bleu",), None)
