"""`--user-dir` with a user's architecture, task and criterion, in every command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from compat.conftest import fairseq, run, succeeded
from tiny import MODEL, TRAIN

from fairseq_lskd.errors import UserError
from fairseq_lskd.user_dir import import_user_dirs

INIT = "import fairseq_lskd.criterions\nfrom . import model, task, criterion\n"
FILES = {
    "__init__.py": INIT,
    "model.py": """
from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer import TransformerModel, base_architecture

@register_model("mine_model")
class MineModel(TransformerModel):
    pass

register_model_architecture("mine_model", "mine_arch")(base_architecture)
""",
    "task.py": """
from dataclasses import dataclass, field
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask

@dataclass
class MineConfig(TranslationConfig):
    mine_option: int = field(default=3, metadata={"help": "of mine"})

@register_task("mine_task", dataclass=MineConfig)
class MineTask(TranslationTask):
    pass
""",
    "criterion.py": """
from dataclasses import dataclass, field
from fairseq.criterions import register_criterion
from fairseq_lskd.criterions.word_kd import WordKDConfig, WordKDCriterion

@dataclass
class MineKDConfig(WordKDConfig):
    mine_weight: float = field(default=0.25, metadata={"help": "a weight of mine"})

@register_criterion("mine_kd", dataclass=MineKDConfig)
class MineKDCriterion(WordKDCriterion):
    NAME = "mine_kd"
""",
}
OWN = ["--arch", "mine_arch", *MODEL[2:], "--task", "mine_task"]
BRIEF = ["--max-update", "2", "--no-epoch-checkpoints", "--disable-validation", "--log-format", "json"]


def write_modules(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in {**FILES, **{f"{stem}.py": text for stem, text in files.items()}}.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_modules(tmp_path_factory.mktemp("own") / "mine_modules")


@pytest.fixture(scope="module")
def teacher(bitext: Path, mine: Path) -> Path:
    """A checkpoint of fairseq-train with an architecture and a task of the folder."""
    out = mine.parent / "teacher"
    words = [bitext, "--user-dir", mine, *TRAIN, *OWN, "--criterion", "label_smoothed_teacher", *BRIEF]
    succeeded(fairseq("train", *words, "--save-dir", out))
    return out / "checkpoint_last.pt"


def run_each(folder: Path, *commands: list[object]) -> list[tuple[object, str]]:
    """Run `lskd` commands in a new Python. Return the exit status (or message) and the output of each."""
    code = (
        "import contextlib, io, json, sys\nfrom fairseq_lskd.cli import main\nfound = []\n"
        "for words in json.load(sys.stdin):\n"
        "    said = io.StringIO()\n"
        "    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):\n"
        "        try:\n            status = main(words)\n"
        "        except SystemExit as end:\n            status = end.code\n"
        "    found.append([status, said.getvalue()])\n"
        "json.dump(found, open(sys.argv[1], 'w'))\n"
    )
    words = json.dumps([[str(word) for word in words] for words in commands])
    succeeded(run([sys.executable, "-c", code, str(folder / "found.json")], text=words))
    return [tuple(pair) for pair in json.loads((folder / "found.json").read_text())]


def building(bitext: Path, teacher: Path, out: Path) -> list[list[object]]:
    """The commands that build a model from a checkpoint."""
    options = ["--engine", "fairseq", "--max-tokens", 500, "--threads", 1]
    return [
        ["cache", bitext, "--teacher-path", teacher, "--out", out / "cache", "--top-k", 4, "--cpu"],
        ["translate", bitext, "--teacher-path", teacher, "--teacher-data", bitext, "--out", out / "n.jsonl", *options],
        ["analyze", "--teacher", teacher, "--data", bitext, "--out", out / "analysis", "--min-count", 2, "--cpu"],
        ["export", teacher, "--teacher-data", bitext, "--out", out / "exported"],
    ]


def test_every_command_that_builds_a_model(bitext, mine, teacher, tmp_path):
    commands = [[*words, "--user-dir", mine] for words in building(bitext, teacher, tmp_path)]
    cached, translated, analysed, exported = run_each(tmp_path, *commands)
    assert cached[0] == translated[0] == analysed[0] == 0, (cached, translated, analysed)
    assert (tmp_path / "cache/cache.json").is_file()
    assert (tmp_path / "analysis/report.html").is_file()
    assert len((tmp_path / "n.jsonl").read_text().splitlines()) == 60
    # The export stops at the SentencePiece model, which this bitext does not have.
    assert "--sentencepiece" in exported[0]


def test_without_the_folder_each_says_what_to_give(bitext, mine, teacher, tmp_path):
    for status, said in run_each(tmp_path, *building(bitext, teacher, tmp_path)):
        message = f"{status} {said}"
        assert "mine_arch" in message and "mine_task" in message
        assert f"--user-dir {mine}" in message
        assert "Traceback" not in message and "Replacement index" not in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.json"]


def test_a_teacher_of_the_folder_at_word_level(bitext, mine, teacher, tmp_path):
    start = [bitext, *TRAIN, "--criterion", "word_kd", "--teacher-path", teacher, *BRIEF, "--save-dir", tmp_path]
    plugin = Path(sys.modules["fairseq_lskd"].__file__).parent
    done = fairseq("train", *start, "--user-dir", plugin, *MODEL)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "mine_arch" in done.stderr and f"--user-dir {mine}" in done.stderr
    # The student has fairseq's task translation.
    succeeded(fairseq("train", *start, "--user-dir", mine, *MODEL))
    assert (tmp_path / "checkpoint_last.pt").is_file()


def test_a_criterion_of_the_folder(mine, tmp_path):
    (status, said), (unknown, _) = run_each(
        tmp_path, ["criterion", "mine_kd", "--user-dir", mine], ["criterion", "mine_typo"]
    )
    assert status == 0
    assert "--mine-weight" in said and "--kd-weight" in said and f"--user-dir {mine}" in said
    assert "mine_typo" in unknown and "word_kd" in unknown and "--user-dir" in unknown


@pytest.mark.parametrize("name", ["generate", "validate"])
def test_plain_fairseq_says_which_name_it_lacks(name, bitext, teacher):
    done = fairseq(
        name, bitext, "--path", teacher, "--cpu", "-s", "de", "-t", "en", "--task", "translation", "--max-tokens", 400
    )
    assert done.returncode != 0
    assert "--user-dir" in done.stderr.splitlines()[-1] and "mine_" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_old_checkpoint_that_names_what_is_not_there(teacher, mine, tmp_path):
    code = (
        "import argparse, sys, torch, fairseq\n"
        "from fairseq_lskd.errors import UserError\nfrom fairseq_lskd.teachers.checkpoint import read_checkpoint\n"
        "state = torch.load(sys.argv[1], weights_only=True)\n"
        "state['args'], state['cfg'] = argparse.Namespace(arch='mine_arch', task='mine_task', user_dir='there'), None\n"
        "torch.save(state, 'old.pt')\n"
        "try:\n    read_checkpoint('old.pt')\nexcept UserError as error:\n    print(error)\n"
    )
    said = succeeded(run([sys.executable, "-c", code, str(teacher)], cwd=tmp_path))
    assert "mine_arch" in said and "mine_task" in said and "--user-dir there" in said


# Folders that cannot be imported


def fails(*folders: Path) -> str:
    """Return the message, and let fairseq forget the folders, which it would name to other tests' processes."""
    from fairseq.utils import import_user_module

    before = set(getattr(import_user_module, "memo", ()))
    with pytest.raises(UserError) as caught:
        import_user_dirs([str(folder) for folder in folders])
    if hasattr(import_user_module, "memo"):
        import_user_module.memo.intersection_update(before)
    return str(caught.value)


