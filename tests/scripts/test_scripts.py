"""The scripts before they run anything: their help, and their messages about wrong options."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELL_FILES = sorted(path for folder in ("scripts", "examples") for path in (ROOT / folder).rglob("*.sh"))
SCRIPTS = [path.name for path in SHELL_FILES if path.parent.name == "scripts" and path.name != "lib.sh"]
STEPS = {
    "prepare.sh": [
        "--corpus",
        "--raw",
        "--data",
        "-s",
        "--source-lang",
        "-t",
        "--target-lang",
        "--vocab-size",
        "--pairs",
        *("--valid", "--test", "--references", "--seed", "--nouns", "--verbs", "--adjectives", "--adverbs"),
        *("--prepositions", "--ambiguous", "--separable", "--synonyms", "--free-order", "--dialect"),
        "--recipe",
        "--test-set",
    ],
    "train_teacher.sh": [
        "--data",
        "--out",
        "--recipe",
        "--label-smoothing",
        "--size",
        "--direction",
        "--seed",
        "--gpus",
        "--nodes",
        "--validation-metric",
    ],
    "distill_word.sh": [
        *("--data", "--out", "--teacher", "--teacher-cache", "--recipe", "--kd-weight", "--kd-temperature"),
        *("--teacher-smoothing", "--teacher-size", "--size", "--seed", "--gpus", "--nodes", "--validation-metric"),
    ],
    "distill_seq.sh": [
        *("--data", "--out", "--teacher", "--recipe", "--reference-weight", "--teacher-smoothing", "--seed", "--size"),
        *("--translations", "--strategy", "--score-temperature", "--word-level", "--kd-weight", "--kd-temperature"),
        *("--samples", "--cache-top-k", "--cache-bytes", "--valid-translations", "--teacher-data"),
        *("--backward", "--filter-worst", "--selected"),
        *("--teacher-size", "--gpus", "--nodes", "--validation-metric"),
    ],
    "distill_multilingual.sh": [
        *("--data", "--out", "--teachers", "--recipe", "--kd-weight", "--kd-temperature", "--size", "--seed", "--gpus"),
    ],
    "prepare_pairs.sh": [
        *("--corpus", "--raw", "--pairs", "--data", "--vocab-size", "--train", "--valid", "--test", "--references"),
        *("--seed", "--synonyms"),
    ],
    "multilingual.sh": [
        *("--scale", "--seeds", "--jobs", "--raw", "--pairs", "--vocab-size", "--recipe", "--name", "--directory"),
    ],
    "translate.sh": ["--data", "--out", "--teacher", "--nbest"],
    "speed.sh": ["--data", "--out", "--recipe", "--rounds", "--threads", "--user-dir"],
    "score.sh": ["--data", "--run", "--checkpoint", "--recipe", "--export", "--user-dir", "--test-set"],
    "check_experiment.sh": ["--experiment", "--scale", "--kill-after", "--clone", "--raw"],
    "quickstart.sh": ["--corpus", "--raw", "--name"],
}
#: Options without a value.
SWITCHES = {"prepare.sh": ["--allow-shifted"], "prepare_pairs.sh": ["--allow-shifted"]}


def script(name: str, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run a script without an environment, with the system's commands only."""
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / name), *words],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), "LSKD_VENV": "/nonexistent"},
    )


def refused(done: subprocess.CompletedProcess) -> str:
    """Return the error message of a script: a single line, and not one of bash."""
    assert done.returncode == 1 and done.stdout == ""
    line, rest = done.stderr.split("\n", 1)
    assert rest == "" and "unbound" not in line and ": line " not in line
    return line


