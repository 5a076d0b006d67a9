"""scikit-learn's bundled handwritten digits, split once into training and held-out rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HELD_OUT_FRACTION = 0.2
SPLIT_SEED = 20240229


@dataclass(frozen=True, slots=True)
class Digits:
    """Labelled digits.

    Attributes:
        pixels: (rows, 64), FP32, 0 (dark) to 16 (light).
        labels: (rows,), INT64, 0 to 9.
    """

    pixels: NDArray[np.float32]
    labels: NDArray[np.int64]


def load_split() -> tuple[Digits, Digits]:
    """Return (training, held-out) digits; the same split every time, with every digit equally often in both."""
    pixels, labels = load_digits(return_X_y=True)
    parts: list[NDArray[Any]] = train_test_split(
        pixels.astype(np.float32),
        labels.astype(np.int64),
        test_size=HELD_OUT_FRACTION,
        random_state=SPLIT_SEED,
        stratify=labels,
    )
    train_pixels, held_out_pixels, train_labels, held_out_labels = parts
    return Digits(train_pixels, train_labels), Digits(held_out_pixels, held_out_labels)
