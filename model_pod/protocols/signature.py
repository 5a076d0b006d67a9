"""What a model takes and gives, as its ``model-config.yaml`` declares it under ``signature:``."""

from __future__ import annotations

from msgspec import Struct


class TensorSpec(Struct, frozen=True):
    """One declared input or output.

    Attributes:
        datatype: an Open Inference Protocol name: BOOL, UINT8 ... UINT64, INT8 ... INT64, FP16, FP32, FP64 or BYTES.
        shape: with the batch dimension first, (rows, features, ...); -1 stands for any size.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


class Signature(Struct, frozen=True):
    """The model's inputs and outputs, in declared order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...] = ()