@pytest.mark.parametrize("path", SHELL_FILES, ids=lambda path: path.name)
def test_bash_can_read_it(path: Path) -> None:
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    # Excluded: variables that a recipe or lib.sh sets for another file, and sourced files with variable names.
    excluded = ["-e", "SC1090,SC1091,SC2034,SC2154"]
    command = ["shellcheck", "-s", "bash", *excluded, *map(str, SHELL_FILES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_can_be_executed_and_is_strict(name: str) -> None:
    path = ROOT / "scripts" / name
    text = path.read_text()
    assert os.access(path, os.X_OK) and text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text or '/lib.sh"\n' in text


@pytest.mark.parametrize("words", [["--help"], ["-h"]], ids=" ".join)
@pytest.mark.parametrize("name", SCRIPTS)
def test_help_works_before_the_set_up(name: str, words: list[str], tmp_path: Path) -> None:
    done = script(name, *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    comment = (ROOT / "scripts" / name).read_text().splitlines()[1:]
    assert done.stdout.splitlines()[0] == comment[0].removeprefix("# ")
    assert f"\n  scripts/{name}" in done.stdout
    assert not [line for line in done.stdout.splitlines() if line.startswith(("#", "set ", "cd ", ". "))]


@pytest.mark.parametrize("name", STEPS)
def test_help_after_other_options_and_names_each_of_them(name: str) -> None:
    done = script(name, STEPS[name][0], "x", "--help")
    assert done.returncode == 0 and done.stdout
    code = (ROOT / "scripts" / name).read_text()
    options = [*STEPS[name], *SWITCHES.get(name, [])]
    shown = {option for option in options if f" {option} " in done.stdout.replace("\n", " ")}
    left_out = set(options) - shown
    # The long forms of -s and -t, and options that the help mentions in another way.
    assert left_out <= {"--source-lang", "--target-lang", "--seed", "--recipe"}
    assert all(f"{option})" in code or f"{option} |" in code for option in options)


@pytest.mark.parametrize("name", STEPS)
def test_an_unknown_option_is_named(name: str) -> None:
    assert refused(script(name, "--bogus", "3")).startswith(f"{name}: error: unknown option --bogus (see --help")
    assert refused(script(name, "--bogus")) == f"{name}: error: unknown option --bogus (see --help)"
    assert refused(script(name, "bogus")).startswith(f"{name}: error: unknown option bogus")


def test_the_set_up_knows_no_options() -> None:
    assert refused(script("setup.sh", "--bogus")) == "setup: error: unknown option --bogus (see --help)"


@pytest.mark.parametrize(("name", "option"), [(name, option) for name, options in STEPS.items() for option in options])
def test_an_option_without_its_value_is_named(name: str, option: str) -> None:
    message = f"{name}: error: {option} needs a value (see --help); is a variable empty?"
    assert refused(script(name, option)) == message
    assert refused(script(name, option, "--data", "x")) == message
    assert refused(script(name, option, "")) == message


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name, options in SWITCHES.items() for option in options]
)
def test_an_option_without_a_value_can_be_the_last(name: str, option: str) -> None:
    assert refused(script(name, option)) == f"{name}: error: --data is missing (see {name} --help)"
    assert (
        refused(script(name, option, "--data"))
        == f"{name}: error: --data needs a value (see --help); is a variable empty?"
    )


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("prepare.sh", [], "--data is missing (see prepare.sh --help)"),
        (
            "prepare.sh",
            ["--corpus", "multi30k", "--data", "d", "--references", "8"],
            "--references is only allowed with --corpus generated",
        ),
        (
            "prepare.sh",
            ["--raw", "r", "--data", "d", "--pairs", "8"],
            "--pairs is only allowed with --corpus generated",
        ),
        ("train_teacher.sh", [], "--data is missing (see train_teacher.sh --help)"),
        ("train_teacher.sh", ["--data", "d"], "--out is missing (see train_teacher.sh --help)"),
        (
            "distill_word.sh",
            ["--data", "d", "--out", "o"],
            "--teacher or --teacher-cache is missing (see distill_word.sh",
        ),
        ("score.sh", ["--data", "d"], "--run is missing (see score.sh --help)"),
        (
            "score.sh",
            ["--data", "d", "--run", "r", "--recipe", "x"],
            "--recipe x: expected a file (.sh), or one of europarl-en-fr generated iwslt14-de-en multi30k quickstart "
            "smoke tatoeba-en-de wmt14-en-de-base wmt14-en-de-big wmt14-en-fr-base wmt14-en-fr-big wmt16-en-ro-base",
        ),
        ("quickstart.sh", ["--corpus", "x"], "--corpus x: expected generated or multi30k"),
        ("score.sh", ["--bogus", "3"], "unknown option --bogus (see --help; options for lskd record go after --)"),
        ("prepare.sh", ["--source", "de"], "unknown option --source; did you mean --source-lang? (see --help; "),
        ("speed.sh", ["--round", "2"], "unknown option --round; did you mean --rounds? (see --help)"),
        (
            "distill_seq.sh",
            ["--data", "d", "--out", "o"],
            "--teacher, --translations or --selected is missing (see distill_seq.sh",
        ),
        *(
            (
                "distill_seq.sh",
                ["--data", "d", "--out", "o", "--selected", "s/", *words],
                "--selected s is the result of translation and selection: leave out --teacher,",
            )
            for words in (["--teacher", "t.pt"], ["--translations", "n"], ["--samples", "2"], ["--strategy", "mbr"])
        ),
        (
            "distill_seq.sh",
            ["--data", "d", "--out", "o", "--selected", "s"],
            "--selected s: no select.json there; expected a folder that lskd select wrote",
        ),
        (
            "distill_seq.sh",
            ["--data", "d", "--out", "o", "--teacher", "t.pt", "--translations", "n.jsonl"],
            "--teacher t.pt --translations n.jsonl: expected one of them; --word-level",
        ),
        *(
            (
                "distill_seq.sh",
                ["--data", "d", "--out", "o", "--teacher", "t", option, "0.5"],
                "--kd-weight, --kd-temperature, --cache-top-k and --cache-bytes are for the word-level loss: give its "
                "teacher with --word-level",
            )
            for option in ("--kd-weight", "--kd-temperature")
        ),
        *(
            (
                "distill_seq.sh",
                ["--data", "d", "--out", "o", "--teacher", "t", "--reference-weight", share],
                f"--reference-weight {share}: expected a share from 0 to 1",
            )
            for share in ("2", "1.5", "half")
        ),
        (
            "distill_seq.sh",
            ["--data", "d", "--out", "o", "--teacher", "t", "--strategy", "mbr", "--score-temperature", "0.1"],
            "--score-temperature 0.1 has no effect with --strategy mbr: give --strategy n-best",
        ),
        ("translate.sh", ["--data", "d", "--out", "o"], "--teacher is missing (see translate.sh --help)"),
        ("speed.sh", ["--data", "d", "--out", "o"], "the folder of a run is missing (see speed.sh --help)"),
        ("speed.sh", ["--data", "d", "none"], "unknown option none, or not the folder of a run (see --help)"),
        ("distill_multilingual.sh", ["--data", "d"], "--out is missing (see distill_multilingual.sh --help)"),
        (
            "distill_multilingual.sh",
            ["--data", "d", "--out", "o", "--kd-weight", "1"],
            "--kd-weight and --kd-temperature need --teachers",
        ),
        ("prepare_pairs.sh", ["--data", "d"], "--corpus or --raw is missing"),
        ("prepare_pairs.sh", ["--data", "d", "--corpus", "multi30k"], "--corpus multi30k: expected generated"),
        ("prepare_pairs.sh", ["--data", "d", "--raw", "r"], "--pairs is missing"),
        ("prepare_pairs.sh", ["--data", "d", "--raw", "r", "--pairs", "fr"], "--pairs fr: fr is no pair"),
        ("prepare_pairs.sh", ["--data", "d", "--raw", "r", "--pairs", "de-en"], "--raw r: the folder de-en is missing"),
        (
            "prepare_pairs.sh",
            ["--data", "d", "--raw", "r", "--pairs", "de-en", "--test", "3"],
            "--test is only allowed with --corpus generated",
        ),
        ("multilingual.sh", ["--scale", "huge"], "--scale huge: expected smoke or cpu"),
        ("multilingual.sh", ["--seeds", "0"], "--seeds 0: expected numbers from 1, separated by commas"),
        ("multilingual.sh", ["--pairs", "de-en"], "--raw is missing"),
        ("multilingual.sh", ["--scale", "cpu", "--pairs", "de-en"], "--scale cpu is for generated text"),
        ("multilingual.sh", ["--name", "../x"], "--name ../x: expected a plain name"),
        ("experiment.sh", [], "the name of an experiment is missing (see experiment.sh --help)"),
        ("experiment.sh", ["a", "b"], "unknown option b (see --help; one experiment at a time)"),
        ("experiment.sh", ["a", "--jobs", "0"], "--jobs 0: expected a number from 1"),
        ("experiment.sh", ["a", "--name", "2025_01"], "--name 2025_01: expected a name that begins with a letter"),
        ("experiment.sh", ["a", "--raw", "none"], "--raw none: no such folder"),
        ("experiment.sh", ["--bogus", "3"], "unknown option --bogus (see --help; options for snakemake go after --)"),
    ],
)
def test_what_is_missing_or_wrong_is_named(name: str, words: list[str], message: str) -> None:
    assert refused(script(name, *words)).startswith(f"{name}: error: {message}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("prepare.sh", ["--data", "d"]),
        ("train_teacher.sh", ["--data", "d", "--out", "o", "--", "--help"]),
        ("distill_word.sh", ["--data", "d", "--out", "o", "--teacher", "t"]),
        ("distill_seq.sh", ["--data", "d", "--out", "o", "--teacher", "t"]),
        ("score.sh", ["--data", "d", "--run", "r"]),
        ("translate.sh", ["--data", "d", "--out", "o", "--teacher", "t"]),
    ],
)
def test_without_an_environment_the_way_to_one_is_named(name: str, words: list[str], tmp_path: Path) -> None:
    said = refused(script(name, *words, cwd=tmp_path))
    assert said == f"{name}: error: not set up yet: run {ROOT}/scripts/setup.sh"
    assert not list(tmp_path.iterdir())


