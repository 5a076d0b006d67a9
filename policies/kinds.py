"""The six kinds of policy file: the place of each in a directory and the type of what it says."""

from pathlib import PurePosixPath
from typing import Final

from msgspec import Struct

from policies.nodes import Mapping
from policies.schema.limits import LimitsFile
from policies.schema.mesh import MeshFile
from policies.schema.route import RouteFile
from policies.schema.slos import SlosFile
from policies.schema.tenant import TenantFile
from policies.schema.tests import TestsFile
from policies.schema.written import Written

SUFFIX: Final = ".yaml"
# Spellings that are meant as policy; anything else in the directory is nobody's business here.
POLICY_SUFFIXES: Final = (".yaml", ".yml")


class Kind(Struct, frozen=True):
    """One kind of file.

    Attributes:
        tag: what its `kind` key says.
        place: the file's path, or the folder its files are in, below the policy directory.
        shape: the type of what it says.
    """

    tag: str
    place: str
    shape: type[Written]

    @property
    def is_folder(self) -> bool:
        return not self.place.endswith(SUFFIX)


MESH: Final = Kind("mesh/v1", "mesh.yaml", MeshFile)
LIMITS: Final = Kind("limits/v1", "limits.yaml", LimitsFile)
SLOS: Final = Kind("slos/v1", "slos.yaml", SlosFile)
TENANT: Final = Kind("tenant/v1", "tenants", TenantFile)
ROUTE: Final = Kind("route/v1", "routes", RouteFile)
TESTS: Final = Kind("tests/v1", "tests", TestsFile)

KINDS: Final = (MESH, LIMITS, SLOS, TENANT, ROUTE, TESTS)
FOLDERS: Final = frozenset(kind.place for kind in KINDS if kind.is_folder)


class PolicyFile(Struct, frozen=True):
    """One file of a policy directory as far as it could be read; without a root, nothing is known of what it says."""

    path: str
    kind: Kind
    root: Mapping | None

    @property
    def stem(self) -> str:
        return PurePosixPath(self.path).stem


def kind_at(path: str) -> Kind | None:
    """The kind of file that belongs at a path below the policy directory; None where the layout knows none."""
    place = PurePosixPath(path)
    for kind in KINDS:
        if kind.is_folder and place.suffix == SUFFIX and str(place.parent) == kind.place:
            return kind
        if path == kind.place:
            return kind
    return None


def is_meant_as_policy(name: str) -> bool:
    """Whether a file's name says that it is policy; hidden files, editors' backups and documents do not."""
    return not name.startswith(".") and name.lower().endswith(POLICY_SUFFIXES)
