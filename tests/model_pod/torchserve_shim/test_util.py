from __future__ import annotations

import json
from pathlib import Path

import pytest
from ts.utils import util


def test_labels_stand_where_the_mapping_has_them() -> None:
    mapping = {"0": "cat", "1": ["n02", "dog"]}
    assert util.map_class_to_label([[0.7, 0.2, 0.1]], mapping, [[1, 0, 9]]) == [{"dog": 0.7, "cat": 0.2, "9": 0.1}]
    assert util.map_class_to_label([[0.7, 0.3]]) == [{"0": 0.7, "1": 0.3}]


def test_a_mapping_is_read_and_may_be_absent(tmp_path: Path) -> None:
    path = tmp_path / "index_to_name.json"
    assert util.load_label_mapping(str(path)) is None
    path.write_text(json.dumps({"object_type_names": ["bg", "person"]}))
    assert util.load_label_mapping(str(path)) == {"0": "bg", "1": "person"}
    path.write_text("[1]")
    with pytest.raises(ValueError, match="JSON object"):
        util.load_label_mapping(str(path))


def test_only_the_modules_own_classes_are_listed() -> None:
    assert util.list_classes_from_module(util) == [util.PredictionException]
    assert util.list_classes_from_module(util, parent_class=OSError) == []


def test_an_exception_carries_its_status() -> None:
    error = util.PredictionException("no digit", 422)
    assert (error.message, error.error_code) == ("no digit", 422)
