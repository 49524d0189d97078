"""Smoothed cross-entropy: equation (1) of Shen et al. (2021), fairseq's bits, priors, padding."""

import math

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import distillation, smoothed_target

from fairseq_lskd.losses import negative_log_likelihood, smoothed_cross_entropy, smoothing_term, unigram_prior

PAD = 1


def smoothing_terms(log_probs, target, ignore, prior=None):
    return negative_log_likelihood(log_probs, target, ignore), smoothing_term(log_probs, ignore, prior)


def make(shape, classes, *, seed=0, dtype=torch.float64, scale=3.0, pads=0.3):
    """Return logits, labels (some of them padding) and the padding mask."""
    random = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(*shape, classes, generator=random, dtype=torch.float64)).to(dtype).requires_grad_()
    target = torch.randint(0, classes, shape, generator=random)
    target = target.masked_fill(torch.rand(shape, generator=random) < pads, PAD)
    return logits, target, target.eq(PAD)


def loss_of(logits, target, ignore, alpha, prior=None):
    terms = smoothing_terms(logits.log_softmax(-1), target, ignore, prior)
    nll, smooth = (term.sum() for term in terms)
    return smoothed_cross_entropy(nll, smooth, alpha, logits.size(-1), uniform=prior is None)


SHAPES = [((1,), 2), ((1,), 7), ((5,), 2), ((1, 4), 7), ((3, 1), 5), ((3, 4), 7), ((2, 3, 2), 3)]


@pytest.mark.parametrize(("shape", "classes"), SHAPES)
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("unigram", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-5)])
def test_loss_and_gradient_are_the_formulas(shape, classes, alpha, unigram, dtype, tolerance):
    logits, target, ignore = make(shape, classes, dtype=dtype)
    prior = torch.softmax(torch.arange(classes, dtype=torch.float64), 0) if unigram else None
    wanted = distillation(logits, target, ~ignore, alpha=alpha, prior=prior.tolist() if unigram else None)
    loss = loss_of(logits, target, ignore, alpha, prior)
    (3.7 * loss).backward()
    assert loss.item() == pytest.approx(wanted.loss, rel=tolerance, abs=tolerance)
    torch.testing.assert_close(logits.grad.double(), 3.7 * wanted.gradient, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_go_through_float32(dtype):
    """As in fairseq, `log_softmax` is in float32, so only the logits and the final gradient are rounded."""
    logits, target, ignore = make((3, 4), 7, dtype=dtype)
    wanted = distillation(logits, target, ~ignore, alpha=0.1)
    nll, smooth = smoothing_terms(logits.float().log_softmax(-1), target, ignore)
    loss = smoothed_cross_entropy(nll.sum(), smooth.sum(), 0.1, 7)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(wanted.loss, rel=1e-6)
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(logits.grad.double(), wanted.gradient, rtol=step, atol=step / 16)


def test_literal_with_padding():
    """K = 4, alpha = 0.3: targets (0.7 on the label, 0.1 elsewhere). Two tokens count, the third is padding.

    p = (1/2, 1/4, 1/8, 1/8), -log2 p = (1, 2, 3, 3).
    Label 0: 0.7 * 1 + 0.1 * (2 + 3 + 3) = 1.5 bits. Label 2: 0.7 * 3 + 0.1 * (1 + 2 + 3) = 2.7 bits.
    """
    p = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64).expand(3, 4)
    target, ignore = torch.tensor([0, 2, 1]), torch.tensor([False, False, True])
    nll, smooth = smoothing_terms(p.log(), target, ignore)
    assert (nll / math.log(2)).tolist() == pytest.approx([1, 3, 0])
    assert (smooth / math.log(2)).tolist() == pytest.approx([9, 9, 0])
    bits = smoothed_cross_entropy(nll, smooth, 0.3, 4) / math.log(2)
    assert bits.tolist() == pytest.approx([1.5, 2.7, 0])


