"""Trains one of the digits models in a few seconds on one core, the same way every time."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from deploy.demo.data import Digits
from deploy.demo.digits.model_cnn import ConvolutionalDigits
from deploy.demo.digits.model_linear import LinearDigits

SEED = 20240229
BATCH_ROWS = 64
EPOCHS = 15
MOMENTUM = 0.9


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is trained.

    Attributes:
        learning_rate: of the first step; it falls to zero along a cosine.
    """

    module: Callable[[], nn.Module]
    learning_rate: float


RECIPES: dict[str, Recipe] = {
    "model_linear.py": Recipe(LinearDigits, learning_rate=0.5),
    "model_cnn.py": Recipe(ConvolutionalDigits, learning_rate=0.05),
}


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model.

    Attributes:
        weights: its ``state_dict`` as ``torch.save`` writes it.
        predicted: the label it gives each held-out row, in order.
        accuracy: fraction of the held-out rows that it gets right.
    """

    weights: bytes
    predicted: tuple[int, ...]
    accuracy: float


def train(model_file: str, training: Digits, held_out: Digits, epochs: int = EPOCHS) -> Trained:
    """Train the model of ``model_file`` on the training rows and measure it on the held-out ones."""
    torch.set_num_threads(1)  # the batches are tiny: more threads cost more than they bring, and change the sums
    torch.manual_seed(SEED)
    recipe = RECIPES[model_file]
    module = recipe.module()
    fit(module, torch.from_numpy(training.pixels), torch.from_numpy(training.labels), epochs, recipe.learning_rate)
    with torch.inference_mode():
        predicted = module(torch.from_numpy(held_out.pixels)).argmax(dim=1)
    right = int((predicted == torch.from_numpy(held_out.labels)).sum())
    return Trained(saved(module), tuple(predicted.tolist()), right / len(held_out.labels))


def fit(module: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, epochs: int, learning_rate: float) -> None:
    """Adjust the module's weights in place by stochastic gradient descent with momentum.

    Written out because the first step of a ``torch.optim`` optimizer imports torch's compiler: 2 s, when all of the
    training takes about as long.
    """
    weights = list(module.parameters())
    velocities = [torch.zeros_like(weight) for weight in weights]
    steps = epochs * -(-len(labels) // BATCH_ROWS)
    step = 0
    for _ in range(epochs):
        order = torch.randperm(len(labels))
        for first in range(0, len(order), BATCH_ROWS):
            rows = order[first : first + BATCH_ROWS]
            loss = nn.functional.cross_entropy(module(pixels[rows]), labels[rows])
            rate = learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
            for weight, velocity, gradient in zip(weights, velocities, torch.autograd.grad(loss, weights), strict=True):
                velocity.mul_(MOMENTUM).add_(gradient)
                weight.data.sub_(rate * velocity)
            step += 1


def saved(module: nn.Module) -> bytes:
    """Return the module's weights as ``torch.save`` writes them."""
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    return buffer.getvalue()
