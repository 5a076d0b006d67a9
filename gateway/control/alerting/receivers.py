"""Receivers: who is told of alerts, under names that hold nothing secret."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from msgspec import Struct

from policies.snapshot.mesh import Alerting

ALERTMANAGER_PATH = "/api/v2/alerts"


class Receiver(Struct, frozen=True):
    """One address that is told.

    Attributes:
        name: such as "webhook/hooks.example": of an address no more than its host, for the path may be a secret.
        url: the address, or env:NAME or file:/PATH where it is kept.
        authorization, signature: env:NAME or file:/PATH; "" for none.
    """

    name: str
    url: str
    authorization: str = ""
    is_alertmanager: bool = False
    signature: str = ""


def receivers_of(alerting: Alerting) -> tuple[Receiver, ...]:
    """Return everybody who is told, each under a name of its own."""
    return tuple(_each(alerting))


def _each(alerting: Alerting) -> Iterator[Receiver]:
    taken: dict[str, int] = {}
    for webhook in alerting.webhooks:
        name = f"webhook/{_place(webhook.url)}"
        taken[name] = taken.get(name, 0) + 1
        shown = name if taken[name] == 1 else f"{name} {taken[name]}"
        yield Receiver(shown, webhook.url, webhook.authorization, signature=webhook.signature)
    if alerting.alertmanager:
        url = alerting.alertmanager + ALERTMANAGER_PATH
        name = f"alertmanager/{_place(alerting.alertmanager)}"
        yield Receiver(name, url, alerting.alertmanager_authorization, is_alertmanager=True)


def _place(url: str) -> str:
    return urlsplit(url).netloc if url.startswith("http") else url
