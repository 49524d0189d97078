"""The fused and the plain form of the same batch, with combinations of all options, in float64."""

import dataclasses
import itertools

import pytest
import torch
from reference import UNBOUNDED
from tiny import backward
from torch import nn

from fairseq_lskd.criterions._batch import Batch
from fairseq_lskd.criterions._distillation import Cached, Online
from fairseq_lskd.criterions._forms import Fused, Plain, compute
from fairseq_lskd.losses import (
    DIVERGENCES,
    HIDDEN,
    HiddenTerm,
    Mixture,
    Objective,
    divergence,
    loss_threshold,
    temper,
    top_k,
)
from fairseq_lskd.teachers import OnlineTeacher

K, PADDING, END = 7, 1, 2
#: Two sentences, the second shorter by two tokens.
TARGET = torch.tensor([[5, 3, 6, END], [4, END, PADDING, PADDING]])
PREVIOUS = torch.tensor([[END, 5, 3, 6], [END, 4, PADDING, PADDING]])


class Model(nn.Module):
    """A small model with the interface of fairseq's Transformer that the forms use."""

    def __init__(self, width, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(K, width)
        self.decoder = nn.Module()
        self.decoder.output_projection = nn.Linear(width, K)
        self.double()
        for weight in self.parameters():
            nn.init.normal_(weight)

    def forward(self, prev_output_tokens, features_only=False):
        hidden = torch.tanh(self.embedding(prev_output_tokens).cumsum(1))
        return (hidden if features_only else self.decoder.output_projection(hidden)), None

    def get_normalized_probs(self, output, log_probs):
        assert log_probs
        return output[0].log_softmax(-1)


@pytest.fixture(scope="module")
def student():
    return Model(3, seed=1)


def online(members, temperature, like):
    teacher = OnlineTeacher([Model(4, seed=10 + number) for number in range(members)])
    teacher.why_not_projected = None  # so that the fused form takes it for a Transformer
    return Online(teacher, like, temperature)


def cached(mask, temperature):
    """A cache of a teacher's four most probable classes, without a teacher at the first token."""
    with torch.no_grad():
        model = Model(4, seed=20)
        whole = temper(model.get_normalized_probs(model(PREVIOUS), log_probs=True), temperature)
        best = top_k(whole, 4).rows(mask)
    best.rest[0] = torch.nan
    return Cached(best)


def describe(prefix, weights):
    mask = TARGET.ne(PADDING)
    mask[:, :prefix] = False
    net_input = {"prev_output_tokens": PREVIOUS}
    return Batch(net_input, TARGET, mask, PADDING, prefix, ntokens=6, sample_size=6, sentence_weights=weights)


def hardest(nll):
    return nll() >= loss_threshold(nll(), 0.4)


# All weights are binary fractions: those of tokens are in float32.
PRIOR = torch.tensor([0, 0, 0.25, 0.125, 0.125, 0.25, 0.25])
LABELS = [
    {"label_smoothing": 0.1},
    {"label_weight": 0.25, "label_smoothing": 0.1, "prior": PRIOR},
    {"label_weight": 0.0},
]
#: Prefix and weights of the sentences.
PLACES = [(0, None), (1, torch.tensor([[0.5], [2.0]]))]
SELECT, ITERATIONS, RANKING = [None, hardest], [1, 2], [0, 2]
#: The number of teachers (None for a cache), and the temperature.
TEACHERS = [(1, 1.0), (2, 20.0), (None, 2.5)]
#: Weights of two teachers.
MIXTURES = [Mixture((0.2, 0.8)), Mixture(by_entropy=True), Mixture((3.0, 1.0), by_entropy=True)]
#: Of the combinations of options, one in so many has every pair of values, because options have 2 or 3 values.
EVERY = 5


def some(found, first):
    """Return one in EVERY of these combinations from number `first`, or all if they are few."""
    return found[first % EVERY :: EVERY] if len(found) >= 96 else found


def combinations(name, members):
    """Return every combination of options that this divergence has with so many teachers."""
    cuts = [(k, rest) for k in ((4,) if members is None else (None, 3)) for rest in ("class", "renormalise")]
    iterations = ITERATIONS if members else ITERATIONS[:1]  # a cache does not have the student's predictions
    # renormalise has no effect without a top k, and makes unbounded divergences infinite.
    cuts = [(k, rest) for k, rest in cuts if rest == "class" or not (k is None or name in UNBOUNDED)]
    return list(itertools.product(cuts, RANKING, LABELS, PLACES, SELECT, iterations))


def batches(chosen, name, members, temperature, like):
    """Yield a batch for each of the chosen combinations with this teacher and this divergence."""
    for (k, rest), ranking, labels, place, select, iterations in chosen:
        described = describe(*place)
        yield dataclasses.replace(
            described,
            **labels,
            teacher=cached(described.mask, temperature) if members is None else online(members, temperature, like),
            teacher_weight=0.75,
            select=select,
            iterations=iterations,
            objective=Objective(
                divergence(name, *[0.3] * 4), temperature, None if members is None else k, rest, ranking
            ),
        )


def computed(form, student, batch):
    terms = compute(form, student, batch)
    found = {"loss": terms.loss, "nll": terms.nll.sum(), "kd": torch.zeros(()) if terms.kd is None else terms.kd.sum()}
    assert terms.loss.dtype == torch.float64
    return {name: value.detach().double() for name, value in found.items()} | backward(student, terms.loss)


def assert_alike(student, batch):
    fused, plain = computed(Fused(), student, batch), computed(Plain(), student, batch)
    assert fused.keys() == plain.keys()
    for name, wanted in plain.items():
        torch.testing.assert_close(
            fused[name], wanted, rtol=1e-9, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}\n{batch}"
        )
    return fused["loss"].item()


