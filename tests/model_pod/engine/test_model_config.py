from __future__ import annotations

from pathlib import Path

import pytest

from model_pod.engine.extraction.limits import ArchiveRefused
from model_pod.engine.model_config import ModelConfig, parse_model_config, read_model_config
from model_pod.protocols.signature import Signature, TensorSpec


def test_times_are_seconds_inside() -> None:
    config = parse_model_config(b"batchSize: 8\nmaxBatchDelay: 50\nresponseTimeout: 3\nhandler: {top_k: 5}\n")
    assert (config.batch_size, config.max_batch_delay_s, config.response_timeout_s) == (8, 0.05, 3.0)
    assert config.handler == {"top_k": 5}
    assert config.raw["maxBatchDelay"] == 50


def test_an_empty_file_gives_the_defaults() -> None:
    assert parse_model_config(b"") == ModelConfig()


def test_wrong_types_are_ignored_with_a_warning_as_torchserve_does() -> None:
    config = parse_model_config(b"batchSize: '8'\nmaxBatchDelay: true\nresponseTimeout: -1\nhandler: [1]\n")
    assert config == ModelConfig(raw=config.raw, warnings=config.warnings)
    assert [warning.split(":")[1].strip() for warning in config.warnings] == [
        "maxBatchDelay",
        "batchSize",
        "responseTimeout",
        "handler",
    ]


def test_what_torchserve_knows_and_has_no_effect_here_is_told() -> None:
    text = b"""
minWorkers: 2
maxWorkers: 1
jobQueueSize: 10
parallelLevel: 1
torchrun: {nproc-per-node: 2}
useVenv: true
useJobTicket: false
mine: 3
"""
    assert parse_model_config(text).warnings == (
        "model-config.yaml: minWorkers: has no effect here: a pod is a worker; "
        "`count` of the version's `launch` says how many",
        "model-config.yaml: jobQueueSize: has no effect here: the places to wait are `queue` of a tier",
        "model-config.yaml: torchrun: has no effect here: a pod is one process on one device",
        "model-config.yaml: useVenv: has no effect here: packages are of the environment that the pod runs in",
    )


def test_a_signature_is_read() -> None:
    text = b"""
signature:
  inputs: [{name: pixels, datatype: FP32, shape: [-1, 64]}]
  outputs: [{name: label, datatype: INT64, shape: [-1]}]
"""
    assert parse_model_config(text).signature == Signature(
        inputs=(TensorSpec("pixels", "FP32", (-1, 64)),), outputs=(TensorSpec("label", "INT64", (-1,)),)
    )


@pytest.mark.parametrize(
    ("signature", "place"),
    [
        ("[]", "signature: expected"),
        ("{outputs: []}", "signature.inputs: "),
        ("{inputs: [{name: x, datatype: FP32, shape: [-1]}], extra: 1}", "signature.extra: "),
        ("{inputs: [{name: x, datatype: float, shape: [-1]}]}", "signature.inputs[0].datatype: "),
        ("{inputs: [{datatype: FP32, shape: [-1]}]}", "signature.inputs[0].name: "),
        ("{inputs: [{name: x, datatype: FP32, shape: -1}]}", "signature.inputs[0].shape: "),
        ("{inputs: [{name: x, datatype: FP32, shape: [-1, -2]}]}", "signature.inputs[0].shape: "),
        (
            "{inputs: [{name: x, datatype: FP32, shape: [-1]}, {name: x, datatype: FP32, shape: [-1]}]}",
            "signature.inputs[1].name: ",
        ),
    ],
)
def test_a_wrong_signature_is_refused_with_its_place(signature: str, place: str) -> None:
    with pytest.raises(ArchiveRefused) as refusal:
        parse_model_config(f"signature: {signature}".encode())
    assert refusal.value.code == "bad_signature"
    assert refusal.value.message.startswith(f"model-config.yaml: {place}")


def test_a_config_that_the_manifest_names_and_is_missing_is_a_warning(tmp_path: Path) -> None:
    assert len(read_model_config(tmp_path, "other.yaml").warnings) == 1
    assert read_model_config(tmp_path, "").warnings == ()
