"""A multilingual student with a teacher for each language pair (Tan et al., ICLR 2019)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cached import write_cache
from multilingual import (
    BY_TASK,
    MARKS,
    MODELS,
    MULTI,
    PAIRS,
    batch,
    binarise_pairs,
    fairseq_generate,
    fairseq_train,
    fairseq_validate,
    make_model,
    make_task,
    save,
)
from tiny import MODEL, assert_same, backward, make_criterion

from fairseq_lskd.criterions._language_pairs import STRIDE
from fairseq_lskd.teachers.checkpoint import is_weight, read_checkpoint

MIXED, PARTED = "translation_multi_simple_epoch", "multilingual_translation"
FORMS = {
    "source and target": MARKS,
    "target before the source": ["--encoder-langtok", "tgt"],
    "in place of end marks": [*MARKS, "--lang-tok-replacing-bos-eos"],
    "padded on the right": [*MARKS, "--left-pad-source", "False"],
    "none": [],
}
WEIGHT = 0.3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return binarise_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def teachers(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bilingual teacher for each pair, with other weights and a wider model for the second."""
    folder = tmp_path_factory.mktemp("teachers")
    models = (MODEL, [*MODEL, "--encoder-embed-dim", "24", "--decoder-embed-dim", "24"])
    return {
        pair: save(folder / f"{pair}.pt", data, *bilingual(pair), model=tuple(model), seed=seed)
        for seed, (pair, model) in enumerate(zip(PAIRS, models, strict=True), 5)
    }


def bilingual(pair: str) -> list[str]:
    source, target = pair.split("-")
    return ["--task", "translation", "-s", source, "-t", target]


def named(teachers: dict[str, Path], **other: str) -> str:
    """The value of --teacher-path; `other` replaces the path of a pair, with "_" in place of "-"."""
    paths = {pair: str(path) for pair, path in teachers.items()}
    return ",".join(
        f"{pair}={path}" for pair, path in (paths | {k.replace("_", "-"): v for k, v in other.items()}).items()
    )


def teacher_model(data: Path, pair: str, path: Path) -> tuple[Any, Any]:
    """A teacher in float64, in its own task: neither is code of this package."""
    task = make_task(data, *bilingual(pair))
    state = read_checkpoint(path)
    model = task.build_model(state["cfg"]["model"])
    model.load_state_dict(state["model"])
    return model.double().eval(), task


