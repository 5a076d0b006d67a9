"""``python -m telemetry.sidecar``: the sidecar of one pod, or the gateway's."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence

import setproctitle

from telemetry.logs.libraries import take_over
from telemetry.logs.line import Facts, warning
from telemetry.logs.log import LOG
from telemetry.sidecar.config import Address, parse_arguments
from telemetry.sidecar.events import say
from telemetry.sidecar.intake import open_records
from telemetry.sidecar.serve import open_listener, serve

WRONG_ARGUMENTS = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sidecar; return the exit status."""
    config = parse_arguments(sys.argv[1:] if argv is None else argv)
    setproctitle.setproctitle("penstock sidecar" if config.pod else "penstock sidecar gateway")
    LOG.begin(Facts(process="sidecar", role="of a pod" if config.pod else "of the gateway"))
    take_over(LOG, "sidecar")
    try:
        listening = _listening(config.listen)
    except OSError as error:
        return _refused("--listen", config.listen, error)
    if config.records is None:
        return asyncio.run(serve(config, listening, None))
    try:
        records = _records(config.records)
    except OSError as error:
        return _refused("--records", config.records, error)
    return asyncio.run(serve(config, listening, records))


def _listening(where: Address | int) -> socket.socket:
    return open_listener(where) if isinstance(where, Address) else socket.socket(fileno=where)


def _records(where: Address | int) -> socket.socket:
    return open_records(where.path) if isinstance(where, Address) else socket.socket(fileno=where)


def _refused(option: str, where: Address | int, error: OSError) -> int:
    place = where if isinstance(where, Address) else f"descriptor {where}"
    say("", warning(f"cannot listen on {place} ({error.strerror or error}); name a free address with {option}"))
    return WRONG_ARGUMENTS


if __name__ == "__main__":
    sys.exit(main())
