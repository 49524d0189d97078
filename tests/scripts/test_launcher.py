"""The training command on one GPU, several, and several machines: the same tokens in every update."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: A student's training in each script; the teacher's is train_teacher.sh without --size.
SCRIPTS = {
    "train_teacher.sh": ["--size", "student"],
    "distill_word.sh": ["--teacher", "t.pt"],
    "distill_seq.sh": ["--teacher", "t.pt"],
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Prepared data, and an `lskd` that prints its arguments."""
    (tmp_path / "data/pieces").mkdir(parents=True)
    (tmp_path / "data/bin").mkdir()
    (tmp_path / "out").mkdir()
    options = {"source-lang": "en", "target-lang": "de", "recipe": "moses-bpe"}
    (tmp_path / "data/pieces/encode.json").write_text(json.dumps({"options": options}))
    (tmp_path / "data/raw").mkdir()
    for name in ("bin/dict.en.txt", "bin/dict.de.txt", "raw/train.de.gz", "raw/test.en", "raw/test.de"):
        (tmp_path / "data" / name).write_text("")
    bin = tmp_path / "commands"
    bin.mkdir()
    for name, does in (
        ("lskd", 'printf "%q " "$@"; echo; env | grep ^PET_ || true'),
        ("scontrol", "echo first; echo second"),
        ("nvidia-smi", "echo GPU 0"),
        # Imports torch and fairseq, which takes seconds.
        ("python", f'[ "$2" = fairseq_lskd.criterions.command_line ] || exec {sys.executable} "$@"'),
    ):
        (bin / name).write_text(f"#!/bin/bash\n{does}\n")
        (bin / name).chmod(0o755)
    return tmp_path


def call(home: Path, script: str, *words: str, **environment: str) -> subprocess.CompletedProcess:
    out = [] if script == "score.sh" else ["--out", "out"]
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / script), "--data", "data", *out, *words],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=home,
        env={"PATH": f"{home}/commands:{os.environ['PATH']}"} | environment,
    )


def training(home: Path, script: str, *words: str, **environment: str) -> list[str]:
    """Return the training command that a script passes to `lskd run`."""
    done = call(home, script, *words, **environment)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("run ")]
    words = shlex.split(line)
    return words[words.index("--") + 1 :]


def option(command: list[str], name: str) -> str:
    """Return the value of an option, the last one if it occurs more than once."""
    return command[len(command) - command[::-1].index(name)]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("given", [["--save-dir", "other"], ["--max-update", "3", "--save-dir=other"]], ids=" ".join)
def test_another_folder_for_checkpoints_is_refused(home: Path, script: str, given: list[str]) -> None:
    done = call(home, script, *SCRIPTS[script], "--", *given)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{script}: error: --save-dir after --: --out names the folder. Leave out --save-dir\n"


@pytest.mark.parametrize("script", SCRIPTS)
def test_one_gpu_accumulates_the_batches_of_eight(home: Path, script: str) -> None:
    command = training(home, script, *SCRIPTS[script], "--recipe", "wmt14-en-de-big")
    assert command[0] == "fairseq-train"
    assert option(command, "--update-freq") == "8" and option(command, "--max-tokens") == "4096"
    # fairseq would take all the GPUs that the machine has.
    assert option(command, "--distributed-world-size") == "1" and "--fp16" in command


@pytest.mark.parametrize("script", SCRIPTS)
def test_eight_gpus_use_torchrun(home: Path, script: str) -> None:
    command = training(home, script, *SCRIPTS[script], "--recipe", "wmt14-en-de-big", "--gpus", "8")
    assert command[:6] == ["torchrun", "--standalone", "--nproc_per_node", "8", "-m", "fairseq_cli.train"]
    assert option(command, "--update-freq") == "1" and "--distributed-world-size" not in command


@pytest.mark.parametrize(("gpus", "frequency"), [("1", "128"), ("4", "32"), ("8", "16")])
def test_a_teacher_has_batches_of_its_own(home: Path, gpus: str, frequency: str) -> None:
    command = training(home, "train_teacher.sh", "--recipe", "wmt14-en-de-big", "--gpus", gpus)
    assert option(command, "--update-freq") == frequency and option(command, "--max-tokens") == "3584"
    assert option(command, "--lr") == "1e-3" and option(command, "--max-update") == "30000"


def test_several_machines(home: Path) -> None:
    slurm = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-2]"}
    words = ["--recipe", "wmt14-en-de-big", "--gpus", "8", "--nodes", "2"]
    command = training(home, "train_teacher.sh", *words, **slurm)
    start = "srun --ntasks 2 --ntasks-per-node 1 torchrun --nnodes 2 --nproc_per_node 8 -m fairseq_cli.train data/bin"
    assert shlex.join(command).startswith(start)
    assert option(command, "--update-freq") == "8"
    said = call(home, "train_teacher.sh", *words, **slurm).stdout
    # The run's command names no machine, so that a job that SLURM restarts on other nodes is the same run.
    assert "PET_RDZV_ENDPOINT=first:20007" in said and "PET_RDZV_BACKEND=c10d" in said and "first" not in command


