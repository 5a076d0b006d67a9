"""Estimates: what a request of a version probably costs: the 90th percentile of what others cost, kept up to date.

Of bytes it is what a request costs beyond the body that it announces: one large body makes no small one dear.
"""

from __future__ import annotations

# Most pairs of version and meter; there are a few for each version that is served.
_MAX_ESTIMATES = 8192
_PERCENTILE = 0.9
# A step up weighs nine times one down, so that nine of ten requests cost less than the estimate.
_STEP = 0.05
# A tenth of a second of a device, a few sentences, an answer with a small picture.
_UNKNOWN = {"device_time": 100_000, "tokens": 100, "bytes": 65_536}


class Estimates:
    """One worker's estimates, in each meter's unit."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], float] = {}

    def of(self, model: str, version: str, meter: str) -> int:
        """Return the estimate, never 0: what nothing is known of yet reserves what a request may well cost."""
        known = self._known.get((model, version, meter))
        return max(1, round(known)) if known is not None else _UNKNOWN[meter]

    def learn(self, model: str, version: str, meter: str, amount: int) -> None:
        """Take in what a request cost.

        Source of the step: Robbins-Monro's stochastic approximation of a quantile.
        """
        key = (model, version, meter)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MAX_ESTIMATES:
                self._known.clear()
            self._known[key] = float(amount)
            return
        step = _STEP * max(known, amount, 1.0)
        self._known[key] = known + step * (_PERCENTILE if amount > known else _PERCENTILE - 1.0)
