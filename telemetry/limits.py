"""How much one span may hold, wherever it comes in: counts are the protocol's, sizes are ours."""

from __future__ import annotations

from typing import Final

# OpenTelemetry's defaults (SDK specification, "Span limits") but for links: a batch has one for each of its requests,
# of which there are at most this many.
ATTRIBUTES: Final = 128
EVENTS: Final = 128
LINKS: Final = 1024

ARRAY_ITEMS: Final = 128
ARRAY_DEPTH: Final = 4
KEY_CHARACTERS: Final = 256
NAME_CHARACTERS: Final = 256
TEXT_CHARACTERS: Final = 4096
STATE_CHARACTERS: Final = 512  # W3C Trace Context, section 3.3.1.5

SPAN_BYTES: Final = 64 * 1024
"""Of a span as a whole, but for its process, which it shares with others, and its links."""
LINKS_BYTES: Final = 256 * 1024
"""Of what all links of a span say together; a batch's say 150 bytes of each request."""
RESOURCE_BYTES: Final = 16 * 1024