def test_prepare_passes_every_option_of_the_generated_bitext_on(tmp_path: Path) -> None:
    from fairseq_lskd.cli import generate

    parser = argparse.ArgumentParser(add_help=False)
    generate.add_arguments(parser)
    options = [option for action in parser._actions for option in action.option_strings]
    passed = ["--pairs" if option == "--train" else option for option in options if option != "--out"]
    assert set(passed) <= set(STEPS["prepare.sh"])
    (tmp_path / "lskd").write_text('#!/bin/bash\necho "$@"\n')
    (tmp_path / "lskd").chmod(0o755)
    words = [word for number, option in enumerate(passed) for word in (option, str(number))]
    done = subprocess.run(
        ["bash", str(ROOT / "scripts/prepare.sh"), "--corpus", "generated", "--data", "d", *words],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    called = done.stdout.splitlines()[0].split()
    assert called[0] == "generate"
    args = parser.parse_args(called[1:])  # the last one counts if an option is given twice
    assert [
        str(getattr(args, option.removeprefix("--").replace("pairs", "train").replace("-", "_"))).removesuffix(".0")
        for option in passed
    ] == [str(number) for number in range(len(passed))]


@pytest.mark.parametrize("given", [["--spm-model", "m"], ["--spm-model=m"]], ids=" ".join)
def test_prepare_takes_a_trained_vocabulary(given: list[str], tmp_path: Path) -> None:
    """`lskd encode` refuses options of a new one with it."""
    (tmp_path / "lskd").write_text('#!/bin/bash\necho "$@"\n')
    (tmp_path / "lskd").chmod(0o755)

    def encode(*words: str) -> list[str]:
        call = ["bash", str(ROOT / "scripts/prepare.sh"), "--raw", ".", "-s", "de", "-t", "en", "--data", "d", *words]
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(call, capture_output=True, text=True, timeout=30, cwd=tmp_path, env=environment)
        return done.stdout.splitlines()[0].split()

    trained = ["encode", "--raw", "d/raw", "--out", "d/pieces", "-s", "de", "-t", "en", "--recipe", "sentencepiece"]
    assert encode("--", *given) == [*trained, *given]
    assert encode("--", "--threads", "2") == [
        *trained, "--vocab-size", "8000", "--model-type", "unigram", "--threads", "2"
    ]  # fmt: skip
    # The user's own size stays, so that it is refused.
    assert encode("--vocab-size", "400", "--", *given) == [*trained, "--vocab-size", "400", *given]


def test_sizes_are_those_of_the_recipe() -> None:
    code = (
        "dictionaries=one batches=1; . scripts/lib.sh; . scripts/recipes/smoke.sh; "
        'size "$1"; echo "$role $updates ${model[*]}"'
    )
    for name, starts in (("teacher_large", "teacher 240 "), ("student_small", "student 200 ")):
        done = subprocess.run(["bash", "-c", code, "x", name], capture_output=True, text=True, cwd=ROOT, timeout=30)
        assert done.stdout.startswith(starts) and "--encoder-embed-dim" in done.stdout
    done = subprocess.run(["bash", "-c", code, "x", "huge"], capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert done.returncode == 1
    assert "--size huge: the recipe has student student_small teacher teacher_large" in done.stderr


#: Recipes of which experiments/sizes.yaml needs more than two sizes.
OF_SIZES = ("smoke", "multi30k", "wmt14-en-de-big")


@pytest.mark.parametrize("recipe", [path.stem for path in SHELL_FILES if path.parent.name == "recipes"])
def test_every_recipe_sets_all_that_the_scripts_read(recipe: str) -> None:
    sizes = ["teacher", "student", *(("teacher_large", "student_small") if recipe in OF_SIZES else ())]
    code = (
        f"set -euo pipefail; root=$PWD; . scripts/recipes/{recipe}.sh\n"
        f"for name in {' '.join(sizes)}; do declare -n model=${{name}}_model; "
        'echo "${#model[@]}"; done\necho "$teacher_updates $student_updates ${#training[@]} ${#decoding[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert done.returncode == 0, done.stderr
    numbers = [int(word) for word in done.stdout.split()]
    assert len(numbers) == len(sizes) + 4 and min(numbers) > 1


def test_a_command_goes_to_the_gpu_with_the_fewest(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": "4,7"}
    command = ["bash", str(ROOT / "scripts" / "on_gpu.sh"), "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; read wait"]
    started = []
    for _ in range(3):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        started.append((process, process.stdout.readline().strip()))
    assert [gpu for _, gpu in started] == ["4", "7", "4"]
    started[1][0].communicate("\n")
    again = subprocess.run(command, input="\n", capture_output=True, text=True, env=environment, timeout=30)
    assert again.stdout.strip() == "7"
    for process, _ in started:
        process.kill()
        process.communicate()
    alone = subprocess.run(
        command, input="\n", capture_output=True, text=True, timeout=30, env=environment | {"CUDA_VISIBLE_DEVICES": ""}
    )
    assert alone.stdout.strip() == ""


SNAKEMAKE = """Building DAG of jobs...
Job stats:
job      count
-----  -------
train        1
total        1


[Sat Nov 28 08:37:54 2026]
rule train:
    output: runs/a/checkpoint_average.pt
    reason: Missing output files: runs/a/checkpoint_average.pt
Shell command: scripts/train_teacher.sh --seed 1 --out 'runs/a b'

Job stats:
job      count
-----  -------
train        1
total        1

This was a dry-run (flag -n).
"""


def dry_run(said: str, folder: Path, status: int = 0) -> subprocess.CompletedProcess:
    """Call the function of lib.sh with a Snakemake that prints this text."""
    (folder / "said").write_text(said)
    (folder / "snakemake").write_text(f"#!/bin/bash\necho given: $@ >&2\ncat {folder}/said\nexit {status}\n")
    (folder / "snakemake").chmod(0o755)
    code = f". {ROOT}/scripts/lib.sh; call=({folder}/snakemake -s x); dry=1; dry_run_if_asked --forceall"
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=30)


def test_a_dry_run_prints_jobs_and_commands(tmp_path: Path) -> None:
    done = dry_run(SNAKEMAKE, tmp_path)
    assert done.returncode == 0 and done.stderr == "given: -s x --dry-run --forceall\n"
    lines = done.stdout.splitlines()
    assert lines[:7] == [*SNAKEMAKE.splitlines()[1:6], "", "scripts/train_teacher.sh --seed 1 --out 'runs/a b'"]
    assert len(lines) == 9 and "-- " in lines[-1]
    long = SNAKEMAKE.replace("--seed 1", "--seed 1" * 99)
    assert max(map(len, dry_run(long, tmp_path).stdout.splitlines())) == 404
    nothing = "Nothing to be done (all requested files are present and up to date)."
    assert dry_run(f"Building DAG of jobs...\n{nothing}\n", tmp_path).stdout.splitlines()[0] == nothing


def test_a_dry_run_that_fails_prints_all(tmp_path: Path) -> None:
    done = dry_run("a\nb\n", tmp_path, status=1)
    assert (done.returncode, done.stdout) == (1, "a\nb\n")


STEP = """
rule all:
    input: "done"

rule step:
    output: "done"
    shell: "touch started; lskd run --out run -- sleep 60 && touch done"
"""


def test_ctrl_c_on_an_experiment_is_one_line(tmp_path: Path) -> None:
    """The terminal sends SIGINT to the script, to Snakemake and to all steps."""
    (tmp_path / "Snakefile").write_text(STEP)
    (tmp_path / "go.sh").write_text(
        f". {ROOT}/scripts/lib.sh; root={tmp_path} directory={tmp_path} jobs=1 recipe=; start_experiment\n"
        "snakemake_call Snakefile name=mine; run_experiment results\n"
    )
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/setup.sh").write_text("#!/bin/sh\n")
    (tmp_path / "scripts/setup.sh").chmod(0o755)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    process = subprocess.Popen(
        ["bash", "go.sh", "mine", "--name", "a b"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        for _ in range(600):
            if (tmp_path / "run/log.txt").exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, said
    last = "go.sh: interrupted. Finished steps are kept. To continue: go.sh mine --name a\\ b"
    assert said.endswith(f"run | sleep 60\n\n{last}\n"), said
