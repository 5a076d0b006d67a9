"""Version 1 of the digits model: one linear layer."""

from __future__ import annotations

import torch
from torch import nn


class LinearDigits(nn.Module):
    """Scores an 8 × 8 digit with one weight per pixel and digit.

    Shapes: pixels (rows, 64), FP32, 0 (dark) to 16 (light); scores (rows, 10), FP32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(64, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the score of each of the ten digits, before softmax."""
        scores: torch.Tensor = self.scores(pixels / 16.0)
        return scores