def test_torchrun_reads_where_to_meet_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.run import parse_args

    for name, value in (("BACKEND", "c10d"), ("ID", "7"), ("ENDPOINT", "first:20007")):
        monkeypatch.setenv(f"PET_RDZV_{name}", value)
    args = parse_args(["--nnodes", "2", "--nproc_per_node", "8", "-m", "fairseq_cli.train", "data"])
    assert (args.rdzv_backend, args.rdzv_id, args.rdzv_endpoint) == ("c10d", "7", "first:20007")


def test_a_recipe_without_batches_has_one(home: Path) -> None:
    command = training(home, "train_teacher.sh", "--recipe", "multi30k")
    assert option(command, "--update-freq") == "1" and "--fp16" not in command


def test_on_a_cpu_there_is_no_half_precision(home: Path) -> None:
    command = training(home, "train_teacher.sh", "--recipe", "wmt14-en-de-base", "--", "--cpu")
    assert "--fp16" not in command and command[-1] == "--cpu"
    for hidden in ("", "-1"):
        command = training(home, "train_teacher.sh", "--recipe", "wmt14-en-de-base", CUDA_VISIBLE_DEVICES=hidden)
        assert "--fp16" not in command
    command = training(home, "train_teacher.sh", "--recipe", "wmt14-en-de-base", CUDA_VISIBLE_DEVICES="1")
    assert "--fp16" in command


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["--gpus", "3"], ["--gpus 3 --nodes 1", "8 times --max-tokens", "3 GPUs", "divides 8"]),
        (["--gpus", "x"], ["--gpus x --nodes 1", "whole numbers"]),
        (["--gpus", "0"], ["--gpus 0 --nodes 1", "at least 1"]),
        (["--gpus", "4", "--nodes", "2"], ["--nodes 2", "SLURM job", "found none", "scripts/slurm.sbatch"]),
    ],
)
def test_impossible_numbers_of_gpus_are_refused(home: Path, words: list[str], facts: list[str]) -> None:
    done = call(home, "train_teacher.sh", "--recipe", "wmt14-en-de-base", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("train_teacher.sh: error: ") and all(fact in done.stderr for fact in facts)


def test_two_dictionaries_share_what_they_can(home: Path) -> None:
    path = home / "data/pieces/encode.json"
    path.write_text(path.read_text().replace('"recipe"', '"separate": true, "recipe"'))
    for size in ("teacher", "student"):
        command = training(home, "train_teacher.sh", "--recipe", "iwslt14-de-en", "--size", size)
        assert "--share-decoder-input-output-embed" in command and "--share-all-embeddings" not in command


@pytest.mark.parametrize("script", SCRIPTS)
def test_teachers_and_students_are_validated_by_one_rule(home: Path, script: str) -> None:
    command = training(home, script, *SCRIPTS[script], "--recipe", "multi30k")
    assert option(command, "--best-checkpoint-metric") == "bleu" and "--maximize-best-checkpoint-metric" in command
    assert json.loads(option(command, "--eval-bleu-args"))["beam"] == 1
    assert option(command, "--eval-bleu-remove-bpe") == "subword_nmt" and int(option(command, "--patience")) > 0
    command = training(home, script, *SCRIPTS[script], "--recipe", "multi30k", "--validation-metric", "loss")
    assert "--eval-bleu" not in command and "--maximize-best-checkpoint-metric" not in command
    assert int(option(command, "--patience")) > 0
    # The user's own metric may be one that is better where it is smaller.
    command = training(home, script, *SCRIPTS[script], "--", "--best-checkpoint-metric", "ppl")
    assert "--eval-bleu" in command and "--maximize-best-checkpoint-metric" not in command


@pytest.mark.parametrize("script", SCRIPTS)
def test_options_of_a_recipe_for_taught_students_alone(home: Path, script: str) -> None:
    recipe = home / "mine.sh"
    recipe.write_text(f"""{(ROOT / "scripts/recipes/multi30k.sh").read_text()}\ndistilled=(--dropout 0.07)\n""")
    command = training(home, script, *SCRIPTS[script], "--recipe", str(recipe))
    last = command[len(command) - 1 - command[::-1].index("--dropout") + 1]  # which is what fairseq takes
    assert (last == "0.07") == (script != "train_teacher.sh")


def test_a_wrong_option_is_refused_before_the_teacher_translates(home: Path) -> None:
    (home / "commands/python").write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    (home / "w.pt").touch()
    done = call(home, "distill_seq.sh", "--teacher", "t.pt", "--word-level", "w.pt", "--kd-weight", "1.5")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("fairseq-train: error: --kd-weight 1.5:")


def test_a_teacher_and_a_cache_are_refused(home: Path) -> None:
    done = call(home, "distill_word.sh", "--teacher", "t.pt", "--teacher-cache", "cache")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "--teacher t.pt" in done.stderr and "--teacher-cache cache" in done.stderr


def test_early_stopping_that_cannot_happen_is_refused_before_the_teacher_translates(home: Path) -> None:
    (home / "commands/python").write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    done = call(home, "distill_seq.sh", "--teacher", "t.pt", "--", "--max-update", "30")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--patience" in done.stderr and "--save-interval-updates" in done.stderr and "30" in done.stderr


def test_bleu_of_pieces_where_there_are_no_spaces(home: Path) -> None:
    path = home / "data/pieces/encode.json"
    path.write_text(path.read_text().replace('"de"', '"ja"'))
    (home / "data/bin/dict.ja.txt").touch()
    command = training(home, "train_teacher.sh", "--recipe", "multi30k")
    assert "--eval-tokenized-bleu" in command and "--eval-bleu-remove-bpe" not in command


def test_another_task_does_not_compute_bleu(home: Path) -> None:
    own, metric = ["--", "--task", "mine"], ["--validation-metric", "bleu"]
    assert "--eval-bleu" not in training(home, "train_teacher.sh", *own)
    assert "--eval-bleu" in training(home, "train_teacher.sh", *metric, *own)
    assert "--eval-bleu" in training(home, "train_teacher.sh", "--", "--task", "translation")


@pytest.mark.parametrize(
    ("lines", "words", "facts"),
    [
        ("", ["--validation-metric", "ter"], ["--validation-metric ter", "bleu or loss"]),
        ("validation_metric=ter", [], ["validation_metric ter", "bleu or loss"]),
        *((f"patience={word}", [], [f"patience {word}", "from 1"]) for word in ("0", "many", "-1")),
    ],
)
def test_wrong_early_stopping_is_refused(home: Path, lines: str, words: list[str], facts: list[str]) -> None:
    recipe = home / "mine.sh"
    recipe.write_text(f'. "$root/scripts/recipes/multi30k.sh"\n{lines}\n')
    done = call(home, "train_teacher.sh", "--recipe", "./mine.sh", *words)
    assert done.returncode == 1 and done.stdout == "" and all(fact in done.stderr for fact in facts)


def test_pieces_are_joined_as_they_were_cut(home: Path) -> None:
    said = call(home, "distill_seq.sh", "--teacher", "t.pt", "--recipe", "multi30k").stdout
    assert "select " in said and "--remove-bpe subword_nmt" in said


@pytest.mark.parametrize(("strategy", "nbest"), [("1-best", "1"), ("n-best", "5"), ("nearest", "5")])
def test_strategies_other_than_1_best_get_several_hypotheses(home: Path, strategy: str, nbest: str) -> None:
    said = call(home, "distill_seq.sh", "--teacher", "t.pt", "--strategy", strategy).stdout
    (line,) = [line for line in said.splitlines() if line.startswith("translate ")]
    assert option(shlex.split(line), "--nbest") == nbest


def test_samples_instead_of_a_beam(home: Path) -> None:
    words = ["--strategy", "mbr-n", "--samples", "16"]
    said = call(home, "distill_seq.sh", "--teacher", "t.pt", *words).stdout
    (line,) = [shlex.split(line) for line in said.splitlines() if line.startswith("translate ")]
    assert "--sampling" in line and (option(line, "--beam"), option(line, "--nbest")) == ("16", "16")
    wrong = call(home, "distill_seq.sh", "--translations", "n.jsonl", *words)
    assert "--samples 16 --translations n.jsonl: expected one of them" in wrong.stderr
    assert (
        "--samples 1: expected a number from 2"
        in call(home, "distill_seq.sh", "--teacher", "t.pt", "--samples", "1").stderr
    )


def test_translations_of_the_validation_side_end_the_training(home: Path) -> None:
    words = ["--teacher", "t.pt", "--valid-translations", "v.jsonl"]
    assert "--valid-translations v.jsonl: no such file" in call(home, "distill_seq.sh", *words).stderr
    (home / "v.jsonl").touch()
    said = call(home, "distill_seq.sh", *words, "--recipe", "multi30k").stdout
    (selected,) = [line for line in said.splitlines() if line.startswith("select ")]
    assert option(shlex.split(selected), "--valid-translations") == "v.jsonl"
    (trained,) = [line for line in said.splitlines() if line.startswith("run ")]
    assert option(shlex.split(trained), "--valid-subset") == "valid1,valid"
    assert "--ignore-unused-valid-subsets" in trained and "--eval-bleu" not in trained


def test_selected_pairs_need_no_translation(home: Path) -> None:
    made = home / "mono/data-bin"
    made.mkdir(parents=True)
    (home / "mono/select.json").touch()
    words = ["--selected", "mono", "--recipe", "multi30k"]
    assert "expected data-bin/dict.en.txt as in data/bin" in call(home, "distill_seq.sh", *words).stderr
    for language in ("en", "de"):
        (made / f"dict.{language}.txt").touch()
    command = training(home, "distill_seq.sh", *words)
    assert command[1] == "mono/data-bin" and option(command, "--sequence-weights") == "mono/train.weights.npz"
    assert "--eval-bleu" in command and "--valid-subset" not in command
    said = call(home, "distill_seq.sh", *words, "--word-level", "t.pt", "--cache-top-k", "8").stderr
    assert "--word-level t.pt: no such file" in said
    (home / "t.pt").touch()
    said = call(home, "distill_seq.sh", *words, "--word-level", "t.pt", "--cache-top-k", "8").stdout
    assert [line.split()[0] for line in said.splitlines()] == ["cache", "run", "average"]
    assert "cache mono/data-bin" in said and "--out out-data/top-k" in said
    (made / "valid1.en-de.en.idx").touch()
    command = training(home, "distill_seq.sh", *words)
    assert option(command, "--valid-subset") == "valid1,valid" and "--eval-bleu" not in command


def prepare_for_a_teacher(home: Path, target: str = "de") -> None:
    """The teacher's data in `big`, in pieces of subword-nmt; the student's in `data`, in those of SentencePiece."""
    (home / "big").mkdir()
    shutil.copytree(home / "data/pieces", home / "big/pieces")
    for folder, options in (("big", {"target-lang": target, "recipe": "moses-bpe"}), ("data", {"target-lang": "de"})):
        (home / folder / "pieces/encode.json").write_text(json.dumps({"options": {"source-lang": "en", **options}}))


@pytest.mark.parametrize("separate", [False, True])
def test_a_teacher_with_another_vocabulary(home: Path, separate: bool) -> None:
    prepare_for_a_teacher(home)
    models = [f"data/pieces/spm{part}.model" for part in ((".en", ".de") if separate else ("", ""))]
    if separate:
        options = {"source-lang": "en", "target-lang": "de", "separate": True}
        (home / "data/pieces/encode.json").write_text(json.dumps({"options": options}))
    for model in models:
        (home / model).touch()
    done = call(home, "distill_seq.sh", "--teacher", "t.pt", "--teacher-data", "big/")
    said = [shlex.split(line) for line in done.stdout.splitlines()]
    assert [line[0] for line in said] == ["translate", "select", "run", "average"], done.stderr
    translate, select, run, _ = said
    assert translate[1] == "big/pieces/train.en"
    # The list is in the teacher's pieces; the student's data are in its own.
    assert (option(select, "--source"), option(select, "--remove-bpe")) == ("big/pieces/train.en", "subword_nmt")
    assert option(select, "--references") == "big/pieces/train.de"
    assert [option(select, f"--sentencepiece-{side}") for side in ("source", "target")] == models
    assert option(select, "--student-data") == "data/bin" and option(run, "--input") == "data/pieces/encode.json"
    # Without it, the translations keep their pieces.
    assert "--sentencepiece" not in call(home, "distill_seq.sh", "--teacher", "t.pt").stdout


def test_wrong_data_of_a_teacher(home: Path) -> None:
    words = ["--teacher", "t.pt", "--teacher-data"]
    assert "--teacher-data big: no prepared data" in call(home, "distill_seq.sh", *words, "big").stderr
    assert "--data none: no prepared data" in call(home, "distill_seq.sh", *words[:2], "--data", "none").stderr
    prepare_for_a_teacher(home, target="fr")
    assert "--teacher-data big is en-fr, but --data data is en-de" in call(home, "distill_seq.sh", *words, "big").stderr
    shutil.rmtree(home / "big")
    prepare_for_a_teacher(home)
    done = call(home, "distill_seq.sh", *words, "big")
    assert done.returncode == 1 and "no data/pieces/spm.model" in done.stderr and done.stdout == ""


def test_the_word_level_loss_has_weight_and_temperature(home: Path) -> None:
    words = ["--teacher", "t.pt", "--word-level", "w.pt"]
    # Before the training side is translated.
    assert "--word-level w.pt: no such file" in call(home, "distill_seq.sh", *words).stderr
    (home / "w.pt").touch()
    command = training(home, "distill_seq.sh", *words)
    assert (option(command, "--kd-weight"), option(command, "--kd-temperature")) == ("0.5", "1.0")
    command = training(home, "distill_seq.sh", *words, "--kd-weight", "0.3", "--kd-temperature", "2")
    assert (option(command, "--kd-weight"), option(command, "--kd-temperature")) == ("0.3", "2")


def test_a_word_level_teacher_with_another_vocabulary_is_refused_before_the_translation(home: Path) -> None:
    (home / "run").mkdir()
    (home / "run/w.pt").touch()
    (home / "data/bin/dict.de.txt").write_text("a 3\nb 2\n")
    call_with = ["distill_seq.sh", "--teacher", "t.pt", "--word-level", "run/w.pt"]
    # Without dictionaries beside the teacher nothing is compared. Counts do not matter, nor types at the end.
    assert call(home, *call_with).returncode == 0
    (home / "run/dict.de.txt").write_text("a 9\nb 8\n__en__ 1\n")
    assert call(home, *call_with).returncode == 0
    (home / "run/dict.de.txt").write_text("b 9\na 8\n")
    done = call(home, *call_with)
    assert (done.returncode, done.stdout) == (1, "")
    for fact in ("--word-level run/w.pt", "run/dict.de.txt", "data/bin/dict.de.txt", "leave --word-level out"):
        assert fact in done.stderr
    assert call(home, *call_with, "--", "--teacher-data", "theirs").returncode == 0


def test_labels_of_the_teacher_are_compared_before_the_translation(home: Path) -> None:
    python = home / "commands/python"
    compares = 'if [ "$2" = fairseq_lskd.records.teacher_labels ]; then echo "$3: error: $4, ${*:5}" >&2; exit 1; fi'
    python.write_text(python.read_text().replace("\n", f"\n{compares}\n", 1))
    (home / "w.pt").touch()
    words = ["--teacher-smoothing", "0.1", "--teacher-size", "large"]
    given = ["--teacher", "t.pt", "--word-level", "w.pt"]
    done = call(home, "distill_seq.sh", *given, *words)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "distill_seq.sh: error: t.pt:w.pt, teacher_smoothing=0.1 teacher_size=large\n"
    # Only the manifest of the selected translations tells whose they are: `lskd run` compares.
    done = call(home, "distill_seq.sh", "--translations", "nbest.jsonl", *words)
    assert "--label=teacher_smoothing=0.1 --label=teacher_size=large" in done.stdout and done.returncode == 0


def test_the_other_direction_of_the_data(home: Path) -> None:
    options = {"source-lang": "zh", "target-lang": "de"}
    (home / "data/pieces/encode.json").write_text(json.dumps({"options": options}))
    (home / "data/bin/dict.zh.txt").touch()
    (home / "recipe.sh").write_text('. "$root/scripts/recipes/multi30k.sh"\n')
    of = ["train_teacher.sh", "--recipe", "./recipe.sh", "--direction"]
    for direction, of_words in (("zh-de", True), ("de-zh", False)):
        command = training(home, *of, direction)
        assert (option(command, "-s"), option(command, "-t")) == tuple(direction.split("-"))
        # Chinese has no spaces between words, so its validation BLEU is of pieces.
        assert ("--eval-tokenized-bleu" in command, "--eval-bleu-remove-bpe" in command) == (not of_words, of_words)
    # A backward model of the wrong direction would be found out only after its training.
    said = "--direction zh-de is the direction of --data data; a backward model needs --direction de-zh\n"
    assert call(home, *of, "zh-de").stderr.endswith(said) and call(home, *of, "de-zh").stderr == ""
    done = call(home, *of, "de-fr")
    assert done.returncode == 1 and "--direction de-fr: --data data has zh and de" in done.stderr


def test_a_backward_model_filters_the_translations(home: Path) -> None:
    (home / "back").mkdir()
    words = ["distill_seq.sh", "--teacher", "t.pt", "--backward", "back/b.pt"]
    assert "--backward back/b.pt: no such file" in call(home, *words).stderr
    (home / "back/b.pt").touch()
    said = [shlex.split(line) for line in call(home, *words).stdout.splitlines()]
    assert [line[0] for line in said] == ["translate", "rescore", "select", "run", "average"]
    _, rescore, select, run, _ = said
    assert "filter_worst=0.05" in run
    assert rescore[1:3] == ["out-data/nbest.jsonl", "--backward"] and option(rescore, "--teacher-path") == "back/b.pt"
    place = select.index("--filter-worst")
    assert select[place + 1 : place + 3] == [option(rescore, "--out"), "0.05"]
    assert " --filter-worst out-data/backward.jsonl .1 " in call(home, *words, "--filter-worst", ".1").stdout
    # Before the training side is translated.
    for wrong, fact in (
        (["--filter-worst", "5"], "--filter-worst 5: expected a share"),
        (["--filter-worst", "0.0"], "--filter-worst 0.0: expected a share"),
        (["--filter-worst", "0.1", "--backward", ""], "--backward needs a value"),
    ):
        done = call(home, *words, *wrong)
        assert (done.returncode, done.stdout) == (1, "") and fact in done.stderr
    assert "--filter-worst 0.1 needs scores" in call(home, *words[:3], "--filter-worst", "0.1").stderr
    for pair, expected in (("de-en", 0), ("en-de", 1)):
        command = ["fairseq-train", "-s", pair[:2], "-t", pair[3:]]
        (home / "back/run.json").write_text(json.dumps({"command": command}))
        done = call(home, *words)
        assert done.returncode == expected and ("translates en-de; expected de-en" in done.stderr) == bool(expected)
    (home / "back/run.json").unlink()
    (home / "data/bin/dict.de.txt").write_text("a 3\nb 2\n")
    (home / "back/dict.de.txt").write_text("b 3\na 2\n")
    done = call(home, *words)
    assert (done.returncode, done.stdout) == (1, "") and "back/dict.de.txt, is not that of data/bin" in done.stderr


def test_the_cache_of_the_word_level_teacher(home: Path) -> None:
    """It covers the selected translations, and not the corpus, which has other targets."""
    (home / "w.pt").touch()
    words = ["--translations", "n.jsonl", "--word-level", "w.pt", "--kd-temperature", "2", "--cache-top-k", "8"]
    said = [shlex.split(line) for line in call(home, "distill_seq.sh", *words).stdout.splitlines()]
    assert [line[0] for line in said] == ["select", "cache", "run", "average"]
    _, cache, run, _ = said
    assert cache[1] == "out-data/selected/data-bin" and option(cache, "--teacher-path") == "w.pt"
    assert (option(cache, "--top-k"), option(cache, "--kd-temperature")) == ("8", "2")
    command = run[run.index("--") + 1 :]
    assert option(command, "--teacher-cache") == option(cache, "--out") and "--teacher-path" not in command
    assert option(command, "--kd-temperature") == "2"
    for wrong in (["--cache-top-k", "x"], ["--cache-top-k", "0"], ["--cache-bytes", "x"], ["--cache-bytes", "48"]):
        assert wrong[0] in call(home, "distill_seq.sh", *words, *wrong).stderr
    assert "--word-level" in call(home, "distill_seq.sh", "--teacher", "t.pt", "--cache-top-k", "8").stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_run_is_scored_with_the_search_of_its_recipe(home: Path, script: str) -> None:
    done = call(home, script, *SCRIPTS[script], "--recipe", "wmt14-en-de-base")
    assert "--label recipe=wmt14-en-de-base" in done.stdout
    for recipe, beam in (("wmt14-en-de-base", "4"), ("multi30k", "5")):
        (home / "run").mkdir(exist_ok=True)
        (home / "run/run.json").write_text(json.dumps({"labels": {"recipe": recipe}}))
        for called in (("score.sh", "--run", "run"), ("speed.sh", "run")):
            done = call(home, *called)
            assert f"--beam {beam}" in done.stdout, done.stderr


def test_a_run_is_not_scored_on_other_languages(home: Path) -> None:
    (home / "run").mkdir()
    for languages, fits in ((["-s", "en", "-t", "de"], True), (["--source-lang", "de", "--target-lang", "en"], False)):
        record = {"labels": {}, "command": ["fairseq-train", "data/bin", *languages]}
        (home / "run/run.json").write_text(json.dumps(record))
        done = call(home, "score.sh", "--run", "run")
        assert ("de-en" in done.stderr and "en-de" in done.stderr) is not fits and (done.returncode == 0) is fits


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_model_keeps_its_dictionaries_and_is_not_scored_with_others(home: Path, script: str) -> None:
    for language in ("en", "de"):
        (home / f"data/bin/dict.{language}.txt").write_text(f"{language} 1\n")
    assert call(home, script, *SCRIPTS[script]).returncode == 0
    assert (home / "out/dict.de.txt").read_text() == "de 1\n"
    (home / "out/run.json").write_text(json.dumps({"labels": {}, "command": ["fairseq-train", "data/bin"]}))
    assert call(home, "score.sh", "--run", "out").returncode == 0
    # The data were prepared again, with other text.
    (home / "data/bin/dict.de.txt").write_text("other 1\n")
    done = call(home, "score.sh", "--run", "out")
    assert done.returncode == 1 and done.stdout == "" and "another vocabulary" in done.stderr
    assert "--run out" in done.stderr and "--data data" in done.stderr and "dict.de.txt" in done.stderr


@pytest.fixture
def checked(home: Path) -> Path:
    """A `python` that accepts every folder of modules."""
    python = home / "commands/python"
    python.write_text(python.read_text().replace("[ ", '[ "$2" = fairseq_lskd.user_dir ] || [ '))
    return home


@pytest.mark.parametrize("words", [["--user-dir", "my modules"], ["--user-dir=my modules"]], ids=str)
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_users_modules_replace_ours(checked: Path, script: str, words: list[str]) -> None:
    command = training(checked, script, *SCRIPTS[script], "--", *words, "--arch", "mine")
    given = [value for name, value in itertools.pairwise(command) if name == "--user-dir"]
    assert given and set(given) == {"my modules"}
    if script == "distill_seq.sh":
        said = call(checked, script, *SCRIPTS[script], "--", *words).stdout
        (line,) = [line for line in said.splitlines() if line.startswith("translate ")]
        assert option(shlex.split(line), "--user-dir") == "my modules"


def test_two_folders_of_modules_are_refused(home: Path) -> None:
    done = call(home, "train_teacher.sh", "--", "--user-dir", "a", "--user-dir=b")
    assert done.returncode == 1 and "--user-dir is given 2 times" in done.stderr
    assert done.stdout == ""


def test_modules_without_our_criterions_are_refused_with_the_line_to_add(home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine/__init__.py").write_text("")
    environment = {"PATH": f"{home}/commands:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = call(home, "train_teacher.sh", "--", "--user-dir", "mine", **environment)
    assert done.returncode == 1 and done.stdout == ""
    assert "`import fairseq_lskd.criterions` to mine/__init__.py" in done.stderr and "Traceback" not in done.stderr
    (home / "mine/__init__.py").write_text("import fairseq_lskd.criterions")
    assert call(home, "train_teacher.sh", "--", "--user-dir", "mine", **environment).returncode == 0


def test_scoring_and_speed_take_modules_and_the_runs_task(checked: Path) -> None:
    (checked / "run").mkdir()
    for task, words in (("mine", ["--task", "mine"]), ("mine --user-dir evil", [])):
        command = ["fairseq-train", "--task=translation", "--task", task, "--user-dir", "recorded"]
        (checked / "run/run.json").write_text(json.dumps({"labels": {}, "command": command}))
        for called in (("score.sh", "--run", "run"), ("speed.sh", "run")):
            done = call(checked, *called, "--user-dir", "given")
            assert done.returncode == 0, done.stderr
            lines = [shlex.split(line) for line in done.stdout.splitlines()]
            decoding = [line for line in lines if "fairseq-generate" in line or line[0] == "speed"]
            for line in decoding:
                assert option(line, "--user-dir") == "given"
                assert line[-2:] == words or not words
            assert decoding and "evil" not in done.stdout and "recorded" not in done.stdout


def test_data_are_named_by_their_folder(home: Path) -> None:
    done = call(home, "train_teacher.sh", "--data", "data/bin")
    assert done.returncode == 1 and "--data data/bin: expected the folder above it" in done.stderr
    assert done.stderr.rstrip().endswith("--data data")


def test_the_file_for_slurm_runs_its_arguments(tmp_path: Path) -> None:
    path = ROOT / "scripts/slurm.sbatch"
    environment = {**os.environ, "LSKD_VENV": "/environment"}
    done = subprocess.run(
        ["bash", str(path), "bash", "-c", 'echo "$PATH" "$0" "$@"', "step", "--gpus", "8"],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
    )
    assert done.stdout.startswith("/environment/bin:") and done.stdout.endswith(" step --gpus 8\n")
    assert os.access(path, os.X_OK)


def own_recipe(home: Path) -> Path:
    """Write a recipe outside scripts/recipes that leaves a file when it is sourced."""
    own = home / "own.sh"
    text = (ROOT / "scripts/recipes/multi30k.sh").read_text()
    own.write_text(f"{text}touch '{home}/sourced'\ntraining+=(--weight-decay 0.25)\n")
    return own


@pytest.mark.parametrize("path", ["own.sh", "./own.sh", "{home}/own.sh"])
def test_a_recipe_can_be_given_by_its_path(home: Path, path: str) -> None:
    own_recipe(home)
    command = training(home, "train_teacher.sh", "--recipe", path.format(home=home))
    assert option(command, "--weight-decay") == "0.25"


@pytest.fixture
def trained(home: Path) -> Path:
    """A run's record in out/."""
    (home / "out/checkpoint_average.pt").write_text("")
    (home / "out/run.json").write_text(json.dumps({"labels": {"recipe": "multi30k"}}))
    return home


@pytest.mark.parametrize("recorded", ["{home}/own.sh", "own.sh", "../own.sh"])
def test_a_recipe_that_only_a_record_names_is_not_run(trained: Path, recorded: str) -> None:
    own_recipe(trained)
    recorded = recorded.format(home=trained)
    (trained / "out/run.json").write_text(json.dumps({"labels": {"recipe": recorded}}))
    done = call(trained, "score.sh", "--run", "out")
    assert done.returncode == 1 and recorded in done.stderr and "--recipe" in done.stderr
    assert not (trained / "sourced").exists() and "fairseq" not in done.stdout
    assert call(trained, "score.sh", "--run", "out", "--recipe", "own.sh").returncode == 0


def test_a_run_is_scored_against_all_references_of_the_test_set(trained: Path) -> None:
    def references() -> list[list[str]]:
        done = call(trained, "score.sh", "--run", "out")
        assert done.returncode == 0, done.stderr
        scored = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("record ")]
        found = [line[line.index("--references") + 1 : line.index("--train")] for line in scored]
        return [[name.removeprefix("data/raw/") for name in names] for names in found]

    assert references() == [["test.de"]] * 2
    # Names without a number are other files: a test set by name, a variety of the language, an unfinished download.
    for name in ("1.de", "2.de.gz", "2.en", "x.de", "1.x.de", "3.de.part", "10.de", "10.de.gz"):
        (trained / "data/raw" / f"test.{name}").write_text("")
    first, second = references()
    assert first == second and sorted(first[1:]) == ["test.1.de", "test.10.de", "test.2.de.gz"]
    assert first[0] == "test.de"
    (trained / "data/raw/test.de").rename(trained / "data/raw/test.de.gz")
    assert references()[0] == ["test.de.gz", *first[1:]]


@pytest.mark.parametrize("missing", ["train.de.gz", "test.en", "test.de"])
def test_missing_raw_text_is_reported_before_anything_is_decoded(trained: Path, missing: str) -> None:
    done = call(trained, "score.sh", "--run", "out")
    assert done.returncode == 0 and "fairseq-generate" in done.stdout, done.stderr
    (trained / "data/raw" / missing).unlink()
    done = call(trained, "score.sh", "--run", "out")
    assert done.returncode == 1 and f"data/raw/{missing.removesuffix('.gz')}" in done.stderr and done.stdout == ""


def test_another_test_set_is_decoded_and_scored_separately(trained: Path) -> None:
    assert "lskd data test news --data data" in call(trained, "score.sh", "--run", "out", "--test-set", "news").stderr
    made = trained / "data/tests/news"
    (made / "raw").mkdir(parents=True)
    for name in ("test.json", "raw/test.en.gz", "raw/test.de.gz"):
        (made / name).write_text("")
    done = call(trained, "score.sh", "--run", "out", "--test-set", "news")
    assert done.returncode == 0, done.stderr
    check, validate, generate, harvest, score = [shlex.split(line) for line in done.stdout.splitlines()]
    assert option(validate, "--out") == "out/validate" and option(generate, "--out") == "out/test-news"
    assert generate[generate.index("fairseq-generate") + 1] == "data/tests/news"
    assert option(harvest, "--source") == "data/tests/news/raw/test.en.gz"
    for words in (check, score):
        assert option(words, "--references") == "data/tests/news/raw/test.de.gz"
        assert option(words, "--test-name") == "news" and option(words, "--train") == "data/raw/train.de.gz"
    assert "--test-set" in call(trained, "score.sh", "--run", "out", "--test-set", "../x").stderr


EVIL = 'touch PWN\n. "$root/scripts/recipes/smoke.sh"\n'


@pytest.mark.parametrize("script", ["score.sh", "speed.sh"])
@pytest.mark.parametrize(
    "name", ["../../../elsewhere/evil", "{home}/elsewhere/evil", "{home}/elsewhere/evil.sh", "a b", ".x"]
)
def test_no_name_in_a_record_leads_to_a_file(home: Path, script: str, name: str) -> None:
    (home / "elsewhere").mkdir()
    (home / "elsewhere/evil.sh").write_text(EVIL)
    # As seen from scripts/recipes.
    name = name.format(home=home).replace(
        "../../../elsewhere", os.path.relpath(home, ROOT / "scripts/recipes") + "/elsewhere"
    )
    record = {"command": [], "inputs": {}, "seconds": 1.0, "finished": None, "labels": {"recipe": name}}
    (home / "run").mkdir()
    (home / "run/run.json").write_text(json.dumps(record))
    done = call(home, script, *(["--run", "run"] if script == "score.sh" else ["run"]))
    assert not (home / "PWN").exists()
    assert done.returncode == 1
    assert "run/run.json" in done.stderr and "--recipe" in done.stderr and "Traceback" not in done.stderr


def test_a_size_runs_no_command(home: Path) -> None:
    done = call(home, "train_teacher.sh", "--size", "x[$(touch PWN)]")
    assert done.returncode == 1 and "--size" in done.stderr
    assert not (home / "PWN").exists()


@pytest.mark.parametrize("language", ["../../x", "a b", "", "$(touch PWN)"])
def test_languages_of_a_record_are_names(home: Path, language: str) -> None:
    options = {"source-lang": language, "target-lang": "de"}
    (home / "data/pieces/encode.json").write_text(json.dumps({"options": options}))
    done = call(home, "train_teacher.sh")
    assert done.returncode == 1
    assert "encode.json" in done.stderr and "source-lang" in done.stderr and "Traceback" not in done.stderr
