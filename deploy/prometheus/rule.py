"""Rules as Prometheus reads them: what is recorded, what alerts, and groups of both."""

from __future__ import annotations

from msgspec import Struct, field, to_builtins

from deploy.prometheus.documents import Data


class Record(Struct, frozen=True, omit_defaults=True):
    """A series that is reckoned at every evaluation."""

    record: str
    expr: str
    labels: dict[str, str] = {}


class Alert(Struct, frozen=True, omit_defaults=True):
    """An alert.

    Attributes:
        wait: how long ``expr`` must have had a result; "" for none.
    """

    alert: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]
    wait: str = field(default="", name="for")


class Group(Struct, frozen=True):
    """Rules that are evaluated together, one after another, each interval."""

    name: str
    interval: str
    rules: tuple[Record | Alert, ...]


def rule_document(groups: list[Group]) -> Data:
    """Return groups as a rule file's plain data."""
    plain: Data = to_builtins({"groups": groups})
    return plain


class Places(Struct, frozen=True):
    """Where the links of alerts lead, and whose they are.

    Attributes:
        mesh: its name in policy: a label of every alert, as of those that the mesh tells by itself.
        runbooks: a folder or an address; the names of runbooks follow it.
        hub: the address of the mesh's pages.
    """

    mesh: str = "demo"
    runbooks: str = "docs/runbooks"
    hub: str = "http://127.0.0.1:8090"
