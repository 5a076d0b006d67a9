"""What a route says of releases reaches the snapshot, and what it leaves out is as usual."""

import shutil
from pathlib import Path

import pytest

from policies.load import load_directory
from policies.snapshot.release import (
    Canary,
    CanaryStep,
    Capacity,
    ChooseRule,
    Compare,
    Feedback,
    Judge,
    LeftOut,
    Privacy,
    Recording,
    Shadow,
    ShadowLimits,
    ShadowVerdict,
    When,
)
from policies.snapshot.route import Route

SOUND = Path(__file__).parent / "sound"
HEAD = """\
kind: route/v1
model: digits
owner: demo-team
slo: [digits-availability, digits-latency]
versions:
  "1": {pods: {launch: {archive: digits-1.mar}}}
  "2": {pods: {launch: {archive: digits-2.mar}}}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return shutil.copytree(SOUND, tmp_path / "policies")


def route_of(directory: Path, text: str) -> Route:
    (directory / "routes" / "digits.yaml").write_text(f'{HEAD}{text}stable: "1"\n')
    return load_directory(directory).routes["digits"]


def test_what_is_left_out_is_as_usual(directory: Path) -> None:
    route = route_of(
        directory,
        'canary: {id: first, version: "2", steps: [{share: 100%}]}\n'
        'shadow: [{name: dark, version: "2", sample: 20%}]\n'
        "record: {sample: 1%}\n"
        "feedback: {}\n",
    )
    assert route.canary == Canary("first", "2", (CanaryStep(1.0),), Judge("1"), is_judged=False)
    assert route.shadows == (Shadow("dark", "2", 0.2),)
    assert (route.record, route.feedback) == (Recording(0.01), Feedback(""))
    text = load_directory(directory).routes["text"]
    assert (text.choose, text.canary, text.shadows, text.record, text.feedback) == ((), None, (), None, None)


def test_every_key_of_rules_and_a_canary_reaches_the_snapshot(directory: Path) -> None:
    route = route_of(
        directory,
        'choose: [{name: qa, when: {tenant: [demo], tier: [demo], header: {x-try: "yes"}, scope: pin}, use: "2"}]\n'
        "canary:\n"
        "  id: first\n"
        '  version: "2"\n'
        "  sticky_by: [header:X-User-Id, tenant]\n"
        "  never: {tenant: [demo], tier: [demo]}\n"
        "  steps:\n"
        "    - {share: 5%, hold: 2m, at_least: 200, needs: approval, requires: shadow/dark same}\n"
        "    - {share: 50%, hold: 1h}\n"
        "  judge:\n"
        '    compare_to: "1"\n'
        "    bad_events: {harmful_above: 1.3x, safe_below: 2x, alpha: 0.05}\n"
        "    burn: {rollback_above: 6, over: 5m}\n"
        "    no_traffic_for: 1h\n"
        "  on_harm: pause\n"
        "  on_pass: pause\n"
        "  capacity: {ready_pods_at_least: 2, room: 1.5x, keep_stable_for: 30m}\n"
        'shadow: [{name: dark, version: "2", sample: 20%}]\n',
    )
    when = When(("demo",), ("demo",), (("x-try", "yes"),), "pin")
    assert route.choose == (ChooseRule("qa", when, "2"),)
    assert route.canary == Canary(
        "first",
        "2",
        (CanaryStep(0.05, 120.0, 200, needs_approval=True, requires_shadow="dark"), CanaryStep(0.5, 3600.0)),
        Judge("1", 1.3, 2.0, 0.05, 6.0, 300.0, 3600.0),
        is_judged=True,
        sticky_by=("header:x-user-id", "tenant"),
        never=LeftOut(("demo",), ("demo",)),
        on_harm="pause",
        on_pass="pause",
        capacity=Capacity(2, 1.5, 1800.0),
    )


def test_every_key_of_shadows_recordings_and_labels_reaches_the_snapshot(directory: Path) -> None:
    route = route_of(
        directory,
        "shadow:\n"
        "  - name: dark\n"
        '    version: "2"\n'
        "    sample: 20%\n"
        "    sample_by: [header:x-user-id]\n"
        "    never: {tenant: [demo]}\n"
        "    limits: {in_flight: 4, device_time: 90m/h, stop_when_pool_busy: 50%}\n"
        "    deadline: 2s\n"
        "    privacy: {drop_headers: [x-b, x-a], drop_fields: [/inputs/*/email], keep: bodies, for: 1d}\n"
        "    compare:\n"
        "      noise_floor: {repeat_stable: 5%}\n"
        "      outputs:\n"
        "        - {path: /label, as: label}\n"
        "        - {path: /outputs/0/data, as: float, metric: cosine, differ_below: 1}\n"
        "        - {as: json, atol: 1, rtol: 0.5}\n"
        "      verdict: {worse_if_above_noise_by: 2%, alpha: 0.05, at_least: 100}\n"
        "record: {sample: 1%, at_most: 1MiB, for: 1h, never: {tier: [demo]}, "
        "  drop_headers: [x-a], drop_fields: [/email]}\n"
        "feedback: {label: /label, for: 2h, judged: false}\n",
    )
    assert route.shadows == (
        Shadow(
            "dark",
            "2",
            0.2,
            ("header:x-user-id",),
            LeftOut(("demo",)),
            ShadowLimits(4, 5400.0, 3600.0, 0.5),
            2.0,
            Privacy(("x-a", "x-b"), ("/inputs/*/email",), "bodies", 86400.0),
            (
                Compare("/label", "label"),
                Compare("/outputs/0/data", "number", "cosine", differ_below=1.0),
                Compare("", "json", atol=1.0, rtol=0.5),
            ),
            0.05,
            ShadowVerdict(0.02, 0.05, 100),
        ),
    )
    assert route.record == Recording(0.01, 1024 * 1024, 3600.0, LeftOut((), ("demo",)), ("x-a",), ("/email",))
    assert route.feedback == Feedback("/label", 7200.0, judged=False)


@pytest.mark.parametrize(("written", "is_copied"), [("", False), ("shadow: deny\n", False), ("shadow: allow\n", True)])
def test_nobody_is_copied_who_has_not_said_so(directory: Path, written: str, is_copied: bool) -> None:
    tenant = directory / "tenants" / "demo.yaml"
    tenant.write_text(tenant.read_text().replace("keys: []\n", f"{written}keys: []\n"))
    assert load_directory(directory).tenants["demo"].is_copied is is_copied


def test_issuers_know_every_claim_that_some_route_goes_by(directory: Path) -> None:
    mesh = directory / "mesh.yaml"
    mesh.write_text(
        mesh.read_text() + "auth:\n  jwt:\n    - {name: sso, issuer: 'https://a', audiences: [m], algorithms: [ES256],"
        " jwks: {url: 'https://a/keys'}, tenant_from: 'claim:t'}\n"
    )
    route_of(
        directory,
        'canary: {id: first, version: "2", sticky_by: [jwt:sub, tenant], steps: [{share: 100%}]}\n'
        'shadow: [{name: dark, version: "2", sample: 20%, sample_by: [jwt:device, "jwt:sub"]}]\n',
    )
    (issuer,) = load_directory(directory).mesh.jwt
    assert issuer.sticky_claims == ("device", "sub")


def test_what_a_test_says_of_releases_reaches_it(directory: Path) -> None:
    (directory / "tests").mkdir()
    (directory / "tests" / "a.yaml").write_text(
        "kind: tests/v1\ntests:\n"
        "  - {name: a, request: {tenant: demo, model: digits}, canary_share: 5%, expect: {shadow: [dark]}}\n"
        "  - {name: b, request: {tenant: demo, model: digits}, expect: {shadow: []}}\n"
    )
    route_of(
        directory,
        'canary: {id: first, version: "2", steps: [{share: 100%}]}\n'
        'shadow: [{name: dark, version: "2", sample: 20%}]\n',
    )
    one, two = load_directory(directory).tests
    assert (one.canary_share, one.expect_shadows) == (0.05, ("dark",))
    assert (two.canary_share, two.expect_shadows) == (None, ())
