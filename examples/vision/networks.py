"""A convolutional network, and a network with binary weights and activations.

The binary network is a small ReActNet (Liu et al., ECCV 2020). The first and the last layer are real. Between them are
3 x 3 convolutions of signs, each with a shortcut, shifted signs (RSign) and shifted PReLUs (RPReLU).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Classifier(nn.Module):
    """A body that maps images to `[N, features]`, and a linear layer; its rows are the templates of the classes."""

    def __init__(self, body: nn.Module, features: int, classes: int):
        super().__init__()
        self.body, self.output = body, nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[N, channels, height, width]` to logits `[N, classes]`."""
        return self.output(self.body(images))


class Residual(nn.Module):
    """Two 3 x 3 convolutions with a shortcut around them."""

    def __init__(self, width: int):
        super().__init__()
        self.inside = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.inside(x))


class _Sign(torch.autograd.Function):
    """The sign, -1 or 1, with the gradient of a piecewise polynomial approximation (Liu et al., ECCV 2018)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (2 - 2 * x.abs()).clamp_min(0)


class _WeightSign(torch.autograd.Function):
    """The sign with a straight-through gradient, which is 0 for latent weights beyond 1 (Courbariaux et al., 2016)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return torch.where(weight < 0, -torch.ones_like(weight), torch.ones_like(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        return grad * (weight.abs() <= 1)


class BinaryConv2d(nn.Module):
    """A 3 x 3 convolution of signs. Training updates latent real weights; the convolution uses their scaled signs.

    The scale of a channel is the mean magnitude of its latent weights (Rastegari et al., ECCV 2016, equation 6).
    """

    def __init__(self, width: int):
        super().__init__()
        self.latent = nn.Parameter(torch.empty(width, width, 3, 3).uniform_(-0.1, 0.1))
        self.threshold = nn.Parameter(torch.zeros(1, width, 1, 1))  # RSign

    def weight(self) -> Tensor:
        """Return the scaled signs, `[out, in, 3, 3]`."""
        scale = self.latent.abs().mean((1, 2, 3), keepdim=True).detach()
        return scale * _WeightSign.apply(self.latent)

    def forward(self, x: Tensor) -> Tensor:
        # Pad with -1, because 0 would be a third value.
        signs = F.pad(_Sign.apply(x - self.threshold), (1, 1, 1, 1), value=-1.0)
        return F.conv2d(signs, self.weight())


class BinaryBlock(nn.Module):
    """A binary convolution with a shortcut, followed by RPReLU."""

    def __init__(self, width: int):
        super().__init__()
        self.conv, self.norm, self.prelu = BinaryConv2d(width), nn.BatchNorm2d(width), nn.PReLU(width)
        self.before, self.after = (nn.Parameter(torch.zeros(1, width, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(x + self.norm(self.conv(x)) - self.before) + self.after


class Halve(nn.Module):
    """Halve height and width by average pooling, and double the channels by repeating them."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 2)
        return torch.cat([x, x], dim=1)


def _network(channels: int, classes: int, width: int, stages: int, blocks: int, block: type[nn.Module]) -> Classifier:
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    for stage in range(stages):
        if stage:
            layers.append(Halve())
            width *= 2
        layers += [block(width) for _ in range(blocks)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Classifier(nn.Sequential(*layers), width, classes)


def convolutional(channels: int, classes: int, width: int, stages: int = 2, blocks: int = 1) -> Classifier:
    """Create a residual network: `stages` of `blocks` blocks. Each stage halves the size and doubles the width."""
    return _network(channels, classes, width, stages, blocks, Residual)


def binary(channels: int, classes: int, width: int, stages: int = 2, blocks: int = 2) -> Classifier:
    """Create the same network with binary convolutions: one per block, where `convolutional` has two."""
    return _network(channels, classes, width, stages, blocks, BinaryBlock)
