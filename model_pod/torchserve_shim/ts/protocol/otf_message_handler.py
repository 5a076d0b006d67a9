"""The older name of ``ts.handler_utils.utils``, by which many handlers know it."""

from __future__ import annotations

from ts.handler_utils.utils import send_intermediate_predict_response

__all__ = ["send_intermediate_predict_response"]
