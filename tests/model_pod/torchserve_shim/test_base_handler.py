from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ts.torch_handler.base_handler import BaseHandler
from ts.torch_handler.unit_tests.test_utils.mock_context import MockContext
from ts.utils.util import PredictionException

MODEL_SOURCE = """
import torch

class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))
    def forward(self, rows):
        return rows * self.factor
"""


def _eager(tmp_path: Path, source: str = MODEL_SOURCE, name: str = "scale.py") -> MockContext:
    (tmp_path / name).write_text(source)
    torch.save({"factor": torch.tensor(3.0)}, tmp_path / "model.pt")
    return MockContext("model.pt", tmp_path, model_file=name)


def test_an_eager_model_is_loaded_with_its_weights_and_answers(tmp_path: Path) -> None:
    handler = BaseHandler()
    handler.initialize(_eager(tmp_path))
    rows = [{"data": [1.0, 2.0]}, {"body": [3.0, 4.0]}]
    assert handler.handle(rows, handler.context) == [[3.0, 6.0], [9.0, 12.0]]
    assert handler.initialized


def test_tensors_of_any_one_name_are_stacked(tmp_path: Path) -> None:
    handler = BaseHandler()
    handler.initialize(_eager(tmp_path))
    assert handler.handle([{"pixels": torch.tensor([1.0])}], handler.context) == [[3.0]]


def test_an_explanation_without_insights_says_so(tmp_path: Path) -> None:
    handler = BaseHandler()
    handler.initialize(_eager(tmp_path))
    handler.context.explain = True
    with pytest.raises(PredictionException) as refusal:
        handler.handle([{"data": [1.0]}], handler.context)
    assert (refusal.value.error_code, "get_insights" in refusal.value.message) == (422, True)


def test_a_checkpoint_that_would_run_code_is_not_loaded(tmp_path: Path) -> None:
    context = _eager(tmp_path)
    marker = tmp_path / "marker"
    # A pickle that calls os.mkdir(marker), written by hand: protocol 0, GLOBAL, one argument, REDUCE.
    (tmp_path / "model.pt").write_bytes(b"cos\nmkdir\n(V" + str(marker).encode() + b"\ntR.")
    with pytest.raises(
        RuntimeError, match=r"^model\.pt is damaged or holds more than tensors.* save model\.state_dict\(\)"
    ):
        BaseHandler().initialize(context)
    assert not marker.exists()


def test_two_model_classes_are_one_too_many(tmp_path: Path) -> None:
    context = _eager(tmp_path, MODEL_SOURCE + "\nclass Other(torch.nn.Module):\n    pass\n", "two.py")
    with pytest.raises(ValueError, match=r"exactly one torch\.nn\.Module class in two\.py, found: Other, Scale"):
        BaseHandler().initialize(context)


def test_a_missing_weights_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"Missing the model file model\.pt"):
        BaseHandler().initialize(MockContext("model.pt", tmp_path))


def test_a_manifest_without_any_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="neither a serialized file nor a model file"):
        BaseHandler().initialize(MockContext(None, tmp_path))
