"""Answer: what one side of a comparison said, as it came from a pod."""

from __future__ import annotations

from msgspec import Struct

# From here on a status is the server's failure; 4xx is what a version says of a request, and is compared as an answer.
_FAILED = 500


class Answer(Struct, frozen=True):
    """One answer of one version.

    Attributes:
        status: 0 when there is none: the time was over, or the connection broke.
        fields: header lines with CRLF.
        took_s: from asking to the whole answer.
        device_us: -1 when the pod did not tell.
    """

    status: int
    fields: bytes
    body: bytes
    took_s: float
    device_us: int = -1

    @property
    def is_failed(self) -> bool:
        """Whether the version has failed: a status of 500 or more, or no answer at all."""
        return self.status == 0 or self.status >= _FAILED
