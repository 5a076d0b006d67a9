"""``@timed``: keeps how long a handler's stage took, as a metric of the handler."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any


def timed(func: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a handler's method: its time lands in ``ts_handler_<method>`` where its config says ``profile: true``."""

    @functools.wraps(func)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        context = getattr(self, "context", None)
        settings = getattr(context, "model_yaml_config", {}).get("handler")
        if context is None or not (isinstance(settings, dict) and settings.get("profile")):
            return func(self, *args, **kwargs)
        started_s = time.perf_counter()
        result = func(self, *args, **kwargs)
        elapsed_ms = (time.perf_counter() - started_s) * 1000.0
        context.metrics.add_time(f"ts_handler_{func.__name__}", elapsed_ms)
        return result

    return wrapper
