"""``model-config.yaml`` -> ``ModelConfig``: TorchServe's keys tolerantly, our ``signature:`` strictly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, field

from model_pod.engine.extraction.limits import ArchiveRefused
from model_pod.protocols.signature import Signature, TensorSpec

MAX_CONFIG_BYTES = 64 * 2**10
MAX_DEPTH = 32
MAX_RANK = 32
DEFAULT_NAME = "model-config.yaml"
DATATYPES = frozenset(
    ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES")
)

_ONE_PROCESS = "a pod is one process on one device"
_NO_SEQUENCES = "rows are batched as they come, none is bound to an earlier one"
# Keys of TorchServe's ModelConfig.java that change nothing here, and why.
_WITHOUT_EFFECT = {
    "minWorkers": "a pod is a worker; `count` of the version's `launch` says how many",
    "maxWorkers": "a pod is a worker; `count` of the version's `launch` says how many",
    "deviceIds": f"{_ONE_PROCESS}; `device` of the version's `launch` says which",
    "jobQueueSize": "the places to wait are `queue` of a tier",
    "useJobTicket": "the places to wait are `queue` of a tier",
    "clientTimeoutInMills": "`timeout` of the route says how long callers wait",
    "maxRetryTimeoutInSec": "a pod that fails is started again for ever, each time a little later",
    "parallelType": _ONE_PROCESS,
    "parallelLevel": _ONE_PROCESS,
    "torchrun": _ONE_PROCESS,
    "asyncCommunication": "batches run one after the other",
    "useVenv": "packages are of the environment that the pod runs in",
    "continuousBatching": "no row joins a batch that runs",
    "sequenceBatching": _NO_SEQUENCES,
    "sequenceMaxIdleMSec": _NO_SEQUENCES,
    "sequenceTimeoutMSec": _NO_SEQUENCES,
    "maxNumSequence": _NO_SEQUENCES,
    "maxSequenceJobQueueSize": _NO_SEQUENCES,
}


class ModelConfig(Struct, frozen=True):
    """What an archive says about how it wants to be served.

    Attributes:
        batch_size: the most rows in a batch; None when the archive does not say.
        max_batch_delay_s: how long a row may wait for others; None when the archive does not say.
        response_timeout_s: how long one batch may run.
        startup_timeout_s: how long loading may take.
        device_type: ``cpu``, ``gpu`` or another word of TorchServe's; None when the archive does not say.
        handler: the ``handler:`` section, free-form.
        raw: the whole file; handlers see it as ``context.model_yaml_config``.
        warnings: one sentence for each key that was ignored because its value has the wrong type, or that TorchServe
            knows and that asks for what there is not here.
    """

    batch_size: int | None = None
    max_batch_delay_s: float | None = None
    response_timeout_s: float = 120.0
    startup_timeout_s: float = 120.0
    device_type: str | None = None
    signature: Signature | None = None
    handler: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_model_config(directory: Path, config_file: str) -> ModelConfig:
    """Read the configuration of an extracted archive.

    Args:
        directory: the extracted archive.
        config_file: as the manifest names it; "" looks for ``model-config.yaml``.

    Raises:
        ArchiveRefused: the file is no YAML mapping of reasonable size, or its ``signature:`` is wrong.
    """
    path = directory / (config_file or DEFAULT_NAME)
    if not path.is_file():
        missing = f"{config_file}: named by the manifest and not in the archive; defaults are used"
        return ModelConfig(warnings=(missing,) if config_file else ())
    with path.open("rb") as file:
        text = file.read(MAX_CONFIG_BYTES + 1)
    return parse_model_config(text)


def parse_model_config(text: bytes) -> ModelConfig:
    """Parse the bytes of a ``model-config.yaml``.

    Raises:
        ArchiveRefused: as for ``read_model_config``.
    """
    raw = _parse_yaml(text)
    warnings = _without_effect(raw)

    def take(key: str, convert: Callable[[object], Any], expected: str, default: Any) -> Any:
        value = raw.get(key)
        if value is None:
            return default
        converted = convert(value)
        if converted is None:
            warnings.append(f"{DEFAULT_NAME}: {key}: expected {expected}, got {value!r:.80}; ignored")
            return default
        return converted

    delay_ms = take("maxBatchDelay", _non_negative, "milliseconds, 0 or more", None)
    return ModelConfig(
        batch_size=take("batchSize", _positive_integer, "a whole number above 0", None),
        max_batch_delay_s=None if delay_ms is None else delay_ms / 1000.0,
        response_timeout_s=take("responseTimeout", _positive, "seconds above 0", 120.0),
        startup_timeout_s=take("startupTimeout", _positive, "seconds above 0", 120.0),
        device_type=take("deviceType", lambda value: value if isinstance(value, str) else None, "a word", None),
        signature=_parse_signature(raw["signature"]) if "signature" in raw else None,
        handler=take("handler", lambda value: value if isinstance(value, dict) else None, "a mapping", {}),
        raw=raw,
        warnings=tuple(warnings),
    )


def _without_effect(raw: Mapping[str, Any]) -> list[str]:
    # What is off or one is so anyway.
    asked = [key for key in _WITHOUT_EFFECT if raw.get(key) and not _is_one(raw[key])]
    return [f"{DEFAULT_NAME}: {key}: has no effect here: {_WITHOUT_EFFECT[key]}" for key in asked]


def _is_one(value: object) -> bool:
    return value == 1 and not isinstance(value, bool)


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases and without deep nesting: both make small files expensive."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"line {self.line + 1}: aliases are not allowed")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f"nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _parse_yaml(text: bytes) -> dict[str, Any]:
    if len(text) > MAX_CONFIG_BYTES:
        raise ArchiveRefused("config_too_large", f"{DEFAULT_NAME} is larger than {MAX_CONFIG_BYTES} bytes.")
    try:
        parsed = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader subclass
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        summary = " ".join(str(error).split())[:300]
        raise ArchiveRefused("bad_config", f"{DEFAULT_NAME} is not usable YAML: {summary}") from error
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise ArchiveRefused("bad_config", f"{DEFAULT_NAME} must be a mapping, not {type(parsed).__name__}.")
    return parsed


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _positive(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and number > 0 else None


def _non_negative(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and number >= 0 else None


def _positive_integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _wrong(place: str, problem: str) -> ArchiveRefused:
    return ArchiveRefused("bad_signature", f"{DEFAULT_NAME}: {place}: {problem}")


def _parse_signature(value: object) -> Signature:
    if not isinstance(value, dict):
        raise _wrong("signature", "expected a mapping with `inputs` and `outputs`.")
    if unknown := sorted(str(key) for key in value if key not in ("inputs", "outputs")):
        raise _wrong(f"signature.{unknown[0]}", "unknown key; `inputs` and `outputs` are known.")
    if not value.get("inputs"):
        raise _wrong("signature.inputs", "expected at least one input.")
    return Signature(
        inputs=_parse_tensors("signature.inputs", value["inputs"]),
        outputs=_parse_tensors("signature.outputs", value.get("outputs") or []),
    )


def _parse_tensors(place: str, value: object) -> tuple[TensorSpec, ...]:
    if not isinstance(value, list):
        raise _wrong(place, "expected a list of {name, datatype, shape}.")
    specs = tuple(_parse_tensor(f"{place}[{index}]", item) for index, item in enumerate(value))
    names = [spec.name for spec in specs]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise _wrong(f"{place}[{index}].name", f"{name!r} is there twice.")
    return specs


def _parse_tensor(place: str, value: object) -> TensorSpec:
    if not isinstance(value, dict):
        raise _wrong(place, "expected {name, datatype, shape}.")
    if unknown := sorted(str(key) for key in value if key not in ("name", "datatype", "shape")):
        raise _wrong(f"{place}.{unknown[0]}", "unknown key; name, datatype and shape are known.")
    name, datatype = value.get("name"), value.get("datatype")
    if not isinstance(name, str) or not name:
        raise _wrong(f"{place}.name", "expected a non-empty string.")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise _wrong(f"{place}.datatype", f"expected one of {', '.join(sorted(DATATYPES))}.")
    return TensorSpec(name=name, datatype=datatype, shape=_parse_shape(f"{place}.shape", value.get("shape")))


def _parse_shape(place: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_RANK:
        raise _wrong(place, "expected a list of sizes, the batch dimension first, such as [-1, 64].")
    for size in value:
        if not isinstance(size, int) or isinstance(size, bool) or size < -1 or size == 0:
            raise _wrong(place, f"{size!r} is no size; write a whole number above 0, or -1 for any.")
    return tuple(value)
