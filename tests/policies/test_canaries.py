"""A rule that is called unreachable is reached by no request, and one that is taken is reached by some."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from policies.canaries import check
from policies.document import parse
from policies.kinds import PolicyFile, kind_at

TIERS = {"ads": "gold", "labs": "gold", "law": "free"}
HEADERS = ("a", "b")
SCOPES = ("infer", "pin")


class Request(Struct, frozen=True):
    tenant: str
    headers: frozenset[str]
    scopes: frozenset[str]


class Rule(Struct, frozen=True):
    tenants: frozenset[str]
    tiers: frozenset[str]
    headers: frozenset[str]
    scope: str

    def matches(self, request: Request) -> bool:
        return (
            (not self.tenants or request.tenant in self.tenants)
            and (not self.tiers or TIERS[request.tenant] in self.tiers)
            and self.headers <= request.headers
            and (not self.scope or self.scope in request.scopes)
        )

    def written(self, name: str) -> str:
        parts = [f"tenant: [{', '.join(sorted(self.tenants))}]"] if self.tenants else []
        parts += [f"tier: [{', '.join(sorted(self.tiers))}]"] if self.tiers else []
        headers = ", ".join(f'{header}: "1"' for header in sorted(self.headers))
        parts += [f"header: {{{headers}}}"] if headers else []
        parts += [f"scope: {self.scope}"] if self.scope else []
        return f'  - {{name: {name}, when: {{{", ".join(parts)}}}, use: "1"}}\n'


def subsets(of: tuple[str, ...]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(of))


rules = st.lists(
    st.builds(Rule, subsets(tuple(TIERS)), subsets(("gold", "free")), subsets(HEADERS), st.sampled_from(["", *SCOPES])),
    max_size=4,
)
REQUESTS = [
    Request(tenant, frozenset(headers), frozenset(scopes))
    for tenant in TIERS
    for headers in ((), ("a",), ("b",), HEADERS)
    for scopes in (("infer",), SCOPES)
]


def file(path: str, text: str) -> PolicyFile:
    kind = kind_at(path)
    assert kind is not None
    return PolicyFile(path, kind, parse(text.encode(), path).root)


OTHERS = [
    file("limits.yaml", "kind: limits/v1\ntiers: {gold: {}, free: {}}\n"),
    *(file(f"tenants/{name}.yaml", f"kind: tenant/v1\ntier: {tier}\n") for name, tier in TIERS.items()),
]


def told(written: str) -> list[int]:
    """The lines with mistakes; rules begin in the second."""
    errors = check([*OTHERS, file("routes/m.yaml", f"choose:\n{written}stable: '1'\n")])
    return [error.line for error in errors]


@given(rules)
def test_a_rule_is_refused_only_if_no_request_comes_to_it(written: list[Rule]) -> None:
    lines = told("".join(rule.written(f"r{number}") for number, rule in enumerate(written)))
    for number in (line - 2 for line in lines):
        reached = [one for one in REQUESTS if written[number].matches(one)]
        assert all(any(rule.matches(one) for rule in written[:number]) for one in reached)


@given(rules)
def test_a_rule_that_one_before_it_takes_all_of_by_the_same_names_is_refused(written: list[Rule]) -> None:
    lines = told("".join(rule.written(f"r{number}") for number, rule in enumerate([*written, *written])))
    for number, rule in enumerate(written):
        if any(rule.matches(one) for one in REQUESTS):
            assert len(written) + number + 2 in lines
