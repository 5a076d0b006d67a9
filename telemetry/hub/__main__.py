"""``python -m telemetry.hub``: keeps traces and shows them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

import setproctitle

from telemetry.hub.config import ConfigError, otlp_token, pages_token, parse_arguments
from telemetry.hub.events import say
from telemetry.hub.serve import Tokens, open_sockets, serve
from telemetry.hub.store_lock import StoreTaken, lock_store
from telemetry.logs.libraries import take_over
from telemetry.logs.line import Facts, warning
from telemetry.logs.log import LOG

WRONG_ARGUMENTS = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the hub until the process ends; return the exit status when it does not start."""
    config = parse_arguments(sys.argv[1:] if argv is None else argv)
    setproctitle.setproctitle("penstock hub")
    LOG.begin(Facts(process="hub"))
    take_over(LOG, "hub")
    os.umask(0o077)  # traces tell who asked for what
    try:
        tokens = Tokens(pages_token(config), otlp_token(config))
        config.store.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_store(config.store)  # held until the end of the process
        sockets = open_sockets(config)
    except ConfigError as error:
        say(str(error))
        return WRONG_ARGUMENTS
    except StoreTaken as error:
        say(warning(f"{error}; name another with --store"))
        return WRONG_ARGUMENTS
    except OSError as error:
        where = f"{config.listen} or use {config.store}"
        say(warning(f"cannot listen on {where} ({error}); name others with --listen and --store"))
        return WRONG_ARGUMENTS
    status = asyncio.run(serve(config, tokens, sockets))
    # What was taken is stored, as far as there was time. A thread that reads or decodes on has nobody to read or decode
    # for, and Python would wait for it.
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
