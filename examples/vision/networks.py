"""A convolutional network, and one whose weights and activations are signs.

The binary network follows ReActNet (Liu et al., ECCV 2020) in small: real first and last layer, between them 3 x 3
convolutions of signs, each with a shortcut of its own, shifted signs (RSign) and shifted PReLUs (RPReLU).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Classifier(nn.Module):
    """A body that makes `[N, features]` of images, and a linear layer, whose rows are the classes' templates."""

    def __init__(self, body: nn.Module, features: int, classes: int):
        super().__init__()
        self.body, self.output = body, nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[N, classes]` of `[N, channels, height, width]`."""
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
    """-1 or 1; backwards, the derivative of a piecewise polynomial that is near the sign (Liu et al., ECCV 2018)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (2 - 2 * x.abs()).clamp_min(0)


class _WeightSign(torch.autograd.Function):
    """-1 or 1; backwards, straight through, but for latent weights that are beyond 1 (Courbariaux et al., 2016)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return torch.where(weight < 0, -torch.ones_like(weight), torch.ones_like(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        return grad * (weight.abs() <= 1)


class BinaryConv2d(nn.Module):
    """A 3 x 3 convolution of signs. Trained are latent real weights; used are their signs, scaled a channel.

    The scale is the mean magnitude of the channel's latent weights (Rastegari et al., ECCV 2016, equation 6).
    """

    def __init__(self, width: int):
        super().__init__()
        self.latent = nn.Parameter(torch.empty(width, width, 3, 3).uniform_(-0.1, 0.1))
        self.threshold = nn.Parameter(torch.zeros(1, width, 1, 1))  # RSign

    def weight(self) -> Tensor:
        """`[out, in, 3, 3]`: in each output channel one magnitude, with two signs."""
        scale = self.latent.abs().mean((1, 2, 3), keepdim=True).detach()
        return scale * _WeightSign.apply(self.latent)

    def forward(self, x: Tensor) -> Tensor:
        # Padding with 0 would be a third value.
        signs = F.pad(_Sign.apply(x - self.threshold), (1, 1, 1, 1), value=-1.0)
        return F.conv2d(signs, self.weight())


class BinaryBlock(nn.Module):
    """A binary convolution with its shortcut, and the RPReLU."""

    def __init__(self, width: int):
        super().__init__()
        self.conv, self.norm, self.prelu = BinaryConv2d(width), nn.BatchNorm2d(width), nn.PReLU(width)
        self.before, self.after = (nn.Parameter(torch.zeros(1, width, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(x + self.norm(self.conv(x)) - self.before) + self.after


class Halve(nn.Module):
    """Half the height and width, twice the channels: the mean of four pixels, twice, which binary layers can refine."""

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
    """A residual network: `stages` of `blocks` blocks, each stage at half the size and twice the width."""
    return _network(channels, classes, width, stages, blocks, Residual)


def binary(channels: int, classes: int, width: int, stages: int = 2, blocks: int = 2) -> Classifier:
    """The same with binary convolutions: one a block, where `convolutional` has two."""
    return _network(channels, classes, width, stages, blocks, BinaryBlock)
