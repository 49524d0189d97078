"""Tests of the forms against their formulas in float64, and of the rows of kd_loss.py."""

import json
import math
import shlex

import _forms
import kd_loss
import pytest
import torch
from _forms import FORMS, Problem
from reference import best, cross_entropy, distillation, forward_kl, log_softmax, ranking, smoothed_target, softmax
from torch.utils._python_dispatch import TorchDispatchMode

from fairseq_lskd.losses import fused, projection

TOKENS, CLASSES, WIDTH = 16, 9, 5
ALPHA, WEIGHT = 0.1, 0.5
COUNTS = torch.ones(TOKENS, dtype=torch.bool)


@pytest.fixture
def problem() -> Problem:
    return _forms.make_problem(TOKENS, CLASSES, WIDTH, 2 * WIDTH)


def logits(projection) -> torch.Tensor:
    return (projection.hidden.double() @ projection.weight.double().t()).detach()


def expected(problem: Problem, alpha: float = ALPHA, kd_weight: float = WEIGHT):
    """`(1 - w) H_smoothed + w KL`, with its derivative with respect to the student's logits."""
    says = [logits(problem.teacher)] if kd_weight else []
    return distillation(
        logits(problem.student), problem.target, COUNTS, alpha=alpha, teachers=says, kd_weight=kd_weight
    )


def rows(problem: Problem) -> list[tuple[list[float], list[float], int]]:
    """Logits of student and teacher, and the label, of each token."""
    return list(
        zip(logits(problem.student).tolist(), logits(problem.teacher).tolist(), problem.target.tolist(), strict=True)
    )


def found(problem: Problem, name: str) -> float:
    return FORMS[name](problem).item()


TRUE_FORMS = {
    "fused": {},
    "fused_top16": {},  # 16 types include all 9
    "plain": {},
    "nmt_kd": {},
    "fused_ls": {"kd_weight": 0},
    "fairseq_ls": {"kd_weight": 0},
    "varungumma": {"alpha": 0},
    "liger_n4": {"alpha": 0},
    "liger_n16": {"alpha": 0},
}


@pytest.mark.parametrize(("name", "options"), TRUE_FORMS.items())
def test_loss_and_gradients(problem, name, options):
    wanted = expected(problem, **options)
    loss = FORMS[name](problem)
    assert loss.item() == pytest.approx(wanted.loss, rel=1e-5)
    (2 * loss).backward()  # the factor 2 detects forms that ignore the incoming gradient
    hidden, weight, _ = problem.student
    for tensor, slope in (
        (hidden, wanted.gradient @ weight.double()),
        (weight, wanted.gradient.t() @ hidden.double()),
    ):
        torch.testing.assert_close(tensor.grad.double(), 2 * slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["fused", "plain"])
def test_losses_at_a_temperature(name):
    problem = _forms.make_problem(TOKENS, CLASSES, WIDTH, WIDTH, temperature=2.0)
    says = [logits(problem.teacher)]
    wanted = distillation(
        logits(problem.student), problem.target, COUNTS, alpha=ALPHA, teachers=says, kd_weight=WEIGHT, temperature=2.0
    )
    assert found(problem, name) == pytest.approx(wanted.loss, rel=1e-5)


def test_selective_all_teaches_every_token(problem):
    wanted = math.fsum(old_smoothed(s, y) + forward_kl(log_softmax(t), log_softmax(s)) for s, t, y in rows(problem))
    assert found(problem, "selective_all") == pytest.approx(wanted, rel=1e-5)