def test_literal_with_a_unigram_prior():
    """u = (3, 0, 1, 0) / 4, alpha = 0.2, the p above: label 1 gives 0.8 * 2 + 0.2 * (3/4 * 1 + 1/4 * 3) = 1.9 bits."""
    log_p = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64).log()
    prior = unigram_prior(torch.tensor([3, 0, 1, 0]))
    assert prior.tolist() == [0.75, 0, 0.25, 0]
    nll, smooth = smoothing_terms(log_p[None], torch.tensor([1]), torch.tensor([False]), prior)
    assert smoothed_cross_entropy(nll, smooth, 0.2, 4, uniform=False).item() / math.log(2) == pytest.approx(1.9)


@pytest.mark.parametrize("classes", [2, 3, 11])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
def test_the_gradient_is_the_smoothed_target(classes, alpha):
    """d loss / d log p_k = -q_k: 1 - alpha on the label and alpha / (K - 1) on each other class; they add up to 1."""
    log_probs = torch.randn(1, classes, dtype=torch.float64, requires_grad=True)
    nll, smooth = smoothing_terms(log_probs, torch.tensor([1]), torch.tensor([False]))
    smoothed_cross_entropy(nll, smooth, alpha, classes).sum().backward()
    q = (-log_probs.grad[0]).tolist()
    assert q[1] == pytest.approx(1 - alpha)
    assert q[:1] + q[2:] == pytest.approx([alpha / (classes - 1)] * (classes - 1))
    assert q == pytest.approx(smoothed_target(1, classes, alpha)) and sum(q) == pytest.approx(1)


def test_the_gradient_is_the_smoothed_target_with_a_unigram_prior():
    log_probs = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    prior = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    nll, smooth = smoothing_terms(log_probs, torch.tensor([2]), torch.tensor([False]), prior)
    smoothed_cross_entropy(nll, smooth, 0.4, 3, uniform=False).sum().backward()
    # 0.6 * (0, 0, 1) + 0.4 * (0.5, 0.2, 0.3)
    assert (-log_probs.grad[0]).tolist() == pytest.approx([0.2, 0.08, 0.72])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("reduce", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.37])
def test_same_bits_as_fairseq(seed, reduce, alpha):
    logits, target, ignore = make((5, 13), 101, seed=seed, dtype=torch.float32)
    theirs, their_nll = label_smoothed_nll_loss(
        logits.log_softmax(-1).view(-1, 101), target.view(-1), alpha, ignore_index=PAD, reduce=reduce
    )
    theirs.sum().backward()
    gradient, logits.grad = logits.grad, None
    terms = smoothing_terms(logits.log_softmax(-1), target, ignore)
    nll, smooth = (term.sum() if reduce else term.reshape(-1) for term in terms)
    ours = smoothed_cross_entropy(nll, smooth, alpha, 101)
    ours.sum().backward()
    assert torch.equal(ours, theirs.squeeze(-1)) and torch.equal(nll, their_nll.squeeze(-1))
    assert torch.equal(logits.grad, gradient)


def test_without_smoothing_it_is_the_nll():
    logits, target, ignore = make((4, 3), 7)
    nll, smooth = smoothing_terms(logits.log_softmax(-1), target, ignore)
    assert torch.equal(smoothed_cross_entropy(nll, smooth, 0.0, 7), nll)
    assert torch.equal(smoothed_cross_entropy(nll, smooth, 0.0, 7, uniform=False), nll)


@pytest.mark.parametrize("prior", [None, torch.tensor([0.1, 0.0, 0.2, 0.3, 0.4], dtype=torch.float64)])
def test_gradients_of_smoothing_pass_gradcheck(prior):
    logits, target, ignore = make((2, 3), 5)
    assert torch.autograd.gradcheck(lambda z: loss_of(z, target, ignore, 0.1, prior), logits)


def test_not_contiguous():
    logits, target, ignore = make((4, 6), 7)
    wanted = loss_of(logits[:, 1::2], target[:, 1::2], ignore[:, 1::2], 0.1)
    turned = logits.detach().permute(2, 1, 0).contiguous().permute(2, 1, 0)[:, 1::2]
    assert not turned.is_contiguous()
    found = loss_of(turned, target.t().contiguous().t()[:, 1::2], ignore[:, 1::2], 0.1)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("gap", [200.0, 1e4])
