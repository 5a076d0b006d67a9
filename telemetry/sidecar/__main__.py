"""``python -m telemetry.sidecar``: one pod's sidecar."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import setproctitle

from telemetry.sidecar.config import parse_arguments
from telemetry.sidecar.events import say
from telemetry.sidecar.serve import open_listener, serve

WRONG_ARGUMENTS = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sidecar; return the exit status."""
    config = parse_arguments(sys.argv[1:] if argv is None else argv)
    setproctitle.setproctitle("penstock sidecar")
    try:
        listening = open_listener(config.listen)
    except OSError as error:
        say("", f"cannot listen on {config.listen} ({error.strerror or error}); name a free address with --listen")
        return WRONG_ARGUMENTS
    return asyncio.run(serve(config, listening))


if __name__ == "__main__":
    sys.exit(main())