def test_folders_without_modules_are_refused(tmp_path):
    (tmp_path / "one.py").write_text("")
    (tmp_path / "bare").mkdir()
    assert f"--user-dir {tmp_path / 'nowhere'}: no such folder" in fails(tmp_path / "nowhere")
    assert "a file" in fails(tmp_path / "one.py")
    assert "__init__.py" in fails(tmp_path / "bare")


def test_a_failed_import_ends_with_its_traceback(tmp_path):
    said = fails(write_modules(tmp_path / "mine_that_fails", model="import module_that_nobody_has\n"))
    assert str(tmp_path / "mine_that_fails") in said.splitlines()[0]
    assert said.splitlines()[-1].strip() == "ModuleNotFoundError: No module named 'module_that_nobody_has'"
    assert 'model.py", line 1' in said


def test_two_modules_of_one_name(tmp_path):
    twice = 'from fairseq.models import register_model_architecture as r\nr("transformer", "transformer")(print)\n'
    said = fails(write_modules(tmp_path / "mine_twice", model=twice))
    assert "two modules register the same name" in said and "Cannot register duplicate model architecture" in said


def test_a_folder_that_is_called_like_another_module(tmp_path):
    assert "rename the folder" in fails(write_modules(tmp_path / "json"))
    # fairseq has a package of this name, but not at the top
    succeeded(run([sys.executable, "-m", "fairseq_lskd.user_dir", write_modules(tmp_path / "models")]))


def test_the_folder_of_this_package_is_accepted():
    import_user_dirs([str(Path(sys.modules["fairseq_lskd"].__file__).parent)])