def test_selective_global_teaches_tokens_above_the_median_of_the_queue(problem):
    nll = [-log_softmax(s)[y] for s, _, y in rows(problem)]
    queue = [*problem.queue[TOKENS:].tolist(), *nll]
    threshold = sorted(queue)[len(queue) // 2]
    taught = [
        forward_kl(log_softmax(t), log_softmax(s))
        for (s, t, _), value in zip(rows(problem), nll, strict=True)
        if value >= threshold
    ]
    assert 0 < len(taught) < TOKENS
    wanted = math.fsum([*taught, *(old_smoothed(s, y) for s, _, y in rows(problem))])
    assert found(problem, "selective_global") == pytest.approx(wanted, rel=1e-5)


def test_tie_kd_against_its_formula(problem):
    labels = expected(problem, kd_weight=0).loss
    taught = math.fsum(tie(s, t) for s, t, _ in rows(problem))
    # The three iterations are equal here.
    wanted = (1 - WEIGHT) * labels + WEIGHT * taught
    assert found(problem, "tie_kd_x3") == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_rayeren_against_its_formula(temperature):
    problem = _forms.make_problem(TOKENS, CLASSES, WIDTH, WIDTH, temperature=temperature)
    wanted = []
    for s, t, y in rows(problem):
        ids = best(t, 4)
        log_q = log_softmax(s, temperature)
        taught = cross_entropy(softmax([t[k] for k in ids], temperature), [log_q[k] for k in ids])
        wanted.append(WEIGHT * temperature**2 * taught + (1 - WEIGHT) * old_smoothed(s, y))
    assert found(problem, "rayeren_top4") == pytest.approx(math.fsum(wanted), rel=1e-5)


def test_torchtune_is_the_cross_entropy(problem):
    wanted = math.fsum(cross_entropy(softmax(t), log_softmax(s)) for s, t, _ in rows(problem))
    assert found(problem, "torchtune_chunked8") == pytest.approx(wanted, rel=1e-5)


def old_smoothed(row, label):
    """`1 - alpha` on the label and `alpha / K` on every class."""
    return cross_entropy(smoothed_target(label, CLASSES, ALPHA, [1 / CLASSES] * CLASSES), log_softmax(row))


def tie(ours, theirs, small=1e-6):
    """KL with `log(x + 1e-6)`, and the ranking loss of 5 classes."""
    q, p = softmax(ours), softmax(theirs)
    kl = math.fsum(x * (math.log(x + small) - math.log(y + small)) for x, y in zip(p, q, strict=True))
    return kl + ranking(log_softmax(theirs), q, 5)


# The rows.

SPREADS = {"seconds", "time_to_plain", "time_to_fairseq_ls"}
SMALL = shlex.split("--student-width 8 --teacher-width 16 --device cpu --threads 1 --repeats 3")


def test_a_row_of_each_size_and_form_has_spreads_and_the_machine(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(kd_loss.shutil, "which", lambda name: None)  # compiling is slow
    path = tmp_path / "rows.json"
    returned = kd_loss.main(["--tokens", "64", "128", "--vocab", "256", *SMALL, "--json", str(path)])
    rows = json.loads(path.read_text())
    assert rows == returned and len(path.read_text().splitlines()) == len(rows) + 2
    names = [name for name in FORMS if not name.endswith("_compiled")]
    assert [(row["tokens"], row["impl"]) for row in rows] == [(n, name) for n in (64, 128) for name in names]
    for row in rows:
        case = {"device": "cpu", "dtype": "float32", "vocab": 256, "student_width": 8, "teacher_width": 16}
        assert case.items() <= row.items() and row["threads"] == 1 and row["repeats"] == 3
        for name in SPREADS:
            low, high = row[f"{name}_quartiles"]
            assert 0 < low <= row[f"{name}_median"] <= high
        assert 0 < row["peak_units"] <= row["peak_units_gross"]
        assert row["machine"]["cores"] >= 1 and row["machine"]["cpu"]
        assert row["versions"].keys() >= {"python", "torch", "fairseq", "fairseq_lskd"}
    said = capsys.readouterr()
    assert "128 tokens x 256 types, float32, cpu" in said.out and "| liger_n16 " in said.out
    assert "100%" in said.err and "left" in said.err


def test_peaks_in_whole_tensors(monkeypatch):
    """docs/benchmarks.md explains these numbers."""
    # Set the sizes of chunks as in a large batch, where the minimum size does not matter.
    monkeypatch.setattr(fused, "CHUNK_BYTES", {"cpu": (0, 2**30)})
    monkeypatch.setattr(fused, "SMALL_BATCH", 0)
    monkeypatch.setattr(projection, "BLOCK", 256)  # in proportion to the number of types, as with 32,768
    whole = {"fairseq_ls": 3, "plain": 6, "nmt_kd": 9, "tie_kd_x3": 17, "varungumma": 7, "rayeren_top4": 4}
    rows = kd_loss.main(["--tokens", "512", "--vocab", "1024", "--forms", *whole, "fused", *SMALL[:-1], "1"])
    peaks = {row["impl"]: row["peak_units"] for row in rows}
    assert peaks.pop("fused") < 0.25
    assert peaks == pytest.approx(whole, rel=0.01)


def test_a_form_alone_has_no_ratios():
    (row,) = kd_loss.main(["--tokens", "32", "--vocab", "64", "--forms", "fused", *SMALL])
    assert {name for name in row if name.startswith("time_to_")} == {
        "time_to_products_median",
        "time_to_products_quartiles",
    }
    assert row["impl"] == "fused" and row["seconds_median"] > 0


def test_compiled_forms_need_a_compiler(monkeypatch):
    compiled = {"liger_n16_compiled", "liger_1024_compiled"}
    monkeypatch.setattr(kd_loss.shutil, "which", lambda name: None)
    assert not compiled & set(kd_loss.parse(["--device", "cpu"]).forms)
    assert compiled <= set(kd_loss.parse(["--device", "cuda"]).forms)
    monkeypatch.setattr(kd_loss.shutil, "which", lambda name: "/usr/bin/g++" if name == "g++" else None)
    assert compiled <= set(kd_loss.parse(["--device", "cpu"]).forms)


@pytest.mark.slow
@pytest.mark.skipif(not kd_loss.can_compile(), reason="no C++ compiler is installed")
@pytest.mark.parametrize("form", ["liger_n16_compiled", "liger_1024_compiled"])
def test_compiled_forms_are_the_uncompiled_one(problem, form):
    wanted = _forms.liger_n4(problem)
    assert FORMS[form](problem).item() == pytest.approx(wanted.item(), rel=1e-5)


class Multiplications(TorchDispatchMode):
    """Count the operations of matrix products."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_):
            (rows, inner), (_, columns) = args[-2].shape, args[-1].shape
            self.count += rows * inner * columns
        return func(*args, **(kwargs or {}))


def test_products_are_those_of_the_loss(monkeypatch):
    monkeypatch.setattr(projection, "_ONEDNN", None)  # the counter does not know its operations
    problem = _forms.make_problem(640, 9000, 32, 64)
    _forms.products(problem)
    assert problem.student.weight.grad is None
    with Multiplications() as products:
        _forms.products(problem)
    with Multiplications() as loss:
        _forms.plain(problem).backward()
    assert products.count == loss.count == 640 * 9000 * (3 * 32 + 64)


def test_rows_under_load_are_marked():
    rows = kd_loss.main(["--tokens", "32", "--vocab", "64", "--forms", "fused", *SMALL])
    assert "doubtful" in kd_loss.table([rows[0] | {"others_cores": 0.5}])
    assert "doubtful" not in kd_loss.table([rows[0] | {"others_cores": 0.02}])
