"""Makes the digits' archives: trains, and keeps one held-out digit beside each model as its sample."""

from __future__ import annotations

import json
from collections.abc import Sequence

from deploy.demo.archive import manifest
from deploy.demo.catalogue import DIGITS_DIR, DemoArchive
from deploy.demo.data import Digits, load_split
from deploy.demo.made import SAMPLE_INPUT, SAMPLE_OUTPUT, Made
from deploy.demo.train import Trained, train

HANDLER = "handler.py"
WEIGHTS = "weights.pt"
MODEL_CONFIG = """\
# Read by TorchServe and by the pod alike.
minWorkers: 1
maxWorkers: 1
batchSize: 32
maxBatchDelay: 2        # milliseconds
responseTimeout: 30     # seconds
# What Open Inference Protocol clients send and get; TorchServe passes this key to the handler and leaves it alone.
signature:
  inputs:
    - {name: pixels, datatype: FP32, shape: [-1, 64]}
  outputs:
    - {name: label, datatype: INT64, shape: [-1]}
    - {name: probabilities, datatype: FP32, shape: [-1, 10]}
"""
BROKEN_CONFIG = """\
# Read by the handler: this version breaks on purpose, to show how an alert fires.
handler:
  broken_share: 1.0     # of the requests; 0.05 breaks one in twenty
  broken_by: raise      # or late, or wrong: the label of the next digit
"""


def make_digits(archive: DemoArchive) -> Made:
    """Train the archive's model, and gather what goes into the archive."""
    training, held_out = load_split()
    trained = train(archive.model_file, training, held_out)
    return Made(
        archive_files(archive, trained, held_out),
        f"{trained.accuracy:.1%} right on {len(held_out.labels)} held-out digits (trained on {len(training.labels)})",
    )


def archive_files(archive: DemoArchive, trained: Trained, held_out: Digits) -> dict[str, bytes]:
    """Return what goes into the archive, by name."""
    row = sample_row(trained.predicted, held_out)
    pixels = [int(level) for level in held_out.pixels[row]]
    is_broken = archive.handler_file != HANDLER
    handlers = (HANDLER, archive.handler_file) if is_broken else (HANDLER,)
    return {
        "MAR-INF/MANIFEST.json": manifest(archive, WEIGHTS),
        "model.py": (DIGITS_DIR / archive.model_file).read_bytes(),
        **{name: (DIGITS_DIR / name).read_bytes() for name in handlers},
        "model-config.yaml": (MODEL_CONFIG + (BROKEN_CONFIG if is_broken else "")).encode(),
        WEIGHTS: trained.weights,
        SAMPLE_INPUT: json.dumps({"data": pixels}).encode() + b"\n",
        SAMPLE_OUTPUT: json.dumps({"label": int(held_out.labels[row])}).encode() + b"\n",
    }


def sample_row(predicted: Sequence[int], held_out: Digits) -> int:
    """Return the first held-out row that the model gets right."""
    return next(row for row, label in enumerate(predicted) if label == int(held_out.labels[row]))
