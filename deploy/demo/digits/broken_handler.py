"""The digits handler, broken on purpose: some rows, or all, raise, are late or are wrong, as a bad build would be."""

from __future__ import annotations

import os
import time
import zlib
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from deploy.demo.digits.handler import DigitsHandler
else:
    from handler import DigitsHandler  # which lies beside this file in the archive

SENTENCE = "this version breaks on purpose, to show how an alert fires"
# Beyond any objective of the demo; ``late_s`` of model-config.yaml is another.
LATE_S = 0.8


class BrokenDigitsHandler(DigitsHandler):
    """Fails the share of requests that ``handler: {broken_share: 1.0, broken_by: raise}`` of model-config.yaml says.

    It raises, is ``late``, ends its process (``crash``), or gives every row a ``wrong`` label: the next digit's.
    """

    def initialize(self, context: Any) -> None:
        """Load the model as ever, and read how much of it is broken, and how."""
        super().initialize(context)
        config = context.model_yaml_config["handler"]
        self.broken_share = float(config["broken_share"])
        self.broken_by = str(config["broken_by"])
        self.late_s = float(config.get("late_s", LATE_S))

    def inference(self, data: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the batch's probabilities, unless one of its rows breaks it."""
        broken = [is_broken(self.context.get_request_id(index), self.broken_share) for index in range(len(data))]
        if any(broken) and self.broken_by == "raise":
            raise RuntimeError(SENTENCE)
        if any(broken) and self.broken_by == "crash":
            os._exit(1)
        if any(broken) and self.broken_by == "late":
            time.sleep(self.late_s)
        probabilities = super().inference(data, *args, **kwargs)
        if self.broken_by == "wrong":
            rows = torch.tensor(broken, device=probabilities.device).unsqueeze(1)
            return torch.where(rows, probabilities.roll(1, dims=1), probabilities)
        return probabilities


def is_broken(request_id: str, broken_share: float) -> bool:
    """Say whether a request breaks: by its id, so that it breaks again when its batch is run again in halves."""
    return zlib.crc32(request_id.encode()) < broken_share * 2**32
