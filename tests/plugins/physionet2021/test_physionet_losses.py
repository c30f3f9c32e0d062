"""The asymmetric loss against its formula, binary cross-entropy, and numerical gradients."""

import math

import pytest
import torch
from scalelab_plugins.physionet2021.losses import asymmetric_loss
from torch.nn.functional import binary_cross_entropy_with_logits


def by_hand(outputs, targets, gamma_negative, gamma_positive, margin):
    total = 0.0
    for x, y in zip(outputs.flatten().tolist(), targets.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-x))
        shifted = max(p - margin, 0)
        total -= y * (1 - p) ** gamma_positive * math.log(p)
        total -= (1 - y) * shifted**gamma_negative * math.log(1 - shifted)
    return total / outputs.numel()


def example(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(n, 26, generator=generator, dtype=torch.float64)
    return outputs, (torch.rand(n, 26, generator=generator) < 0.3).double()


CASES = [(4.0, 0.0, 0.05), (4.0, 1.0, 0.05), (2.0, 2.0, 0.0), (0.0, 0.0, 0.2), (3.5, 0.5, 0.3)]


@pytest.mark.parametrize(("negative", "positive", "margin"), CASES)
@pytest.mark.parametrize("focal_gradient", [False, True])
def test_is_the_formula(negative, positive, margin, focal_gradient):
    outputs, targets = example()
    loss = asymmetric_loss(negative, positive, margin, focal_gradient=focal_gradient)(outputs, targets)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(by_hand(outputs, targets, negative, positive, margin), rel=1e-12)


def test_without_focusing_and_margin_it_is_cross_entropy():
    outputs, targets = example()
    outputs.requires_grad_(True)
    ours = asymmetric_loss(0, 0, 0)(outputs, targets)
    theirs = binary_cross_entropy_with_logits(outputs, targets)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(loss, outputs)[0] for loss in (ours, theirs)))


@pytest.mark.parametrize(("negative", "positive", "margin"), CASES)
def test_gradient_with_differentiated_weights_is_the_numerical_one(negative, positive, margin):
    outputs, targets = example(3)
    loss = asymmetric_loss(negative, positive, margin, focal_gradient=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, targets), outputs.requires_grad_(True))


def test_gradient_by_default_takes_the_weights_as_constants():
    """What the reference implementation does; written out with the weights computed beforehand."""
    outputs, targets = example()
    outputs.requires_grad_(True)
    p = torch.sigmoid(outputs.detach())
    shifted = (p - 0.05).clamp(min=0)
    weight = targets * (1 - p) + (1 - targets) * shifted**4
    slope = targets * (p - 1) + (1 - targets) * (p > 0.05) * p * (1 - p) / (1 - shifted)
    (gradient,) = torch.autograd.grad(asymmetric_loss(4, 1, 0.05)(outputs, targets), outputs)
    torch.testing.assert_close(gradient, weight * slope / outputs.numel())


def test_reference_implementation_sums_what_this_means():
    """The reference's forward pass, Alibaba-MIIL/ASL `AsymmetricLoss` with its defaults and eps 1e-8."""
    outputs, targets = example()
    positive = torch.sigmoid(outputs)
    negative = (1 - positive + 0.05).clamp(max=1)
    loss = targets * positive.clamp(min=1e-8).log() + (1 - targets) * negative.clamp(min=1e-8).log()
    pt = positive * targets + negative * (1 - targets)
    loss *= (1 - pt) ** (targets + 4 * (1 - targets))
    torch.testing.assert_close(asymmetric_loss(4, 1, 0.05)(outputs, targets) * outputs.numel(), -loss.sum())


def test_extreme_outputs_stay_finite_and_wrong_positives_keep_their_gradient():
    outputs = torch.tensor([[-200.0, 200.0, 0.0]], requires_grad=True)
    for target in (0.0, 1.0):
        for loss in (asymmetric_loss(), asymmetric_loss(margin=0.0), asymmetric_loss(0, 0, 0)):
            value = loss(outputs, torch.full((1, 3), target))
            (gradient,) = torch.autograd.grad(value, outputs)
            assert torch.isfinite(value)
            assert torch.isfinite(gradient).all()
            if target:
                assert gradient[0, 0] == pytest.approx(-1 / 3)


def test_easy_negatives_are_ignored():
    outputs = torch.tensor([[-4.0]], requires_grad=True)
    loss = asymmetric_loss()(outputs, torch.zeros(1, 1))
    assert loss.item() == 0
    assert torch.autograd.grad(loss, outputs)[0].item() == 0
