"""The jobs of an experiment's YAML file, and the messages about mistakes in it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import hostile
import pytest
import yaml
from hypothesis import given

from fairseq_lskd.errors import UserError
from fairseq_lskd.experiments.hours import jobs_of
from fairseq_lskd.experiments.plan import Plan
from fairseq_lskd.experiments.settings import expand, read, usual_scale

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
EXPERIMENTS = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "scales")
SCALES = ["smoke", "cpu", "small", "medium", "medium-v7", "medium-tatoeba", "full"]
MINE = """
title: Mine
seeds: [1, 2]
teachers:
  - label_smoothing: [0.0, 0.1]
students:
  - method: none
  - method: word
    temperature: [1, 2]
    cached: [false, true]
  - method: [sequence, both]
    strategy: nearest
scales:
  tiny: {corpus: generated, languages: [xx, yy], recipe: smoke, data: tiny, train: [--max-update, 3]}
"""


def plan(tmp_path: Path, text: str = MINE, scale: str = "tiny", **more: str) -> Plan:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return Plan.read(str(path), scale, FOLDER, **more)


def test_lists_expand_to_every_combination() -> None:
    assert list(expand({"a": [1, 2], "b": "x", "c": [3, 4]})) == [
        {"a": 1, "b": "x", "c": 3},
        {"a": 1, "b": "x", "c": 4},
        {"a": 2, "b": "x", "c": 3},
        {"a": 2, "b": "x", "c": 4},
    ]


def test_every_system_exists_once_per_seed(tmp_path: Path) -> None:
    found = plan(tmp_path)
    students = ["word", "word-cached"]
    expected = {"teacher-0.0", "teacher-0.1", "student"}
    expected |= {f"{name}-{ls}{t}" for name in students for ls in ("0.0", "0.1") for t in ("", "-T2")}
    expected |= {f"{name}-nearest-{ls}" for name in ("seq", "both") for ls in ("0.0", "0.1")}
    assert set(found.systems) == {f"{name}-s{seed}" for name in expected for seed in (1, 2)}
    assert found.in_order()[:4] == ["teacher-0.0-s1", "teacher-0.0-s2", "teacher-0.1-s1", "teacher-0.1-s2"]
    assert sorted(found.in_order()) == sorted(found.systems)


@pytest.mark.parametrize(
    ("scale", "runs"),
    [
        # Data that no scale of scales.yaml uses, or the same trainings as one of them.
        ("tiny: {corpus: generated, languages: [xx, yy], recipe: smoke, data: tiny, train: [--max-update, 3]}", "tiny"),
        ("tiny: {corpus: generated, languages: [xx, yy], recipe: generated}", "generated"),
        # Other trainings on shared data would replace those of other experiments.
        ("tiny: {corpus: generated, languages: [xx, yy], recipe: smoke}", "generated-mine"),
        ("small: {train: [--max-update, 300]}", "multi30k-mine"),
    ],
)
def test_different_trainings_do_not_replace_those_of_other_experiments(scale: str, runs: str, tmp_path: Path) -> None:
    found = plan(tmp_path, MINE.partition("  tiny:")[0] + f"  {scale}\n", scale.partition(":")[0])
    assert found.runs == f"runs/{runs}"


def test_shared_caches_and_translations_are_made_once(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert len(found.caches) == 2 * 2 * 2 and len(found.translations) == 2 * 2
    assert found.caches["cache-T2-teacher-0.1-s2"].teacher == "teacher-0.1-s2"
    both = found.systems["both-nearest-0.1-s1"]
    assert both.translations == found.systems["seq-nearest-0.1-s1"].translations == "translations-teacher-0.1-s1"


def test_a_job_waits_for_the_files_that_its_command_reads(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert found.made_from("teacher-0.1-s1") == ["data/tiny/prepared"]
    assert found.made_from("word-0.1-T2-s1") == ["data/tiny/prepared", "runs/tiny/teacher-0.1-s1/checkpoint_average.pt"]
    assert found.made_from("word-cached-0.1-T2-s1")[1:] == ["runs/tiny/cache-T2-teacher-0.1-s1/done"]
    assert found.made_from("both-nearest-0.1-s1")[1:] == [
        "runs/tiny/translations-teacher-0.1-s1/done",
        "runs/tiny/teacher-0.1-s1/checkpoint_average.pt",
    ]
    for name in found.systems:
        words = shlex.split(found.train_command(name))
        read = [word for word in words if word.startswith("runs/")]
        read.remove(f"runs/tiny/{name}")
        waited = {path.rsplit("/", 1)[0] for path in found.made_from(name)}
        assert {path.rsplit("/", 1)[0] for path in read} == waited - {"data/tiny"}


def test_a_student_waits_until_its_teacher_was_compared(tmp_path: Path) -> None:
    """With the students of the same seed that have no teacher, of every size."""
    found = plan(tmp_path, MINE.replace("- method: none", "- method: none\n    size: [student, student_small]"))
    for student in ("word-0.1-T2-s2", "word-cached-0.1-s2", "seq-nearest-0.1-s2", "both-nearest-0.1-s2"):
        assert found.compared_before(student) == ["runs/tiny/leads/teacher-0.1-s2"]
    assert found.compared_before("teacher-0.1-s2") == found.compared_before("student-s2") == []
    systems = ["teacher-0.1-s2", "student-s2", "student-small-s2"]
    assert found.compared("teacher-0.1-s2") == [f"runs/tiny/{system}/result.json" for system in systems]
    assert found.lead_command("teacher-0.1-s2") == " ".join(["lskd table", *found.compared("teacher-0.1-s2")])


def test_experiments_that_share_students_wait_for_the_same_files(tmp_path: Path) -> None:
    """With other files, Snakemake would train them again."""
    found, without = plan(tmp_path), plan(tmp_path, MINE.replace("  - method: none\n", ""))
    assert "student-s1" not in without.systems and without.compared("teacher-0.1-s1") == [
        "runs/tiny/teacher-0.1-s1/result.json"
    ]
    for system in without.systems:
        assert without.compared_before(system) == found.compared_before(system)


def test_the_cache_for_both_levels_covers_the_selected_translations(tmp_path: Path) -> None:
    found = plan(tmp_path, MINE.replace("method: [sequence, both]", "method: both\n    cached: true"))
    name = "both-cached-nearest-0.1-s1"
    assert not any(name in cache for cache in found.caches)
    words = shlex.split(found.train_command(name))
    assert words[0] == "scripts/distill_seq.sh" and words[words.index("--cache-top-k") + 1] == "16"
    assert words[words.index("--word-level") + 1] in found.made_from(name)


def test_the_usual_scale_is_the_only_one_of_an_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    assert usual_scale(str(path), FOLDER) == "tiny" and usual_scale("methods", FOLDER) == "smoke"
    path.write_text(MINE + "  other: {corpus: generated, languages: [xx, yy], recipe: smoke}\n")
    assert usual_scale(str(path), FOLDER) == "smoke"


def test_caches_of_several_sizes(tmp_path: Path) -> None:
    """The default size keeps its names, so that experiments share it."""
    sizes = "cache_top_k: [8, 16]\n  - method: word\n    temperature: [1, 2]\n    cache_bytes: 48"
    found = plan(tmp_path, MINE.replace("cached: [false, true]", sizes))
    for system, cache, keep in (
        ("word-cached-k8-0.1-s1", "cache-k8-T1-teacher-0.1-s1", "--top-k 8"),
        ("word-cached-0.1-T2-s1", "cache-T2-teacher-0.1-s1", "--top-k 16"),
        ("word-cached-48B-0.1-s1", "cache-48B-T1-teacher-0.1-s1", "--bytes-per-token 48"),
    ):
        assert found.systems[system].cache == cache and f" {keep} " in found.cache_command(cache)
        assert f"--teacher-cache runs/tiny/{cache}/top-k" in found.train_command(system)


def test_both_levels_have_caches_of_several_sizes_too(tmp_path: Path) -> None:
    found = plan(tmp_path, MINE.replace("method: [sequence, both]", "method: both\n    cache_bytes: 48"))
    assert " --cache-bytes 48 " in found.train_command("both-cached-48B-nearest-0.1-s1") and "48B" not in str(
        found.caches
    )


def test_options_of_the_criterion_tell_students_apart(tmp_path: Path) -> None:
    options = 'options: ["--kd-rest renormalise", "--kd-divergence reverse_kl"]'
    found = plan(tmp_path, MINE.replace("cached: [false, true]", options))
    assert found.train_command("word-0.1-kd-rest-renormalise-s1").endswith("-- --max-update 3 --kd-rest renormalise")
    assert found.train_command("word-0.1-kd-divergence-reverse-kl-s1").endswith("--kd-divergence reverse_kl")


def test_a_model_of_the_other_direction_filters_translations(tmp_path: Path) -> None:
    found = plan(tmp_path, MINE.replace("strategy: nearest", "strategy: nearest\n    filter_worst: 0.1"))
    name, back = "seq-nearest-0.1-filter0.1-s2", found.checkpoint("backward-s2")
    command = found.train_command(name)
    assert "--filter-worst 0.1 " in command and f"--backward {back}" in command and back in found.made_from(name)
    command = found.train_command("backward-s2")
    assert "train_teacher.sh" in command and "--size student --seed 2 --direction yy-xx" in command
    # It is trained once per seed, for all teachers and methods, and is not in the table.
    assert list(found.backward) == ["backward-s1", "backward-s2"]
    assert "backward-s1" not in found.report_command() + found.speed_command() + found.curves_command()
    assert found.made_from("backward-s2") == ["data/tiny/prepared"] and not found.compared_before("backward-s2")
    assert jobs_of(found)[name].needs[:2] == ("translations-teacher-0.1-s2", "backward-s2")
    assert not plan(tmp_path).backward


def test_samples_are_candidates_of_their_own(tmp_path: Path) -> None:
    found = plan(tmp_path, MINE.replace("strategy: nearest", "strategy: [nearest, mbr]\n    samples: 16"))
    assert found.systems["seq-mbr-samples16-0.1-s1"].translations == "samples16-teacher-0.1-s1"
    words = found.translate_command("samples16-teacher-0.1-s1")
    assert "--nbest 16" in words and "--sampling --beam 16" in words
    assert "--strategy mbr" in found.train_command("seq-mbr-samples16-0.1-s1")


def test_languages_are_those_of_the_scale(tmp_path: Path) -> None:
    text = MINE + "  back: {corpus: multi30k, languages: [en, de], recipe: multi30k, data: back}\n"
    text += "  own: {corpus: own, languages: [de, en], recipe: multi30k, data: mine}\n"
    back, own = plan(tmp_path, text, "back"), plan(tmp_path, text, "own", raw="my/text")
    assert back.prepare_command() == "scripts/prepare.sh --corpus multi30k --data data/back -s en -t de"
    assert own.prepare_command() == "scripts/prepare.sh --corpus own --data data/mine -s de -t en --raw my/text"


def test_commands_are_as_a_user_would_type_them(tmp_path: Path) -> None:
    found = plan(tmp_path, raw="/my/raw")
    assert found.prepare_command() == "scripts/prepare.sh --corpus generated --data data/tiny --raw /my/raw"
    assert found.train_command("word-cached-0.1-T2-s1") == (
        "scripts/distill_word.sh --recipe smoke --data data/tiny --size student --seed 1 --kd-temperature 2.0 "
        "--teacher-smoothing 0.1 --teacher-size teacher --teacher-cache runs/tiny/cache-T2-teacher-0.1-s1/top-k "
        "--out runs/tiny/word-cached-0.1-T2-s1 -- --max-update 3"
    )
    assert found.cache_command("cache-T2-teacher-0.1-s1") == (
        "lskd cache data/tiny/bin --teacher-path runs/tiny/teacher-0.1-s1/checkpoint_average.pt --top-k 16 "
        "--kd-temperature 2 --out runs/tiny/cache-T2-teacher-0.1-s1/top-k"
    )


def test_exported_models_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = plan(tmp_path)
    words = shlex.split(found.score_command("teacher-0.0-s1"))
    assert words[words.index("--export") + 1] == "int8"
    words = shlex.split(found.speed_command())
    assert words[words.index("--threads") + 1] == "1" and words[words.index("--rounds") + 1] == "2"
    found.exports = False
    assert "--export" not in found.score_command("teacher-0.0-s1")
    monkeypatch.setattr("fairseq_lskd.experiments.plan.is_installed", lambda _: True)
    assert found.without_exports() is None
    monkeypatch.setattr("fairseq_lskd.experiments.plan.is_installed", lambda _: False)
    assert "ctranslate2" in str(found.without_exports())
    moses = plan(tmp_path, MINE.replace("data: tiny", "data: tiny, prepare: [--recipe, moses-bpe]"))
    assert "Moses" in str(moses.without_exports())


def test_the_models_of_the_first_seed_are_analysed(tmp_path: Path) -> None:
    found = plan(tmp_path)
    teachers, students = found.analysed()
    assert teachers == ["teacher-0.0-s1", "teacher-0.1-s1"] and len(students) == 12
    words = shlex.split(found.analyse_command())
    assert words[:6] == ["lskd", "analyze", "--data", "data/tiny/bin", "--out", "runs/tiny/results/mine/analysis"]
    assert words[6:8] == ["--truth", "data/tiny/raw"]
    assert words.count("--teacher") == 2 and words[words.index("--names") + 1] == "teacher-0.0,teacher-0.1"
    assert words.count("--student") == 12 and "student-s1" not in str(words)
    assert words[words.index("--student-names") + 1].startswith("word-0.0,word-0.1,word-cached-0.0,")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_every_scale(name: str, scale: str) -> None:
    found = Plan.read(name, scale, FOLDER)
    assert found.systems and (FOLDER.parent / "scripts" / "recipes" / f"{found.settings.recipe}.sh").is_file()
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ") and ("scripts/experiment.sh " + name in text or name == "quickstart")


@pytest.mark.parametrize("scale", SCALES)
def test_experiments_in_one_folder_agree_on_the_commands_that_they_share(scale: str) -> None:
    commands: dict[str, str] = {}
    for name in EXPERIMENTS:
        found = Plan.read(name, scale, FOLDER)
        for system in found.systems:
            key = f"{found.runs}/{system}"
            assert commands.setdefault(key, found.train_command(system)) == found.train_command(system)


def test_every_job_that_uses_a_gpu_gets_one_from_slurm() -> None:
    """Where the experiment is called there may be none."""
    given = yaml.safe_load((FOLDER / "slurm/config.yaml").read_text())["set-resources"]
    for path in (FOLDER / "Snakefile", FOLDER / "multilingual/Snakefile"):
        rules = re.findall(r"^rule (\w+):\n((?: .*\n|\n)+)", path.read_text(), re.MULTILINE)
        using = [name for name, does in rules if "gpu=GPU" in does]
        assert len(using) > 3 and all(given[name]["gpu"] == 1 for name in using)


@pytest.mark.parametrize(
    ("file", "config"),
    [
        ("Snakefile", ["experiment=quickstart", "scale=smoke"]),
        ("multilingual/Snakefile", ["pairs=xx-yy,zz-yy", "seeds=1", "recipe=a b/own.sh", "name=mine", "prepare=--x"]),
    ],
)
def test_the_path_of_the_checkout_may_have_a_space(tmp_path: Path, file: str, config: list[str]) -> None:
    """With several GPUs each command begins with a script of the checkout."""
    root = tmp_path / "my checkout"
    for name in ("experiments", "scripts"):
        shutil.copytree(FOLDER.parent / name, root / name)
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b/own.sh").touch()
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "experiments" / file), "--cores", "2"]
    command += ["--nolock", "--dry-run", "--printshellcmds", "--quiet", "host", "--config", "gpus=2", "threads=1"]
    done = subprocess.run([*command, *config], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    commands = re.findall(r"^Shell command: (.*)", done.stdout, re.MULTILINE)
    on_gpu = [shlex.split(each) for each in commands if "on_gpu.sh" in each]
    assert len(on_gpu) >= 5, done.stdout + done.stderr
    for words in on_gpu:
        scripts = [word for word in words if word.startswith(str(root))]
        assert words[0] == scripts[0] == str(root / "scripts/on_gpu.sh")
        assert all(Path(script).is_file() for script in scripts)
    assert "recipe=a b/own.sh" not in config or all("a b/own.sh" in words for words in on_gpu)


def test_an_experiment_with_different_trainings_has_its_own_folder() -> None:
    assert Plan.read("paper", "small", FOLDER).runs == "runs/multi30k-paper"
    assert Plan.read("paper", "small", FOLDER, "here").runs == "runs/here"
    assert Plan.read("methods", "small", FOLDER).runs == "runs/multi30k"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Mine", "titel: Mine", "titel: no such key; did you mean title?"),
        ("title: Mine", "", "title is missing"),
        ("[1, 2]\nteach", "[0, a]\nteach", "seeds [0, 'a']: expected a list of whole numbers from 1"),
        (
            "label_smoothing: [0.0",
            "label_smoothing: [big",
            "label_smoothing: 'big' has the wrong type: expected a number",
        ),
        ("label_smoothing", "smoothing", "label_smoothing is missing"),
        ("label_smoothing: [0.0", "label_smoothing: [-3", "teachers: label_smoothing: -3: expected"),
        ("method: none", "method: word\n    kd_weight: 7", "students: kd_weight: 7: expected a number from 0 to 1"),
        ("method: none", "method: word\n    temperature: .nan", "students: temperature: nan: expected"),
        ("method: none", "method: sequence\n    strategy: best", "students: strategy: 'best': expected one of 1-best"),
        ("title: Mine", "title: Mine\ntokenize: words", "tokenize: words: expected one of none, zh, 13a"),
        ("[xx, yy]", "[no, yy]", "languages: expected [source, target]"),
        ("method: none", "method: nothing", "method nothing: expected one of none, word, sequence, both"),
        ("method: none", "method: none\n    temperature: 2", "temperature: not allowed with method none"),
        ("cached: [false, true]", "cache_top_k: 0", "students: cache_top_k: 0: expected a number above 0"),
        ("cached: [false, true]", "cache_top_k: 8\n    cache_bytes: 48", "cache_top_k and cache_bytes"),
        (
            "strategy: nearest",
            "strategy: nearest\n    filter_worst: 1",
            "students: filter_worst: 1: expected a number between 0 and 1",
        ),
        ("cached: [false, true]", "cached: [false, true]\n    cache_bytes: 48", "cache_bytes: not allowed with cached"),
        ("strategy: nearest", "strategy: nearest\n    samples: 1", "students: samples: 1: expected a number from 2"),
        ("strategy: nearest", "strategy: mbr\n    score_temperature: 0.1", "not allowed with strategy mbr, only with"),
        ("cached: [false, true]", "options: --user-dir mine", "'--user-dir' runs code"),
        ("cached: [false, true]", "cached: 1", "cached: 1 has the wrong type: expected true or false"),
        (
            "train: [--max-update, 3]",
            "train: --max-update 3",
            "train: '--max-update 3' has the wrong type: expected a list, [--max-update, 3]",
        ),
        ("recipe: smoke", "recipe: smok", "scale tiny: recipe 'smok': expected one of europarl-en-fr,"),
        ("recipe: smoke", "recipe: my/own.sh", "recipe 'my/own.sh': expected one of europarl-en-fr,"),
        ("[sequence, both]", "[sequence, word]", "strategy: not allowed with method word"),
        ("recipe: smoke", "corpse: x", "scale tiny: corpse: no such key; did you mean corpus?"),
        ("recipe: smoke", "corpse: x", "scale tiny: recipe is missing"),
        ("method: none", "method: none\n    size: huge", "size: huge: the recipe smoke has student, student_small,"),
        ("recipe: smoke", "recipe: smoke, prepare: [--test 5]", "prepare: '--test 5' is one word with a space"),
        ("[xx, yy]", "[xx]", "languages: expected [source, target]"),
        ("- method: none", "- none", "students: method is missing"),
        ("seeds: [1, 2]", "seeds: [1, 2", "not a YAML file"),
        ("seeds: [1, 2]", "seeds: 1, 2", "seeds: '1, 2' has the wrong type: expected a list, [1, 2]"),
        ("seeds: [1, 2]", "seeds: 3.0", "seeds: 3.0 has the wrong type"),
        ("method: none", "method: [[none]]", "method"),
        ("  tiny:", "  other: [1]\n  tiny:", "scales: other is [1], expected a table or nothing"),
        ("[xx, yy]", "null", "languages: None has the wrong type"),
        (
            "method: none",
            f"method: none\n    temperature: {[1] * 101}\n    kd_weight: {[1] * 100}",
            "10,100 combinations",
        ),
    ],
)
def test_mistakes_are_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in MINE
    with pytest.raises(UserError) as caught:
        plan(tmp_path, MINE.replace(old, new, 1))
    assert message in str(caught.value) and "mine.yaml" in str(caught.value)


def test_only_the_command_line_may_name_a_recipe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "own.sh"
    mine.touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"recipe 'own\.sh': expected one of .*--recipe"):
        plan(tmp_path, MINE.replace("recipe: smoke", "recipe: own.sh"))
    with pytest.raises(UserError, match=r"--recipe .*none\.sh: no such file"):
        plan(tmp_path, recipe="./none.sh")
    with pytest.raises(UserError, match=r"--recipe none: expected a file \(\.sh\), or one of europarl-en-fr"):
        plan(tmp_path, recipe="none")
    found = plan(tmp_path, recipe="own.sh")
    assert plan(tmp_path, recipe="multi30k").settings.recipe == "multi30k"
    recipes = FOLDER.parent / "scripts" / "recipes"
    assert found.recipe_file(recipes) == mine and plan(tmp_path).recipe_file(recipes) == recipes / "smoke.sh"
    for command in (
        found.train_command("teacher-0.0-s1"),
        found.score_command("teacher-0.0-s1"),
        found.speed_command(),
    ):
        words = shlex.split(command)
        assert words[words.index("--recipe") + 1] == str(mine)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    text = (
        MINE.replace("title: Mine", "titel: Mine")
        .replace("label_smoothing", "smooth", 1)
        .replace("seeds: [1, 2]", "seeds: 3", 1)
    )
    with pytest.raises(UserError) as caught:
        plan(tmp_path, text)
    for part in ("titel", "title is missing", "seeds: 3 has the wrong type", "label_smoothing is missing"):
        assert part in str(caught.value)


def test_a_misspelt_key_of_a_student_is_one_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        plan(tmp_path, MINE.replace("strategy: nearest", "strategy: nearest\n    sample: 8"))
    assert str(caught.value).splitlines()[1:] == ["  students: sample: no such key; did you mean samples?"]


def test_seeds_are_checked_even_if_the_scale_overrides_them(tmp_path: Path) -> None:
    for wrong in ("[a]", "[true]", "[]", "[1.5]"):
        with pytest.raises(UserError, match=r"  seeds \["):
            plan(tmp_path, MINE.replace("seeds: [1, 2]", f"seeds: {wrong}", 1), scale="smoke")


def test_the_tokeniser_goes_to_score(tmp_path: Path) -> None:
    found = plan(tmp_path, MINE.replace("title: Mine", "title: Mine\ntokenize: char", 1))
    assert found.score_command(next(iter(found.systems))).endswith(" -- --tokenize char")


def test_more_test_sets_are_prepared_scored_and_put_in_tables(tmp_path: Path) -> None:
    text = MINE.replace("recipe: smoke,", "recipe: smoke, tests: {news: wmt13, mine: },")
    found = plan(tmp_path, text)
    assert "--test-set news=wmt13 --test-set mine" in found.prepare_command()
    own, news, mine = found.score_command("student-s1", "on ").split(" && ")
    assert own.startswith("on scripts/score.sh ") and "--test-set" not in own
    assert news == f"{own} --test-set news" and mine == f"{own} --test-set mine"
    assert found.records("student-s1") == [f"runs/tiny/student-s1/result{of}.json" for of in ("", "-news", "-mine")]
    table, differences, *others = map(shlex.split, found.tests_commands())
    assert len(others) == 2 and table[2] == "runs/tiny/teacher-0.0-s1/result-news.json"
    out = "runs/tiny/results/mine/tests/news"
    assert table[table.index("--out") + 1] == differences[2] == f"{out}/results.json"
    assert differences[-1] == f"{out}/differences.md"
    with pytest.raises(UserError, match=r"tests: '\.\./x'"):
        plan(tmp_path, text.replace("news: wmt13", "../x: wmt13"))
    with pytest.raises(UserError, match=r"tests: .*3"):
        plan(tmp_path, text.replace("news: wmt13", "news: 3"))


def test_a_scale_may_have_other_teachers_and_students(tmp_path: Path) -> None:
    fewer = "data: tiny, teachers: [{label_smoothing: 0.2}], students: [{method: word, temperature: [1, 3]}],"
    found = plan(tmp_path, MINE.replace("data: tiny,", fewer))
    assert set(found.systems) == {
        f"{name}-s{seed}" for name in ("teacher-0.2", "word-0.2", "word-0.2-T3") for seed in (1, 2)
    }
    with pytest.raises(UserError, match="students: method nothing"):
        plan(tmp_path, MINE.replace("data: tiny,", "data: tiny, students: [{method: nothing}],"))


def test_unknown_names_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--scale huge: expected one of smoke, cpu, .* full, tiny"):
        plan(tmp_path, scale="huge")
    with pytest.raises(
        UserError, match="experiment nothing: expected a YAML file, or one of caches, methods, multilingual, paper"
    ):
        Plan.read("nothing", "smoke", FOLDER)
    with pytest.raises(UserError, match=r"metods: did you mean methods\? Expected a YAML file, or one of caches"):
        Plan.read("metods", "smoke", FOLDER)
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        Plan.read("none.yaml", "smoke", FOLDER)


@hostile.few
@given(hostile.misvalued(yaml.safe_load(MINE)) | hostile.mutated(MINE.encode()).map(lambda text: text.decode("latin1")))
def test_any_content_of_an_experiment(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    hostile.read_or_refuse(lambda: plan(tmp_path_factory.getbasetemp(), text))


@hostile.few
@given(hostile.misvalued(yaml.safe_load((FOLDER / "scales.yaml").read_text())))
def test_any_content_of_the_scales(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "scales.yaml").write_text(text, encoding="utf-8")
    (folder / "mine.yaml").write_text(MINE, encoding="utf-8")
    hostile.read_or_refuse(lambda: read("mine", "smoke", folder))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "recipe: smoke",
            "recipe: ../../../elsewhere/evil",
            "recipe '../../../elsewhere/evil': expected one of europarl-en-fr",
        ),
        ("recipe: smoke", "recipe: /elsewhere/evil.sh", "recipe '/elsewhere/evil.sh': expected one of europarl-en-fr"),
        ("data: tiny", "data: ../victim", "data: '../victim'"),
        ("corpus: generated", "corpus: ../x", "corpus: '../x'"),
        ("[xx, yy]", "[../xx, yy]", "languages: '../xx'"),
        ("method: none", "method: none\n    size: 'x[$(touch PWN)]'", "size: 'x[$(touch PWN)]'"),
        ("strategy: nearest", "strategy: ../../n-best", "strategy: '../../n-best'"),
        ("[--max-update, 3]", "[--user-dir, evil]", "'--user-dir' runs code"),
        ("[--max-update, 3]", "[--user-d=evil]", "'--user-d=evil' runs code"),
        ("[--max-update, 3]", "[--save-dir, ../x]", "'--save-dir': the experiment names the folders"),
        ("method: none", "method: none\n    options: --save-dir=x", "'--save-dir=x': the experiment names the folders"),
        ("[--max-update, 3]", "[], score: [--comet-model, evil.ckpt]", "'--comet-model' runs code"),
    ],
)
def test_names_and_options_that_run_code_or_lead_elsewhere(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        plan(tmp_path, MINE.replace(old, new))
    assert said in str(error.value)


def test_the_users_own_corpus_file(tmp_path: Path) -> None:
    text = MINE.replace("corpus: generated", "corpus: my/corpus.toml").replace(", data: tiny", "")
    assert plan(tmp_path, text).data == "data/corpus"
