"""A ``Context`` for tests of handlers, made from the pieces of an archive."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from ts import __version__
from ts.context import Context


class MockContext(Context):
    """A context whose files lie in a directory of the test's choice."""

    def __init__(
        self,
        model_pt_file: str | None = "model.pt",
        model_dir: str | os.PathLike[str] | None = None,
        model_file: str | None = None,
        gpu_id: int | None = None,
        model_name: str = "mnist",
        model_yaml_config_file: str | None = None,
    ) -> None:
        model: dict[str, Any] = {"modelName": model_name}
        if model_pt_file:
            model["serializedFile"] = model_pt_file
        if model_file:
            model["modelFile"] = model_file
        directory = os.fspath(model_dir) if model_dir else tempfile.gettempdir()
        super().__init__(model_name, directory, {"model": model}, 1, gpu_id, __version__)
        self.explain = False
        if model_yaml_config_file:
            from ts.utils.util import get_yaml_config

            self.model_yaml_config = get_yaml_config(os.path.join(directory, model_yaml_config_file))

    def get_request_header(self, idx: int, key: str) -> Any:
        return str(self.explain) if key == "explain" else super().get_request_header(idx, key)
