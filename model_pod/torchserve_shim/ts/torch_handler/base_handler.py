"""The class that most handlers derive from: load a model, then preprocess, inference and postprocess of each batch."""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import sys
from abc import ABC
from typing import Any

import torch

from ts.utils.util import PredictionException, list_classes_from_module, load_label_mapping

logger = logging.getLogger(__name__)


class BaseHandler(ABC):  # noqa: B024 - handlers derive from it and override any part
    """Loads an eager model and its weights, or a TorchScript file, and runs tensors through it."""

    def __init__(self) -> None:
        self.model: Any = None
        self.mapping: dict[str, Any] | None = None
        self.device: Any = None
        self.initialized = False
        self.context: Any = None
        self.model_pt_path: str | None = None
        self.manifest: dict[str, Any] | None = None
        self.map_location: str | None = None
        self.explain = False
        self.target = 0
        self.profiler_args: dict[str, Any] = {}

    def initialize(self, context: Any) -> None:
        """Load the model that the manifest names, and ``index_to_name.json`` when there is one.

        Raises:
            RuntimeError: a file that the manifest names is missing, or is no model.
        """
        self.context = context
        self.manifest = context.manifest
        properties = context.system_properties
        gpu_id = properties.get("gpu_id")
        on_gpu = torch.cuda.is_available() and gpu_id is not None
        self.map_location = "cuda" if on_gpu else "cpu"
        self.device = torch.device(f"cuda:{gpu_id}" if on_gpu else "cpu")
        model_dir = properties["model_dir"]
        self.model = self._load_model(model_dir, context.manifest["model"])
        self.mapping = load_label_mapping(os.path.join(model_dir, "index_to_name.json"))
        self.initialized = True

    def preprocess(self, data: list[dict[str, Any]]) -> Any:
        """Return one tensor (rows, ...) on the model's device, from each row's ``data``, ``body`` or only input."""
        rows = [_only_input(row) for row in data]
        if rows and isinstance(rows[0], torch.Tensor):
            return torch.stack(rows).to(self.device)
        return torch.as_tensor(rows, device=self.device)

    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.inference_mode():
            return self.model(data.to(self.device), *args, **kwargs)

    def postprocess(self, data: Any) -> list[Any]:
        """Return one JSON-able value per row."""
        return list(data.tolist())

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[Any]:
        """Run one batch; explain it instead where the request came by an explanations path."""
        self.context = context
        rows = self.preprocess(data)
        if self._is_explain():
            return self.explain_handle(rows, data)
        return self.postprocess(self.inference(rows))

    def explain_handle(self, data_preprocess: Any, raw_data: list[dict[str, Any]]) -> list[Any]:
        """Return the insights of ``get_insights``, which a handler that explains defines."""
        inputs = raw_data[0].get("data") or raw_data[0].get("body")
        target = inputs.get("target", 0) if isinstance(inputs, dict) else 0
        return [self.get_insights(data_preprocess, inputs, target)]

    def get_insights(self, tensor_data: Any, raw_data: Any, target: Any = 0) -> Any:
        # Whoever asks has chosen the path: it is no failure of the model, and spends none of its error budget.
        raise PredictionException("this model explains nothing: its handler defines no get_insights", 422)

    def describe_handle(self) -> Any:
        return None

    def _is_explain(self) -> bool:
        return bool(self.context and self.context.get_request_header(0, "explain") == "True")

    def _is_describe(self) -> bool:
        return bool(self.context and self.context.get_request_header(0, "describe") == "True")

    def _load_model(self, model_dir: str, model: dict[str, Any]) -> Any:
        serialized = model.get("serializedFile")
        self.model_pt_path = os.path.join(model_dir, serialized) if serialized else None
        if model_file := model.get("modelFile"):
            loaded = self._load_pickled_model(model_dir, model_file, self.model_pt_path)
        elif self.model_pt_path is None:
            raise RuntimeError("The archive names neither a serialized file nor a model file; override initialize.")
        elif not os.path.isfile(self.model_pt_path):
            raise RuntimeError(f"Missing the model file {serialized}")
        else:
            loaded = self._load_torchscript_model(self.model_pt_path)
        loaded.to(self.device)
        loaded.eval()
        logger.debug("loaded %s on %s", serialized or model_file, self.device)
        return loaded

    def _load_torchscript_model(self, model_pt_path: str) -> Any:
        return torch.jit.load(model_pt_path, map_location=self.device)  # type: ignore[no-untyped-call]

    def _load_pickled_model(self, model_dir: str, model_file: str, model_pt_path: str | None) -> Any:
        """Return an instance of the one class in ``model_file``, with its state dict when there is one.

        The name is TorchServe's; nothing is unpickled but plain tensors.
        """
        path = os.path.join(model_dir, model_file)
        if not os.path.isfile(path):
            raise RuntimeError(f"Missing the {model_file} file")
        classes = list_classes_from_module(_import_file(path), torch.nn.Module)
        if len(classes) != 1:
            names = ", ".join(item.__name__ for item in classes) or "none"
            raise ValueError(f"Expected exactly one torch.nn.Module class in {model_file}, found: {names}")
        model = classes[0]()
        if model_pt_path:
            model.load_state_dict(self._load_state_dict(model_pt_path))
        return model

    def _load_state_dict(self, path: str) -> Any:
        if not path.endswith(".safetensors"):
            try:
                return torch.load(path, map_location=self.device, weights_only=True)
            except pickle.UnpicklingError as error:
                raise RuntimeError(
                    f"{os.path.basename(path)} is damaged or holds more than tensors, and nothing else is unpickled:"
                    " save model.state_dict(), or TorchScript without a model file, and build the archive anew"
                ) from error
        if importlib.util.find_spec("safetensors") is None:
            raise RuntimeError("The package safetensors is not installed; install it to load .safetensors files")
        return importlib.import_module("safetensors.torch").load_file(path, device=str(self.device))


def _only_input(row: dict[str, Any]) -> Any:
    for key in ("data", "body"):
        if row.get(key) is not None:
            return row[key]
    return next(iter(row.values())) if len(row) == 1 else None


def _import_file(path: str) -> Any:
    name = os.path.splitext(os.path.basename(path))[0]
    known = sys.modules.get(name)
    if known is not None and os.path.realpath(getattr(known, "__file__", None) or "") == os.path.realpath(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{os.path.basename(path)} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