@pytest.mark.parametrize("first", range(EVERY))
def test_one_in_so_many_combinations_has_every_pair_of_values(first):
    for name in DIVERGENCES:
        every = combinations(name, 1)
        for one, other in itertools.combinations(range(len(every[0])), 2):
            pairs, found = ({(id(row[one]), id(row[other])) for row in rows} for rows in (every, some(every, first)))
            assert found == pairs


@pytest.mark.parametrize(("members", "temperature"), TEACHERS)
@pytest.mark.parametrize("name", DIVERGENCES)
def test_fused_equals_plain(student, name, members, temperature):
    """Every option has an effect too: no two combinations have the same loss.

    forward_kl has all combinations, and the others all together.
    """
    chosen = combinations(name, members)
    if name != "forward_kl":
        chosen = some(chosen, list(DIVERGENCES).index(name))
    like = next(student.parameters())
    losses = [assert_alike(student, batch) for batch in batches(chosen, name, members, temperature, like)]
    assert len({f"{loss:.9g}" for loss in losses}) == len(losses) >= 19


@pytest.mark.parametrize("kind", HIDDEN)
def test_fused_equals_plain_with_hidden_states(student, kind):
    """The gradient with respect to the matrix is equal too."""
    torch.manual_seed(3)
    matrix, losses = torch.randn(4, 3, dtype=torch.float64).requires_grad_(), []
    chosen = some(combinations("forward_kl", 1), list(HIDDEN).index(kind))
    for batch in batches(chosen, "forward_kl", 1, 2.0, next(student.parameters())):
        without = assert_alike(student, batch)
        slopes = []
        batch = dataclasses.replace(batch, hidden=HiddenTerm(kind, 0.5, matrix))
        for form in (Fused(), Plain()):
            terms = compute(form, student, batch)
            slopes.append(torch.autograd.grad(terms.loss, matrix)[0])
            assert terms.loss.item() == pytest.approx(without + 0.5 * terms.hidden.item(), rel=1e-12)
        torch.testing.assert_close(*slopes)
        losses.append(assert_alike(student, batch))
        each = compute(Plain(reduce=False), student, batch).loss
        assert each.shape == (TARGET[:, batch.prefix :].numel(),)
        assert each.sum().item() == pytest.approx(losses[-1], rel=1e-12)
    assert len({f"{loss:.9g}" for loss in losses}) == len(losses) >= 19


@pytest.mark.parametrize("name", ["forward_kl", "adaptive_kl"])
def test_fused_equals_plain_for_all_weights_of_teachers(student, name):
    losses = []
    for number, mixture in enumerate((Mixture(), *MIXTURES)):
        for batch in batches(some(combinations(name, 2), number), name, 2, 1.0, next(student.parameters())):
            batch.teacher.teacher.mixture = mixture
            batch = dataclasses.replace(batch, objective=dataclasses.replace(batch.objective, mixture=mixture))
            losses.append(assert_alike(student, batch))
    assert len({f"{loss:.9g}" for loss in losses}) == len(losses) >= 76


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("labels", [{}, *LABELS])
def test_fused_equals_plain_without_a_teacher(student, labels, place):
    assert_alike(student, dataclasses.replace(describe(*place), **labels))
