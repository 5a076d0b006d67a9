"""Builds demo archives: trains, packages, and keeps one held-out digit beside each model as its sample."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from deploy.demo.archive import MODEL_CONFIG, manifest, pack, write_whole
from deploy.demo.catalogue import DIGITS_DIR, DemoArchive
from deploy.demo.data import Digits
from deploy.demo.train import Trained, train

SAMPLE_INPUT = "sample_input.json"
SAMPLE_OUTPUT = "sample_output.json"


def sample_row(predicted: Sequence[int], held_out: Digits) -> int:
    """Return the first held-out row that the model gets right."""
    return next(row for row, label in enumerate(predicted) if label == int(held_out.labels[row]))


def archive_files(archive: DemoArchive, trained: Trained, held_out: Digits) -> dict[str, bytes]:
    """Return what goes into the archive, by name."""
    row = sample_row(trained.predicted, held_out)
    pixels = [int(level) for level in held_out.pixels[row]]
    return {
        "MAR-INF/MANIFEST.json": manifest(archive),
        "model.py": (DIGITS_DIR / archive.model_file).read_bytes(),
        "handler.py": (DIGITS_DIR / "handler.py").read_bytes(),
        "model-config.yaml": MODEL_CONFIG.encode(),
        "weights.pt": trained.weights,
        SAMPLE_INPUT: json.dumps({"data": pixels}).encode() + b"\n",
        SAMPLE_OUTPUT: json.dumps({"label": int(held_out.labels[row])}).encode() + b"\n",
    }


def build(archive: DemoArchive, store: Path, training: Digits, held_out: Digits) -> str:
    """Train the model, write its archive into the store, and return the line that says how good it is."""
    trained = train(archive.model_file, training, held_out)
    write_whole(store / archive.file_name, pack(archive_files(archive, trained, held_out)))
    return (
        f"{archive.file_name} made: {archive.kind}, {trained.accuracy:.1%} right on {len(held_out.labels)} "
        f"held-out digits (trained on {len(training.labels)})"
    )
