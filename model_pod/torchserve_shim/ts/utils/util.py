"""Label mappings, class discovery, YAML, and the exception by which a handler refuses a request."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import yaml


class PredictionException(Exception):
    """A handler refuses a request with a status of its own choice."""

    def __init__(self, message: str, error_code: int = 500) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code

    def __str__(self) -> str:
        return f"message : {self.message} error_code : {self.error_code}"


def list_classes_from_module(module: ModuleType, parent_class: type | None = None) -> list[type]:
    """Return the classes that a module defines itself, only those derived from ``parent_class`` when it is given."""
    classes = [item for _, item in inspect.getmembers(module, inspect.isclass) if item.__module__ == module.__name__]
    return classes if parent_class is None else [item for item in classes if issubclass(item, parent_class)]


def load_label_mapping(mapping_file_path: str) -> dict[str, Any] | None:
    """Return the content of an ``index_to_name.json``, None when there is no such file.

    Raises:
        ValueError: the file is not a JSON object.
    """
    if not os.path.isfile(mapping_file_path):
        return None
    with open(mapping_file_path, encoding="utf-8") as file:
        mapping = json.load(file)
    if not isinstance(mapping, dict):
        raise ValueError("index_to_name.json must hold a JSON object")
    # Object detectors wrap the mapping once more.
    if isinstance(wrapped := mapping.get("object_type_names"), list):
        return {str(index): name for index, name in enumerate(wrapped)}
    return mapping


def map_class_to_label(
    probs: Sequence[Sequence[float]],
    mapping: dict[str, Any] | None = None,
    lbl_classes: Sequence[Sequence[int]] | None = None,
) -> list[dict[str, float]]:
    """Return one {label: probability} per row; class numbers stand where the mapping has no label.

    Args:
        probs: (rows, k) probabilities.
        lbl_classes: (rows, k) class numbers; positions are used when it is None.
    """
    labels = []
    for row, probabilities in enumerate(probs):
        classes = range(len(probabilities)) if lbl_classes is None else lbl_classes[row]
        pairs = zip(classes, probabilities, strict=False)
        labels.append({_label(mapping, str(number)): probability for number, probability in pairs})
    return labels


def get_yaml_config(yaml_file_path: str) -> dict[str, Any]:
    """Return the content of a YAML file, {} when it is empty."""
    with open(yaml_file_path, encoding="utf-8") as file:
        return yaml.safe_load(file) or {}


def _label(mapping: dict[str, Any] | None, number: str) -> str:
    if mapping is None:
        return number
    label = mapping.get(number, number)
    # ImageNet's mapping holds [id, name] pairs.
    return str(label[-1]) if isinstance(label, list) and label else str(label)
