"""Sequence-level distillation of a multilingual student: one teacher for each pair, and one folder of training data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from multilingual import MARKS, MULTI, PAIRS, binarise_pairs, fairseq_generate, fairseq_train, make_task, trained

from fairseq_lskd.cli import main


def test_translations_of_several_teachers_become_the_data_of_one_student(tmp_path: Path) -> None:
    """The commands of docs/tasks.md. Each teacher knows one pair, and translates that pair alone."""
    data, out = binarise_pairs(tmp_path), tmp_path / "1-best"
    out.mkdir()
    texts = {}
    for pair in PAIRS:
        languages = ["-s", pair[:2], "-t", pair[3:]]
        teacher = trained(tmp_path / f"{pair}.pt", data, "--task", "translation", *languages, updates=60)
        search = ["--beam", "2", "--max-len-a", "1", "--max-len-b", "4", "--engine", "fairseq"]
        nbest, folder = tmp_path / f"{pair}.jsonl", tmp_path / pair
        main(["translate", str(data), *languages, "--teacher-path", str(teacher), "--out", str(nbest), *search])
        main(["select", str(nbest), *languages, "--student-data", str(data), "--out", str(folder)])
        for file in folder.glob("data-bin/*"):
            if file.suffix in (".bin", ".idx", ".txt"):
                shutil.copy(file, out)
        texts[pair] = (folder / f"train.{pair[3:]}").read_text().splitlines()
    task = make_task(out, *MULTI, *MARKS)
    assert task.target_dictionary.symbols == make_task(data, *MULTI, *MARKS).target_dictionary.symbols
    for pair, dataset in zip(PAIRS, task.dataset("train").datasets, strict=True):
        found = [task.target_dictionary.string(dataset[i]["target"][1:]) for i in range(len(dataset))]
        assert found == texts[pair] and len(set(found)) > 10


@pytest.mark.slow
def test_the_student_trains_and_decodes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the word level of the same teachers on top."""
    caplog.set_level("INFO")  # for --log-file
    data = binarise_pairs(tmp_path)
    teachers = {
        pair: trained(tmp_path / f"{pair}.pt", data, "--task", "translation", "-s", pair[:2], "-t", "en", updates=9)
        for pair in PAIRS
    }
    path = ",".join(f"{pair}={teacher}" for pair, teacher in teachers.items())
    found = fairseq_train(data, tmp_path / "out", *MULTI, *MARKS, "--criterion", "seq_kd", "--teacher-path", path)
    assert float(found["valid_kd_loss"]) > 0
    flags = [*MULTI, *MARKS, "-s", "fr", "-t", "en"]
    assert len(fairseq_generate(data, tmp_path / "out" / "checkpoint_last.pt", *flags)) == 9
