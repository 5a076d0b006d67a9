"""The digits handler, broken on purpose: some rows, or all, raise as a wrong build would."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from deploy.demo.digits.handler import DigitsHandler
else:
    from handler import DigitsHandler  # which lies beside this file in the archive

SENTENCE = "this version breaks on purpose, to show how an alert fires"


class BrokenDigitsHandler(DigitsHandler):
    """Raises for the share of requests that ``handler: {broken_share: 1.0}`` of model-config.yaml says."""

    def initialize(self, context: Any) -> None:
        """Load the model as ever, and read how much of it is broken."""
        super().initialize(context)
        self.broken_share = float(context.model_yaml_config["handler"]["broken_share"])

    def inference(self, data: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the batch's probabilities, unless one of its rows breaks it."""
        if any(is_broken(self.context.get_request_id(index), self.broken_share) for index in range(len(data))):
            raise RuntimeError(SENTENCE)
        return super().inference(data, *args, **kwargs)


def is_broken(request_id: str, broken_share: float) -> bool:
    """Say whether a request breaks: by its id, so that it breaks again when its batch is run again in halves."""
    return zlib.crc32(request_id.encode()) < broken_share * 2**32
