"""``python -m telemetry.hub``: keeps traces and shows them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

import setproctitle

from telemetry.hub.config import ConfigError, parse_arguments, read_token
from telemetry.hub.events import say
from telemetry.hub.serve import open_sockets, serve

WRONG_ARGUMENTS = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the hub; return the exit status."""
    config = parse_arguments(sys.argv[1:] if argv is None else argv)
    setproctitle.setproctitle("penstock hub")
    os.umask(0o077)  # traces tell who asked for what
    try:
        token = read_token(config.token_file)
        config.store.mkdir(mode=0o700, parents=True, exist_ok=True)
        sockets = open_sockets(config)
    except ConfigError as error:
        say(str(error))
        return WRONG_ARGUMENTS
    except OSError as error:
        say(f"cannot listen on {config.listen} or use {config.store} ({error}); name others with --listen and --store")
        return WRONG_ARGUMENTS
    return asyncio.run(serve(config, token, sockets))


if __name__ == "__main__":
    sys.exit(main())