@torch.no_grad()
def distributions(data: Path, teachers: dict[str, Path], sample: dict[str, Any], split: str) -> list[torch.Tensor]:
    """The distribution of a sentence's own teacher at each of its own target tokens, one sentence after the other."""
    loaded = {pair: teacher_model(data, pair, path) for pair, path in teachers.items()}
    found = []
    for number, target in zip(sample["id"].tolist(), sample["target"], strict=True):
        pair, index = PAIRS[number // STRIDE], number % STRIDE
        model, task = loaded[pair]
        sentence = task.dataset(split).collater([task.dataset(split)[index]])
        words = target[target.ne(1)].tolist()
        assert words[len(words) - sentence["target"].size(1) :] == sentence["target"][0].tolist()
        found.append(model(**sentence["net_input"])[0][0].softmax(-1))
    return found


def naive_loss(
    student: Any, sample: dict[str, Any], theirs: list[torch.Tensor], off: tuple[str, ...] = ()
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum over tokens of the loss and of the teacher's term, from the definition, in float64."""
    ours = student(**sample["net_input"])[0].double().softmax(-1)
    loss, kd = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for row, target in enumerate(sample["target"]):
        words = [(place, word) for place, word in enumerate(target.tolist()) if word != 1]
        taught = PAIRS[int(sample["id"][row]) // STRIDE] not in off
        for count, (place, word) in enumerate(words):
            of_teacher = count - (len(words) - len(theirs[row]))  # a language token has no teacher
            nll = -ours[row, place, word].log()
            if of_teacher < 0 or not taught:
                loss = loss + nll
                continue
            p = theirs[row][of_teacher]
            divergence = (p * (p / ours[row, place, : len(p)]).log()).sum()
            loss, kd = loss + (1 - WEIGHT) * nll + WEIGHT * divergence, kd + divergence.detach()
    return loss, kd


@pytest.mark.parametrize("form", list(FORMS))
def test_the_loss_and_its_gradients_equal_the_definition(data: Path, teachers: dict[str, Path], form: str) -> None:
    """In a batch that mixes pairs, each sentence has the distribution of its own teacher."""
    flags = [*MULTI, *FORMS[form]]
    task = make_task(data, *flags)
    student = make_model(task, data, *flags, seed=7).eval()
    criterions = [
        make_criterion(task, "word_kd", teacher_path=named(teachers), kd_weight=WEIGHT, loss_form=each)
        for each in ("fused", "plain")
    ]
    sample = batch(task)
    assert len({number // STRIDE for number in sample["id"].tolist()}) == 2
    wanted, kd = naive_loss(student, sample, distributions(data, teachers, sample, "valid"))
    gradients = backward(student, wanted)
    for criterion in criterions:
        loss, size, logged = criterion.train()(student, sample)
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-6) and size == sample["ntokens"]
        assert float(logged["kd_loss"]) == pytest.approx(kd.item(), rel=1e-5)
        assert_same(backward(student, loss), gradients, tolerance=1e-5)
        assert criterion(student, sample, reduce=False)[0].sum().item() == pytest.approx(wanted.item(), rel=1e-6)


@pytest.mark.parametrize("more", [[], ["--virtual-epoch-size", "50"]], ids=["epochs", "virtual epochs"])
def test_batches_of_training_data_too(data: Path, teachers: dict[str, Path], more: list[str]) -> None:
    """fairseq draws sentences of the pairs with --sampling-method, so an index is not that in the data of the pair."""
    flags = [*BY_TASK[MIXED], *more]
    task = make_task(data, *flags)
    student = make_model(task, data, *flags, seed=7).eval()
    criterion = make_criterion(task, "word_kd", teacher_path=named(teachers), kd_weight=WEIGHT)
    sample = batch(task, "train")
    # The criterion leaves the choice of sentences as it is.
    plain = batch(make_task(data, *flags), "train")
    assert torch.equal(sample["target"], plain["target"]) and torch.equal(sample["id"] % STRIDE, plain["id"])
    wanted, _ = naive_loss(student, sample, distributions(data, teachers, sample, "train"))
    assert criterion.train()(student, sample)[0].item() == pytest.approx(wanted.item(), rel=1e-6)


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_a_pair_without_a_teacher_has_the_label_loss_alone(data: Path, teachers: dict[str, Path], form: str) -> None:
    flags = BY_TASK[MIXED]
    task = make_task(data, *flags)
    student = make_model(task, data, *flags, seed=7).eval()
    path = named(teachers, fr_en="none")
    criterion = make_criterion(task, "word_kd", teacher_path=path, kd_weight=WEIGHT, loss_form=form)
    sample = batch(task)
    wanted, _ = naive_loss(student, sample, distributions(data, teachers, sample, "valid"), off=("fr-en",))
    loss = criterion.train()(student, sample)[0]
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    gradients = backward(student, wanted)
    assert_same(backward(student, criterion(student, sample)[0]), gradients, tolerance=1e-5)


def test_padding_and_other_sentences_do_not_matter(data: Path, teachers: dict[str, Path]) -> None:
    """The loss of a batch is the sum of the losses of its sentences alone."""
    flags = BY_TASK[MIXED]
    task = make_task(data, *flags)
    student = make_model(task, data, *flags, seed=7).eval()
    criterion = make_criterion(task, "word_kd", teacher_path=named(teachers), kd_weight=WEIGHT).train()
    dataset = task.dataset("valid")
    alone = sum(criterion(student, dataset.collater([dataset[i]]))[0].item() for i in range(len(dataset)))
    assert criterion(student, batch(task))[0].item() == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"kd_temperature": 3.0, "label_smoothing": 0.1},
        {"kd_divergence": "jensen_shannon", "ignore_prefix_size": 1},
        {"kd_top_k": 5, "kd_divergence": "reverse_kl"},
        {"kd_ranking": 3},
        {"kd_select": "batch", "kd_select_share": 0.4, "label_smoothing": 0.1},
        {"kd_select": "global", "kd_select_by": "sentence_ce"},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_both_forms_agree(data: Path, teachers: dict[str, Path], settings: dict[str, Any]) -> None:
    flags = BY_TASK[MIXED]
    task = make_task(data, *flags)
    student = make_model(task, data, *flags, seed=7).eval()
    path = named(teachers, de_en=f"{teachers['de-en']}:{teachers['de-en']}")
    found = []
    for form in ("fused", "plain"):
        criterion = make_criterion(task, "word_kd", teacher_path=path, loss_form=form, **settings).train()
        loss, _, logged = criterion(student, batch(task))
        found.append((loss.item(), float(logged["kd_loss"]), backward(student, loss)))
    assert found[0][:2] == pytest.approx(found[1][:2], rel=1e-5)
    assert_same(found[0][2], found[1][2], tolerance=1e-5)


def test_the_dtype_of_teachers(data: Path, teachers: dict[str, Path]) -> None:
    criterion = make_criterion(
        make_task(data, *BY_TASK[MIXED]), "word_kd", teacher_path=named(teachers), teacher_dtype="bfloat16"
    )
    for of in criterion.of_pairs.teachers.values():
        assert {weight.dtype for weight in of.teacher.models[0].parameters()} == {torch.bfloat16}


def test_caches_of_pairs(data: Path, teachers: dict[str, Path], tmp_path: Path) -> None:
    """A sentence has the distribution that the cache of its pair stores for it."""
    flags = BY_TASK[MIXED]
    task = make_task(data, *flags)
    student = make_model(task, data, *flags, seed=7).eval()
    folders = {
        pair: write_cache(data, path, tmp_path / pair, "-s", pair[:2], "-t", "en", "--top-k", "25")
        for pair, path in teachers.items()
    }
    losses = []
    for where in (
        {"teacher_cache": named(folders), "loss_form": "fused"},
        {"teacher_cache": named(folders), "loss_form": "plain", "teacher_path": named(teachers)},
        {"teacher_path": named(teachers)},
    ):
        criterion = make_criterion(task, "word_kd", kd_weight=WEIGHT, **where)
        losses.append(criterion.train()(student, batch(task, "train"))[0].item())
        if "teacher_cache" in where:  # validation leaves the teacher's term out
            assert "kd_loss" not in criterion.eval()(student, batch(task))[2]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0] == pytest.approx(losses[2], rel=2e-3)  # float16 in the caches
    assert "teacher" in refused(
        data, flags, teacher_cache=named({"de-en": folders["fr-en"], "fr-en": folders["fr-en"]})
    )


def test_each_pair_of_multilingual_translation_has_its_teacher(data: Path, teachers: dict[str, Path]) -> None:
    """The parts of the student that are the teachers themselves have nothing to learn; exchanged, they do."""
    flags = BY_TASK[PARTED]
    task = make_task(data, *flags)
    paths = {pair: save(path.parent / "same" / f"{pair}.pt", data, *bilingual(pair)) for pair, path in teachers.items()}
    student = make_model(task, data, *flags, model=MODELS[PARTED], seed=6)
    for pair, path in paths.items():
        student.models[pair].load_state_dict(read_checkpoint(path)["model"])
    criterion = make_criterion(task, "word_kd", teacher_path=named(paths), kd_weight=1.0)
    _, _, logged = task.valid_step(batch(task), student, criterion.eval())
    assert all(abs(logged[f"{pair}:kd_loss"]) < 1e-3 for pair in PAIRS)
    other = make_criterion(task, "word_kd", teacher_path=named(teachers), kd_weight=1.0)
    _, _, logged = task.valid_step(batch(task), student, other.eval())
    assert all(logged[f"{pair}:kd_loss"] > 0.1 for pair in PAIRS)


@pytest.mark.parametrize("marks", [["--encoder-langtok", "src"], ["--encoder-langtok", "tgt", "--decoder-langtok"]])
def test_language_tokens_of_multilingual_translation(data: Path, teachers: dict[str, Path], marks: list[str]) -> None:
    """They replace the end symbols, which a bilingual teacher reads instead."""
    flags = [*BY_TASK[PARTED], *marks]
    task = make_task(data, *flags)
    student = make_model(task, data, *flags, model=MODELS[PARTED], seed=6).eval()
    criterion = make_criterion(task, "word_kd", teacher_path=named(teachers), kd_weight=1.0)
    samples = batch(task)
    _, _, logged = task.valid_step(samples, student, criterion.eval())
    for pair, path in teachers.items():
        model, own = teacher_model(data, pair, path)
        sample, kd = samples[pair], 0.0
        with torch.no_grad():
            ours = student.models[pair](**sample["net_input"])[0].double().log_softmax(-1)
            for row, index in enumerate(sample["id"].tolist()):
                sentence = own.dataset("valid").collater([own.dataset("valid")[index]])
                theirs = model(**sentence["net_input"])[0][0].log_softmax(-1)
                kd += (theirs.exp() * (theirs - ours[row, : len(theirs), : theirs.size(1)])).sum().item()
        assert float(logged[f"{pair}:kd_loss"]) == pytest.approx(kd, rel=1e-5) and ours.size(-1) == 28


def refused(data: Path, flags: list[str], criterion: str = "word_kd", **settings: object) -> str:
    with pytest.raises(SystemExit) as error:
        make_criterion(make_task(data, *flags), criterion, **settings)
    return str(error.value)


def test_mistakes_in_the_names_of_pairs(data: Path, teachers: dict[str, Path]) -> None:
    multi = BY_TASK[MIXED]
    one, two = (f"{pair}={path}" for pair, path in teachers.items())
    for value, facts in {
        one: ("fr-en has no teacher", "fr-en=none"),
        f"{one},{two},cs-en=x.pt": ("cs-en is not in --lang-pairs", "de-en, fr-en"),
        f"{one},{one}": ("de-en twice",),
        f"{one},fr-en=": ("no path for fr-en",),
        "de-en=none,fr-en=none": ("no pair has a teacher",),
        f"{one},fr-en=gone.pt": ("fr-en: ", "no checkpoint at gone.pt", "--model-overrides"),
    }.items():
        said = refused(data, multi, teacher_path=value)
        assert "--teacher-path" in said or "gone.pt" in said
        assert all(fact in said for fact in facts), said
    said = refused(data, BY_TASK["translation"], teacher_path=one)
    assert "--task translation has one pair" in said and str(teachers["de-en"]) in said
    said = refused(data, multi, teacher_path=str(teachers["de-en"]))
    assert "--teacher-path de-en=PATH,fr-en=PATH" in said


def test_teachers_that_do_not_fit(data: Path, teachers: dict[str, Path], tmp_path: Path) -> None:
    """All teachers are checked, and each problem names its pair."""
    multi, swapped = BY_TASK[MIXED], dict(zip(PAIRS, reversed(teachers.values()), strict=True))
    said = refused(data, multi, teacher_path=named(swapped))
    assert "de-en: the teacher" in said and "it translates fr -> en, the student de -> en" in said
    assert "fr-en: the teacher" in said and "it translates de -> en, the student fr -> en" in said
    (tmp_path / "dict.de.txt").write_text("b 1\na 1\n")
    (tmp_path / "dict.fr.txt").write_text((data / "dict.fr.txt").read_text())
    (tmp_path / "dict.en.txt").write_text((data / "dict.en.txt").read_text())
    said = refused(data, multi, teacher_path=named(teachers), teacher_data=str(tmp_path))
    assert "de-en: " in said and "at index 4 the teacher has 'b' and the student 'a'" in said and "fr-en" not in said


def test_a_multilingual_teacher_may_teach_a_pair(data: Path, teachers: dict[str, Path], tmp_path: Path) -> None:
    """It reads its own language tokens, not the student's."""
    flags = [*MULTI, "--encoder-langtok", "tgt"]
    path = save(tmp_path / "t.pt", data, *BY_TASK[MIXED], seed=5)
    task = make_task(data, *flags)
    student = make_model(task, data, *flags, seed=7).eval()
    mixed = make_criterion(task, "word_kd", teacher_path=f"de-en={path},fr-en={path}", kd_weight=1.0)
    sample = batch(task)
    found = mixed(student, sample)[2]["kd_loss"].item()
    by_pair = 0.0
    for pair in PAIRS:
        one = make_task(data, *bilingual(pair))
        of_pair = make_criterion(one, "word_kd", teacher_path=str(path), kd_weight=1.0)
        probs = of_pair.teacher.log_probs(batch(one)["net_input"], torch.zeros(1)).double()
        number = PAIRS.index(pair)
        rows = [(row, i % STRIDE) for row, i in enumerate(sample["id"].tolist()) if i // STRIDE == number]
        ours = student(**sample["net_input"])[0].double().log_softmax(-1)
        order = batch(one)["id"].tolist()
        for row, index in rows:
            theirs = probs[order.index(index)][: int(sample["target"][row].ne(1).sum())]
            by_pair += (theirs.exp() * (theirs - ours[row, : len(theirs), : theirs.size(1)])).sum().item()
    assert found == pytest.approx(by_pair, rel=1e-5)


def test_options_that_do_not_apply(data: Path, teachers: dict[str, Path]) -> None:
    multi, path = BY_TASK[MIXED], named(teachers)
    for settings, fact in (
        ({"teacher_weights": "1:2"}, "--teacher-weights 1:2"),
        ({"kd_hidden": "cosine"}, "--kd-hidden cosine"),
        ({"kd_iterations": 2}, "--kd-iterations 2"),
        ({"kd_select": "batch", "kd_select_by": "teacher_entropy"}, "--kd-select-by teacher_entropy"),
        ({"kd_select": "batch", "kd_select_by": "frequency"}, "--kd-select-by frequency"),
        ({"kd_divergence": "reverse_kl"}, "--kd-divergence reverse_kl is infinite"),
        ({"kd_on_policy": 0.5}, "--kd-on-policy 0.5"),
        ({"kd_threshold": float("nan")}, "--kd-threshold nan"),
        ({"kd_threshold": 1.0, "teacher_cache": path}, "--kd-threshold 1.0"),
        ({"kd_threshold": 1.0, "kd_weight": 0.0}, "--kd-weight above 0"),
        ({"teacher_cache": "folder"}, "--teacher-path and --teacher-cache"),
    ):
        assert fact in refused(data, multi, teacher_path=path, **settings), settings
    said = refused(data, multi, teacher_path=str(teachers["de-en"]), kd_threshold=1.0)
    assert "--kd-threshold 1.0" in said and "PAIR=PATH" in said
    said = refused(data, multi, teacher_path=",".join(map(str, teachers.values())))
    assert all(f"{pair}=PATH" in said for pair in PAIRS)
    flags = [*multi, "--extra-data", "{'mined': 'x'}"]
    assert "--extra-data" in refused(data, flags, teacher_path=path)


def test_a_pair_is_not_taught_while_its_student_is_ahead(data: Path, teachers: dict[str, Path]) -> None:
    """On and off as counted by hand from the argmax of both models on the validation tokens."""
    flags = BY_TASK[MIXED]
    task = make_task(data, *flags)
    student = make_model(task, data, *flags, seed=7).eval()
    make_criterion(task, "word_kd", teacher_path=named(teachers))  # numbers the pairs
    sample = batch(task)
    theirs = distributions(data, teachers, sample, "valid")
    right = {pair: [0, 0, 0] for pair in PAIRS}
    ours = student(**sample["net_input"])[0].argmax(-1)
    for row, number in enumerate(sample["id"].tolist()):
        words = [(place, word) for place, word in enumerate(sample["target"][row].tolist()) if word != 1]
        for (place, word), p in zip(words[1:], theirs[row], strict=True):
            counts = right[PAIRS[number // STRIDE]]
            for i, hit in enumerate((ours[row, place] == word, p.argmax() == word, True)):
                counts[i] += int(hit)
    ahead = {pair: 100 * (mine - its) / tokens for pair, (mine, its, tokens) in right.items()}
    low, high = sorted(PAIRS, key=lambda pair: ahead[pair])
    assert ahead[low] < ahead[high]
    for form in ("fused", "plain"):
        criterion = make_criterion(
            task,
            "word_kd",
            teacher_path=named(teachers),
            kd_weight=WEIGHT,
            kd_threshold=(ahead[low] + ahead[high]) / 2,
            loss_form=form,
        )
        everything, _ = naive_loss(student, sample, theirs)
        # All pairs are taught before the first validation, and in each validation.
        assert criterion.train()(student, sample)[0].item() == pytest.approx(everything.item(), rel=1e-6)
        criterion.begin_validation()
        loss, _, logged = criterion.eval()(student, sample)
        assert loss.item() == pytest.approx(everything.item(), rel=1e-6)
        assert logged["pair_counts"].tolist() == [right[pair] for pair in PAIRS]
        criterion.validated([logged])
        less, _ = naive_loss(student, sample, theirs, off=(high,))
        assert criterion.train()(student, sample)[0].item() == pytest.approx(less.item(), rel=1e-6)
        # A student that has fallen behind is taught again.
        criterion.begin_validation()
        criterion.validated([{"pair_counts": torch.tensor([[0, 9, 9], [0, 9, 9]])}])
        assert criterion(student, sample)[0].item() == pytest.approx(everything.item(), rel=1e-6)


def test_which_pairs_are_taught_is_saved(data: Path, teachers: dict[str, Path]) -> None:
    flags = BY_TASK[MIXED]
    settings = {"teacher_path": named(teachers), "kd_threshold": 0.0}
    before = make_criterion(make_task(data, *flags), "word_kd", **settings)
    before.validated([{"pair_counts": torch.tensor([[9, 1, 9], [1, 9, 9]])}])
    assert before.ahead.taught() == [False, True]
    after = make_criterion(make_task(data, *flags), "word_kd", **settings)
    after.half().load_state_dict(before.state_dict())
    assert after.ahead.taught() == [False, True]
    # Pairs are known by name, and a new pair begins with distillation.
    other = {**settings, "teacher_path": f"en-de=none,{named(teachers)}"}
    more = [*flags, "--lang-pairs", "en-de,fr-en,de-en"]
    task = make_task(data, *more)
    after = make_criterion(task, "word_kd", **other)
    after.load_state_dict(before.state_dict())
    assert after.ahead.taught() == [True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("task", [MIXED, PARTED])
def test_training_validation_and_a_resumed_run(
    data: Path, teachers: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, task: str
) -> None:
    """With unmodified fairseq-train. A resumed run is byte-identical, and remembers which pairs are taught."""
    caplog.set_level("INFO")  # for --log-file
    flags, model = BY_TASK[task], MODELS.get(task, tuple(MODEL))
    common = ["--criterion", "word_kd", "--teacher-path", named(teachers), "--kd-threshold", "-100"]
    common += ["--save-interval-updates", "2", "--keep-interval-updates", "9"]
    found = fairseq_train(data, tmp_path / "whole", *flags, *common, model=model)
    assert float(found["valid_kd_loss"]) > 0 and float(found["train_kd_loss"]) >= 0
    assert all(f"distillation of {pair} is off" in caplog.text for pair in PAIRS)
    fairseq_train(data, tmp_path / "parts", *flags, *common, "--max-update", "2", model=model)
    fairseq_train(data, tmp_path / "parts", *flags, *common, model=model)
    whole, parts = (
        torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=False) for name in ("whole", "parts")
    )
    assert whole["criterion"]["ahead.counts"].tolist() == parts["criterion"]["ahead.counts"].tolist()
    assert whole["criterion"]["ahead.counts"][:, 3].min() > 0
    assert all(torch.equal(whole["model"][name], parts["model"][name]) for name in filter(is_weight, whole["model"]))
    without = ["--model-overrides", "{'teacher_path': 'none'}"]
    fairseq_validate(data, tmp_path / "whole" / "checkpoint_last.pt", *flags, *without)
    fairseq_validate(data, tmp_path / "whole" / "checkpoint_last.pt", *flags)
    assert len(fairseq_generate(data, tmp_path / "whole" / "checkpoint_last.pt", *flags, "-s", "de", "-t", "en")) == 9
