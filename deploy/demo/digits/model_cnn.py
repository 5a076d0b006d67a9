"""Version 2 of the digits model: a small convolutional network."""

from __future__ import annotations

import torch
from torch import nn


class ConvolutionalDigits(nn.Module):
    """Scores an 8 × 8 digit with two convolutions and two linear layers.

    Shapes: pixels (rows, 64), FP32, 0 (dark) to 16 (light); scores (rows, 10), FP32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the score of each of the ten digits, before softmax."""
        scores: torch.Tensor = self.layers(pixels.reshape(-1, 1, 8, 8) / 16.0)
        return scores