def test_extreme_logits_stay_finite(gap):
    """The loss of a label with nearly no probability is the gap; the gradient is p - q."""
    logits = torch.tensor([[gap, 0.0, 0.0]], requires_grad=True)
    loss = loss_of(logits, torch.tensor([1]), torch.tensor([False]), 0.2)
    loss.backward()
    assert loss.item() == pytest.approx(0.9 * gap)  # -log p is the gap for 0.8 + 0.1 of the target
    assert logits.grad[0].tolist() == pytest.approx([1 - 0.1, -0.8, -0.1])


@pytest.mark.parametrize("prior", [None, torch.full((7,), 1 / 7)])
def test_everything_masked_is_zero_and_differentiable(prior):
    logits, _, _ = make((2, 3), 7, dtype=torch.float32)
    target = torch.full((2, 3), PAD)
    loss = loss_of(logits, target, target.eq(PAD), 0.1, prior)
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_values_at_masked_tokens_have_no_effect():
    logits, target, ignore = make((4, 5), 7)
    assert ignore.any() and not ignore.all()
    wanted = loss_of(logits, target, ignore, 0.1)
    changed = logits.detach().clone()
    changed[ignore] = torch.randn_like(changed[ignore])
    changed.requires_grad_()
    found = loss_of(changed, target, ignore, 0.1)
    found.backward()
    assert torch.equal(found, wanted) and not changed.grad[ignore].any() and changed.grad[~ignore].any()


@given(split=st.integers(1, 7), alpha=st.floats(0, 0.99), seed=st.integers(0, 999))
@settings(max_examples=25)
def test_sums_add_up_over_splits(split, alpha, seed):
    logits, target, ignore = make((8, 3), 7, seed=seed)
    whole = loss_of(logits, target, ignore, alpha)
    parts = [loss_of(logits[s], target[s], ignore[s], alpha) for s in (slice(split), slice(split, None))]
    assert sum(part.item() for part in parts) == pytest.approx(whole.item(), rel=1e-12, abs=1e-12)


@given(alpha=st.floats(0, 0.99), seed=st.integers(0, 999), shift=st.floats(-1e3, 1e3))
@settings(max_examples=25)
def test_invariant_to_shifted_logits_and_at_least_the_entropy_of_the_target(alpha, seed, shift):
    logits, target, ignore = make((1, 1), 6, seed=seed, pads=0)
    loss = loss_of(logits, target, torch.zeros_like(ignore), alpha).item()
    assert loss_of(logits + shift, target, torch.zeros_like(ignore), alpha).item() == pytest.approx(loss, rel=1e-9)
    least = -sum(q * math.log(q) for q in smoothed_target(0, 6, alpha) if q > 0)
    assert loss >= least - 1e-12


@given(counts=st.lists(st.integers(0, 2**40), min_size=1, max_size=9).filter(any))
def test_unigram_prior_is_a_distribution_in_proportion_to_the_counts(counts):
    prior = unigram_prior(torch.tensor(counts))
    assert prior.dtype == torch.float32
    assert prior.tolist() == pytest.approx([count / sum(counts) for count in counts], rel=1e-6)


def test_unigram_prior_of_nothing():
    with pytest.raises(ValueError, match="at least one counted token"):
        unigram_prior(torch.zeros(5, dtype=torch.long))


def test_a_prior_keeps_its_precision_under_autocast():
    random = torch.Generator().manual_seed(1)
    log_probs = torch.randn(3, 50, generator=random).log_softmax(-1)
    prior = torch.full((50,), 1e-9).index_fill(0, torch.tensor([0]), 1 - 49e-9)
    ignore = torch.zeros(3, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = smoothing_term(log_probs, ignore, prior)
    assert torch.equal(found, smoothing_term(log_probs, ignore, prior))
