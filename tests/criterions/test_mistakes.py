"""Mistakes in options end the command with a message, before training starts."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from cached import K, write_cache
from reference import UNBOUNDED
from tiny import MODEL, TRAIN, batch, configure, make_criterion, make_model

ALL = ("label_smoothed_teacher", "word_kd", "seq_kd")
KD = ("word_kd", "seq_kd")


def complaint(task, name, **settings):
    """Return the message with which the criterion refuses the settings; it is a SystemExit, without a traceback."""
    with pytest.raises(SystemExit) as error:
        make_criterion(task, name, **settings)
    message = error.value.code
    assert isinstance(message, str) and message.startswith(f"--criterion {name}: error: ")
    return message


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan")])
def test_label_smoothing(task, name, value):
    said = complaint(task, name, label_smoothing=value, **({"teacher_path": "none"} if name == "word_kd" else {}))
    assert said.endswith(f"--label-smoothing {value}: expected a number in [0, 1)")


@pytest.mark.parametrize("name", ALL)
def test_ignore_prefix_size(task, name):
    assert "--ignore-prefix-size -1: expected 0 or more" in complaint(task, name, ignore_prefix_size=-1)


@pytest.mark.parametrize("name", KD)
@pytest.mark.parametrize("value", [-0.5, 1.5, float("nan")])
def test_kd_weight(task, name, value):
    assert f"--kd-weight {value}: expected a number in [0, 1]" in complaint(task, name, kd_weight=value)


@pytest.mark.parametrize("name", KD)
@pytest.mark.parametrize("value", [0.0, 1e-320, -1.0, float("inf"), float("nan")])
def test_kd_temperature(task, name, value):
    assert f"--kd-temperature {value}: expected a number above 0" in complaint(task, name, kd_temperature=value)


OUT_OF_RANGE = {
    **{
        name: ("a number between 0 and 1", [0.0, 1.0, -0.5, float("nan")])
        for name in ("kd_beta", "kd_skew", "kd_head", "kd_alpha")
    },
    "kd_select_share": ("a number in (0, 1]", [0.0, -0.1, 1.1, float("nan")]),
    "kd_ranking": ("0 or more", [-1]),
    "kd_iterations": ("1 or more", [0, -1]),
    "kd_queue_size": ("1 or more", [0]),
    "kd_top_k": ("1 or more", [0, -3]),
}


@pytest.mark.parametrize("name", KD)
@pytest.mark.parametrize("option", OUT_OF_RANGE)
def test_numbers_out_of_range(task, name, option):
    expected, values = OUT_OF_RANGE[option]
    for value in values:
        said = complaint(task, name, teacher_path="none", **{option: value})
        assert said.endswith(f"error: --{option.replace('_', '-')} {value}: expected {expected}")


@pytest.mark.parametrize("name", KD)
@pytest.mark.parametrize("cut", [{"kd_top_k": 3, "teacher_path": "t.pt"}, {"teacher_cache": "cache"}])
@pytest.mark.parametrize("divergence", UNBOUNDED)
def test_an_infinite_divergence(task, name, cut, divergence):
    said = complaint(task, name, kd_divergence=divergence, kd_rest="renormalise", **cut)
    assert f"error: --kd-divergence {divergence} is infinite with --kd-rest renormalise" in said
    assert said.endswith("--kd-rest class")


@pytest.mark.parametrize("name", KD)
def test_iterations_need_an_online_teacher(task, name):
    said = complaint(task, name, teacher_cache="cache", kd_iterations=3)
    for fact in ("--kd-iterations 3", "--teacher-cache", "--teacher-path alone"):
        assert fact in said


@pytest.mark.parametrize("name", KD)
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"kd_top_k": 16}, ("--kd-top-k 16:", " 15,", "vocabulary")),
        ({"kd_ranking": 16}, ("--kd-ranking 16:", " 15,", "vocabulary")),
        ({"kd_ranking": 4, "kd_top_k": 3}, ("--kd-ranking 4:", "--kd-top-k 3")),
    ],
)
def test_more_types_than_the_vocabulary_has(task, teacher_path, name, settings, expected):
    said = complaint(task, name, teacher_path=str(teacher_path), **settings)
    assert f"error: {expected[0]}" in said and all(fact in said for fact in expected) and "\n" not in said


@pytest.mark.parametrize("name", KD)
def test_more_types_than_a_cache_has(bitext, task, teacher_path, tmp_path, name):
    cache = str(write_cache(bitext, teacher_path, tmp_path / "cache"))
    said = complaint(task, name, teacher_cache=cache, kd_top_k=K + 1, kd_ranking=K + 2)
    lines = [line.strip() for line in said.splitlines()[1:]]
    expected = [
        (f"--kd-top-k {K + 1}:", f"at most {K},", cache),
        (f"--kd-ranking {K + 2}:", f"at most {K},", cache),
        (f"--kd-ranking {K + 2}:", f"--kd-top-k {K + 1}"),
    ]
    for line, facts in zip(lines, expected, strict=True):
        assert line.startswith(facts[0]) and all(fact in line for fact in facts)


LIMITS = [
    {"kd_top_k": 15, "kd_ranking": 15},
    {"kd_top_k": 1, "kd_ranking": 1, "kd_rest": "renormalise"},
    {"kd_select": "global", "kd_queue_size": 1, "kd_select_share": 1.0},
    {"kd_select": "batch", "kd_select_share": 1e-9},
]


WITHOUT_EFFECT = [
    ({"kd_skew": 0.3}, "--kd-divergence skewed_forward_kl or skewed_reverse_kl"),
    ({"kd_divergence": "skewed_reverse_kl", "kd_beta": 0.3}, "--kd-divergence jensen_shannon"),
    ({"kd_head": 0.3}, "--kd-divergence adaptive_kl"),
    ({"kd_alpha": 0.3}, "--kd-divergence alpha_divergence"),
    ({"kd_select_share": 0.3}, "--kd-select batch or global"),
    ({"kd_select": "batch", "kd_queue_size": 7}, "--kd-select global"),
    ({"kd_rest": "renormalise"}, "--kd-top-k or a --teacher-cache"),
    ({"teacher_ahead": 2}, "--teacher-process"),
    ({"kd_on_policy_temperature": 0.5}, "--kd-on-policy"),
]


@pytest.mark.parametrize(("settings", "needed"), WITHOUT_EFFECT)
def test_a_parameter_that_nothing_uses_is_refused(task, teacher_path, settings, needed):
    name, value = list(settings.items())[-1]
    said = complaint(task, "word_kd", teacher_path=str(teacher_path), **settings)
    assert f"--{name.replace('_', '-')} {value} has no effect without {needed}" in said


def test_translations_of_the_student_need_a_teacher_that_runs(task, teacher_path):
    settings = {"teacher_path": str(teacher_path), "kd_on_policy": 1.0, "kd_weight": 0.0}
    said = complaint(task, "word_kd", **settings)
    assert "--kd-on-policy 1.0 needs a --kd-weight above 0, because no teacher runs at 0" in said
    # It may run later.
    later = {"kd_schedule": "linear", "kd_schedule_updates": 9, "kd_weight_end": 0.5}
    make_criterion(task, "word_kd", **settings, **later)
    make_criterion(task, "word_kd", **settings | {"teacher_path": "none", "kd_on_policy_temperature": 0.5})


@pytest.mark.parametrize("name", ALL)
def test_a_prior_without_smoothing_is_refused_in_training(task, monkeypatch, name):
    settings = {"smoothing_prior": "unigram", "label_smoothing": 0.0, "ignore_prefix_size": -1}
    said = "--smoothing-prior unigram has no effect with --label-smoothing 0."
    # A validation without the training data sets --label-smoothing 0.
    assert said not in complaint(task, name, **settings)
    monkeypatch.setattr(sys, "argv", ["fairseq-train"])
    assert said in complaint(task, name, **settings)


@pytest.mark.parametrize("name", KD)
def test_options_without_effect_are_allowed_in_a_validation_without_the_teacher(task, name):
    """The student may be of a version that did not refuse them."""
    settings = {"teacher_cache": "c", "teacher_data": "d", "teacher_dtype": "float16", "teacher_ahead": 2}
    make_criterion(task, name, teacher_path="none", **settings, kd_skew=0.3)
    said = complaint(task, name, **settings)
    assert "--teacher-data d has no effect" in said and "--teacher-dtype float16 has no effect" in said


@pytest.mark.parametrize("settings", LIMITS)
def test_limits_of_what_is_compared_are_allowed(task, teacher_path, settings):
    criterion = make_criterion(task, "word_kd", teacher_path=str(teacher_path), **settings).train()
    loss, _, log = criterion(make_model(task), batch(task, range(3)))
    assert loss.isfinite() and log["kd_loss"] > 0


@pytest.mark.parametrize("name", KD)
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"teacher_path": "a:b", "teacher_weights": "1"}, "--teacher-weights 1: 1 weights, but --teacher-path names 2"),
        (
            {"teacher_path": "a:b", "teacher_weights": "1:x"},
            "--teacher-weights 1:x: expected numbers joined by ':', or ent",
        ),
        ({"teacher_path": "a:b", "teacher_weights": "1:0"}, "--teacher-weights 1:0: expected numbers above 0"),
        ({"teacher_path": "a", "teacher_weights": "entropy"}, "--teacher-weights entropy: --teacher-path names one"),
        (
            {"teacher_cache": "c", "teacher_weights": "1:2"},
            "--teacher-weights 1:2 has no effect with --teacher-cache",
        ),
        ({"teacher_cache": "c", "teacher_dtype": "float16"}, "--teacher-dtype float16 has no effect with --teacher-c"),
        ({"teacher_cache": "c", "teacher_data": "d"}, "--teacher-data d has no effect with --teacher-cache"),
        ({"kd_hidden_weight": 2.0}, "--kd-hidden-weight 2.0 has no effect without --kd-hidden"),
        ({"kd_hidden": "mse", "kd_hidden_weight": 0.0}, "--kd-hidden-weight 0.0: expected a number above 0"),
        ({"kd_hidden": "mse", "teacher_cache": "c"}, "--kd-hidden mse: a --teacher-cache has no hidden states"),
        ({"kd_hidden": "mse", "teacher_path": "a:b"}, "--kd-hidden mse needs one teacher"),
        ({"kd_hidden": "mse", "teacher_path": "a", "kd_weight": 0.0}, "--kd-hidden mse needs a --kd-weight above 0"),
        ({"kd_select_by": "length"}, "--kd-select-by length has no effect without --kd-select."),
        ({"kd_select_side": "low"}, "--kd-select-side low has no effect without --kd-select."),
        (
            {"kd_select": "batch", "kd_select_by": "teacher_entropy", "teacher_cache": "c"},
            "--kd-select-by teacher_entropy needs the teacher's whole distribution",
        ),
        ({"kd_weight_end": 0.2}, "--kd-weight-end 0.2 has no effect without --kd-schedule."),
        ({"kd_schedule_updates": 9}, "--kd-schedule-updates 9 has no effect without --kd-schedule."),
        (
            {"kd_schedule": "cosine", "kd_schedule_updates": 9},
            "--kd-schedule cosine has nothing to change. Give --kd-weight-end",
        ),
        ({"kd_schedule": "cosine", "kd_weight_end": 0.1}, "--kd-schedule cosine needs --kd-schedule-updates"),
        (
            {"kd_schedule": "linear", "kd_schedule_updates": 0, "kd_weight_end": 0.1},
            "--kd-schedule-updates 0: expected 1",
        ),
        ({"kd_schedule": "linear", "kd_weight_end": 1.5}, "--kd-weight-end 1.5: expected a number in [0, 1]"),
        ({"kd_schedule": "linear", "kd_temperature_end": 0.0}, "--kd-temperature-end 0.0: expected a number above 0"),
        (
            {"kd_temperature_end": 2.0, "kd_schedule": "linear", "teacher_cache": "c"},
            "a --teacher-cache has one temperature",
        ),
    ],
)
def test_settings_that_do_not_fit_together(task, name, settings, expected):
    assert expected in complaint(task, name, **settings)


def test_loss_form(bitext):
    with pytest.raises(SystemExit):
        configure(bitext, "--criterion", "word_kd", "--loss-form", "chunked")


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_reference_weight(task, value):
    said = complaint(task, "seq_kd", reference_weight=value)
    assert f"--reference-weight {value}: expected a number in [0, 1]" in said and "--sequence-weights" in said


#: For every option of the teacher's term, a value other than its default.
OF_THE_TEACHER = {
    **{"teacher_dtype": "float16", "teacher_process": "cpu", "teacher_ahead": 9},
    **{"teacher_data": "data", "kd_weight": 0.7, "kd_temperature": 2.0, "kd_divergence": "reverse_kl", "kd_beta": 0.3},
    **{"kd_top_k": 3, "kd_rest": "renormalise", "kd_ranking": 5, "kd_iterations": 3, "kd_select": "batch"},
    **{"kd_select_share": 0.2, "kd_queue_size": 9, "kd_skew": 0.2, "kd_head": 0.3, "kd_alpha": 0.4},
    **{"kd_select_by": "length", "kd_select_side": "low", "teacher_weights": "1:2"},
    **{"kd_hidden": "cosine", "kd_hidden_weight": 2.0, "kd_threshold": 1.0},
    **{"kd_schedule": "linear", "kd_schedule_updates": 5, "kd_weight_end": 0.1, "kd_temperature_end": 2.0},
}


def test_seq_kd_without_a_teacher_refuses_options_of_the_teachers_term(task):
    options = set(make_criterion(task, "seq_kd").cfg) - set(make_criterion(task, "label_smoothed_teacher").cfg)
    assert {name for name in options if name.startswith(("kd_", "teacher_"))} == {
        *OF_THE_TEACHER,
        *("teacher_path", "teacher_cache"),
    }
    for name, value in OF_THE_TEACHER.items():
        said = complaint(task, "seq_kd", **{name: value})
        assert f"--{name.replace('_', '-')} {value} has no effect without a teacher" in said
        assert "--teacher-path" in said and "--teacher-cache" in said
    said = complaint(task, "seq_kd", kd_rest="renormalise", kd_weight=0.7)
    assert "--kd-weight 0.7, --kd-rest renormalise has no effect" in said
    # The options of fairseq-validate if the teacher's file no longer exists.
    make_criterion(task, "seq_kd", teacher_path="none", **OF_THE_TEACHER | {"kd_divergence": "forward_kl"})


def test_no_teacher(task):
    assert "--teacher-path is missing" in complaint(task, "word_kd")


@pytest.mark.parametrize("name", KD)
def test_a_missing_teacher(task, tmp_path, name):
    said = complaint(task, name, teacher_path=f"{tmp_path}/x.pt")
    assert f"no checkpoint at {tmp_path}/x.pt: found nothing" in said
    # The student may be one to validate without its teacher.
    assert "--model-overrides \"{'teacher_path': 'none'}\"" in said


def test_missing_weights_and_caches(task, tmp_path):
    said = complaint(task, "seq_kd", sequence_weights=f"{tmp_path}/w.npz")
    assert f"{tmp_path}/w.npz: no such file" in said and "'sequence_weights': None" in said
    said = complaint(task, "word_kd", teacher_cache=f"{tmp_path}/cache")
    assert f"--teacher-cache {tmp_path}/cache: found nothing there" in said and "'teacher_path': 'none'" in said


def test_a_broken_teacher_gets_no_advice_for_missing_files(task, tmp_path):
    (tmp_path / "x.pt").write_text("no checkpoint")
    assert "--model-overrides" not in complaint(task, "word_kd", teacher_path=f"{tmp_path}/x.pt")


def test_all_problems_are_reported_at_once(task):
    settings = {"label_smoothing": 2.0, "ignore_prefix_size": -1, "kd_weight": 1.5, "kd_temperature": 0.0}
    said = complaint(task, "word_kd", **settings, kd_beta=1.0, kd_top_k=0)
    lines = said.splitlines()[1:]
    flags = ["--label-smoothing", "--ignore-prefix-size", "--kd-weight", "--kd-temperature", "--kd-beta", "--kd-top-k"]
    flags += ["--teacher-path"]
    assert [line.split()[0] for line in lines] == flags


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("limits", [{}, {"label_smoothing": 0.0}, {"label_smoothing": 0.99, "ignore_prefix_size": 5}])
def test_limits_are_allowed(task, teacher_path, name, limits):
    make_criterion(task, name, **({"teacher_path": str(teacher_path)} if name == "word_kd" else {}), **limits)


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("temperature", [1e-3, 1e3])
def test_limits_of_distillation_are_allowed(task, teacher_path, weight, temperature):
    for name in KD:
        settings = {"kd_weight": weight, "kd_temperature": temperature}
        assert make_criterion(task, name, teacher_path=str(teacher_path), **settings).teacher is not None


MISTAKES = {
    "label_smoothed_teacher": (["--label-smoothing", "1"], ["--label-smoothing 1.0"]),
    "word_kd": (
        ["--kd-temperature", "0", "--kd-weight", "1.5"],
        ["--kd-temperature 0.0", "--kd-weight 1.5", "--teacher-path is missing"],
    ),
    "seq_kd": (["--teacher-path", "nowhere.pt"], ["no checkpoint at nowhere.pt"]),
}


@pytest.mark.e2e
@pytest.mark.parametrize("name", ALL)
def test_command_ends_with_a_message_and_a_status(bitext, tmp_path, name):
    flags, messages = MISTAKES[name]
    script = Path(sysconfig.get_path("scripts"), "fairseq-train")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "fairseq_cli.train"]
    plugin = Path(__file__).resolve().parents[2] / "fairseq_lskd"
    words = [bitext, "--user-dir", plugin, *MODEL, *TRAIN, "--criterion", name, "--save-dir", tmp_path, *flags]
    done = subprocess.run([*start, *map(str, words)], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in said, said[-2000:]
    assert f"--criterion {name}: error: " in done.stderr
    for message in messages:
        assert message in done.stderr
