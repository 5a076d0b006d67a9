"""A directory loads whole or not at all, with every error at once in its place."""

import os
import shutil
import socket
from pathlib import Path

import msgspec
import pytest

from policies.document import parse
from policies.load import PolicyRefused, load_directory
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, Tier
from policies.snapshot.mesh import Tracing
from policies.snapshot.route import Balance, Eject, Health, Launch, Retry, Static

HERE = Path(__file__).parent
DEMO = HERE.parents[1] / "policies" / "demo"
SOUND = HERE / "sound"
MISTAKES = sorted((HERE / "mistakes").glob("*.yaml"))
KEY_DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return shutil.copytree(SOUND, tmp_path / "policies")


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    return shutil.copytree(DEMO, tmp_path / "demo")


def errors_of(directory: Path) -> list[str]:
    with pytest.raises(PolicyRefused) as refused:
        load_directory(directory)
    return [str(error) for error in refused.value.errors]


def test_the_demo_loads() -> None:
    snapshot = load_directory(DEMO)
    assert snapshot.tiers["demo"] == Tier("demo", Limit("tier/demo", rate_per_s=60000.0, burst=60000))
    assert snapshot.tiers["batch"].limit == Limit("tier/batch", 5000.0, 5000, in_flight=64)
    assert [(one.limit.observe, one.models) for one in snapshot.shared] == [(True, ("digits",))]
    assert {name: tenant.tier for name, tenant in snapshot.tenants.items()} == {"demo": "demo", "nightly": "batch"}
    assert [(quota.meter, quota.per) for quota in snapshot.tenants["demo"].quotas] == [
        ("device_time", "calendar-day"),
        ("requests", "rolling-24h"),
    ]
    assert len(snapshot.tests) == 4
    assert snapshot.routes["digits"].versions["1"].launch == Launch("digits-1.mar")
    assert snapshot.routes["digits"].batching.max_wait_s == 0.002
    assert [(one.address, one.serves) for one in snapshot.mesh.listen] == [
        ("127.0.0.1:8080", "inference"),
        ("127.0.0.1:7070", "inference-grpc"),
        ("127.0.0.1:8081", "admin"),
        ("127.0.0.1:8082", "metrics"),
        ("127.0.0.1:8090", "dashboards"),
        ("127.0.0.1:4318", "otlp"),
        ("127.0.0.1:4317", "otlp-grpc"),
    ]
    assert snapshot.mesh.tracing == Tracing()
    assert {model: route.slo for model, route in snapshot.routes.items()} == {
        "digits": ("digits-availability", "digits-latency"),
        "text": ("text-availability", "text-latency"),
    }
    assert [(one.target, one.within_s) for one in snapshot.objectives.values()] == [
        (0.995, None),
        (0.99, 0.25),
        (0.995, None),
        (0.99, 1.0),
    ]


def test_a_snapshot_travels_between_processes_unchanged() -> None:
    snapshot = load_directory(DEMO)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot), type=Snapshot) == snapshot


@pytest.mark.parametrize(("version", "archive"), [("2", "digits-2.mar"), ("3", "digits-broken.mar")])
def test_other_versions_of_the_demo_start_by_removing_one_comment_sign(version: str, archive: str, demo: Path) -> None:
    route = demo / "routes" / "digits.yaml"
    route.write_text(route.read_text().replace(f'# "{version}":', f'"{version}":'))
    assert load_directory(demo).routes["digits"].versions[version].launch == Launch(archive)


def test_the_tracing_example_of_the_demo_holds_when_its_comment_signs_are_removed(demo: Path) -> None:
    mesh = demo / "mesh.yaml"
    lines = mesh.read_text().split("\n")
    start = lines.index("# tracing:")
    lines[start : start + 3] = [line.removeprefix("# ") for line in lines[start : start + 3]]
    mesh.write_text("\n".join(lines))
    assert load_directory(demo).mesh.tracing == Tracing(callers="trust", kept_per_s=100.0)


def test_every_available_key_reaches_the_snapshot(directory: Path) -> None:
    (directory / "tenants" / "demo.yaml").write_text(
        "kind: tenant/v1\nname: demo\nowner: us\ntier: demo\nmay_call: ['*']\nquotas: []\nkeys:\n"
        f"- {{id: one, sha256: {KEY_DIGEST}, scopes: [infer, pin], not_after: 1970-01-01T00:01:00Z}}\n"
    )
    (directory / "limits.yaml").write_text(
        "kind: limits/v1\ntiers:\n"
        "  demo: {rate: 1.5/s, deadline: 250ms, priority: -3, weight: 7, queue: {length: 9, wait: 0s}}\n"
    )
    (directory / "routes" / "digits.yaml").write_text(
        "kind: route/v1\nmodel: digits\nowner: us\nstable: a\ntimeout: 1m\nbody_bytes: 1KiB\n"
        'versions:\n  a: {pods: {static: ["unix:/p.sock", "h:1"], in_flight: 3}}\n'
    )
    snapshot = load_directory(directory)
    key = snapshot.tenants["demo"].keys[0]
    assert (key.scopes, key.not_before_s, key.not_after_s) == (("infer", "pin"), None, 60.0)
    assert snapshot.tiers["demo"] == Tier(
        "demo",
        Limit("tier/demo", rate_per_s=1.5, burst=2),
        deadline_s=0.25,
        priority=-3,
        weight=7,
        queue_length=9,
        queue_wait_s=0.0,
    )
    route = snapshot.routes["digits"]
    assert (route.timeout_s, route.body_bytes, route.batching.max_rows, route.batching.max_wait_s) == (
        60.0,
        1024,
        0,
        -1.0,
    )
    assert (route.versions["a"].static, route.versions["a"].in_flight) == (Static(("unix:/p.sock", "h:1")), 3)


def test_how_pods_are_used_reaches_the_snapshot_and_the_rest_is_usual(directory: Path) -> None:
    route = directory / "routes" / "digits.yaml"
    route.write_text(
        "kind: route/v1\nmodel: digits\nowner: us\nversions:\n"
        "  a: {pods: {static: ['h:1'], balance: {by: least-work, choices: 3}, eject: {after_failures: 3, for: 10m}}}\n"
        "  b: {pods: {static: ['h:2'], health: {path: /up, every: 1s, down_after: 2, up_after: 3},\n"
        "      eject: {after_failures: 3, for: 5s, at_most: 1m, max_share: 34%}}}\n"
        "  c: {pods: {static: ['h:3']}}\n"
        "retry: {on: [reset-before-response, connect], attempts: 1, budget: 10%}\nstable: a\n"
    )
    loaded = load_directory(directory).routes["digits"]
    a, b, c = (loaded.versions[name] for name in "abc")
    assert (a.balance, a.eject, a.health) == (Balance(3), Eject(3, 600.0, 600.0, 0.5), Health())
    assert (b.balance, b.eject, b.health) == (Balance(2), Eject(3, 5.0, 60.0, 0.34), Health("/up", 1.0, 2, 3))
    assert (c.balance, c.eject, c.health) == (Balance(), Eject(), Health())
    assert loaded.retry == Retry(("connect", "reset-before-response"), 1, 0.1)
    assert load_directory(directory).routes["text"].retry == Retry(("connect", "refused"), 2, 0.2)


def test_the_digest_follows_the_meaning_and_not_the_spelling(directory: Path) -> None:
    before = load_directory(directory).digest
    limits = directory / "limits.yaml"
    limits.write_text("kind: limits/v1\n\n# said otherwise\ntiers: {demo: {burst: 60000, rate: 60000/s}}\n")
    assert load_directory(directory).digest == before
    limits.write_text("kind: limits/v1\ntiers: {demo: {rate: 5/s}}\n")
    assert load_directory(directory).digest != before


def name_no_objectives(directory: Path) -> None:
    for route in (directory / "routes").iterdir():
        kept = [line for line in route.read_text().splitlines() if not line.startswith("slo:")]
        route.write_text("\n".join([*kept, ""]))


def files_of(lines: list[str]) -> dict[str, str]:
    """The files of a case, each from the line that names it to the next such line."""
    starts = [number for number, line in enumerate(lines) if line.startswith("# file: ")]
    ends = [*starts[1:], len(lines)]
    return {
        lines[start].removeprefix("# file: ").strip(): "".join(lines[start:end])
        for start, end in zip(starts, ends, strict=True)
    }


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case.stem)
def test_each_planted_mistake_is_told_with_its_place_and_fix(case: Path, directory: Path) -> None:
    lines = case.read_text().splitlines(keepends=True)
    for path, content in files_of(lines).items():
        if path == "slos.yaml":
            name_no_objectives(directory)
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(content)
    expected = [line.removeprefix("# expect: ").rstrip("\n") for line in lines if line.startswith("# expect: ")]
    assert expected
    assert errors_of(directory) == expected


API_KEY = "msk_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4_x1Y2z3"
# Its head alone is longer than what an error quotes of a text.
TOKEN = f"eyJhbGciOiJFUzI1NiIsImtpZCI6Ij{'Y' * 40}.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLTY0"
PRIVATE_KEY = r"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIHcHbQpzGKV9PBbBclGyZkXfTXv68NTdVsSPTKZzRkfX"


@pytest.mark.parametrize("secret", [API_KEY, TOKEN, PRIVATE_KEY], ids=["key", "token", "private-key"])
@pytest.mark.parametrize("written", ["{}", "'{}'", '"{}"', '"Bearer {}"', ">-\n      {}"])
@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("tenants/demo.yaml", "keys:\n  - {{id: a, scopes: [infer], sha256: {}}}"),
        ("tenants/demo.yaml", "keys:\n  - id: a\n    scopes: [infer]\n    sha256: {}"),
        ("tenants/demo.yaml", "may_call: [{}]"),
        ("tenants/demo.yaml", "may_call:\n  - {}"),
        ("tenants/demo.yaml", "may_call: {}"),
        ("tenants/demo.yaml", "{}: 1"),
        ("limits.yaml", "tiers: {{demo: {{rate: {}}}}}"),
        ("mesh.yaml", "limits: {{body_bytes: {}}}"),
        ("mesh.yaml", "jwt: &{} []"),
    ],
)
def test_no_error_repeats_a_secret_that_somebody_pasted(
    directory: Path, file: str, line: str, written: str, secret: str
) -> None:
    path = directory / file
    key = line.partition(":")[0]
    kept = [old for old in path.read_text().splitlines() if not old.startswith((key, " "))]
    path.write_text("\n".join([*kept, line.format(written.format(secret)), ""]))
    told = errors_of(directory)
    pieces = [secret[start : start + 10] for start in range(0, len(secret) - 9, 5)]
    assert not [error for error in told for piece in pieces if piece in error and "-----" not in piece]
    assert any("files hold no secrets" in error for error in told)


def test_a_pasted_key_is_told_once_where_its_value_stands(directory: Path) -> None:
    (directory / "tenants" / "demo.yaml").write_text(
        f'kind: tenant/v1\nname: demo\nowner: us\ntier: demo\nkeys: [{{id: a, scopes: [infer], sha256: "{API_KEY}"}}]\n'
        "may_call: [digits]\n"
    )
    (error,) = errors_of(directory)
    assert error.startswith("tenants/demo.yaml:5:41: this looks like an API key")


def test_five_mistakes_in_four_files_are_five_errors_ordered_by_place(directory: Path) -> None:
    def edit(file: str, old: str, new: str) -> None:
        text = (directory / file).read_text()
        assert old in text
        (directory / file).write_text(text.replace(old, new))

    edit("mesh.yaml", "body_bytes: 16MiB", "body_bytes: 16")
    edit("limits.yaml", "rate: 60000/s", "rat: 60000/s")
    edit("tenants/demo.yaml", "tier: demo", "tier: demmo")
    edit("routes/digits.yaml", 'stable: "1"', 'stable: "7"')
    edit("routes/digits.yaml", "max_wait: 2ms", "max_wait: 2")
    assert errors_of(directory) == [
        'limits.yaml:4:5: unknown key "rat". Did you mean "rate"?',
        "mesh.yaml:16:15: 16 what? Write 16MiB or 16B.",
        "routes/digits.yaml:7:36: 2 what? Write 2ms, 2s, 2m, 2h or 2d.",
        'routes/digits.yaml:8:9: there is no version "7". Known here: "1".',
        'tenants/demo.yaml:4:7: there is no tier "demmo". Did you mean "demo"?',
    ]


def test_a_directory_without_a_mesh_is_refused(directory: Path) -> None:
    (directory / "mesh.yaml").unlink()
    assert errors_of(directory) == ["mesh.yaml:1:1: the file is missing. Add it, with kind: mesh/v1 and a name."]


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    assert "is not a directory" in errors_of(tmp_path / "absent")[0]


@pytest.mark.parametrize(
    "name",
    ["README.md", ".mesh.yaml.swp", "mesh.yaml~", "4913", ".hidden.yaml", "tenants/.#demo.yaml", "tenants/notes.txt"],
)
def test_files_that_are_not_meant_as_policy_are_passed_over(name: str, directory: Path) -> None:
    before = load_directory(directory)
    (directory / name).write_bytes(b"\x00 not policy")
    assert load_directory(directory) == before


def test_a_fifo_is_refused_without_waiting_for_it(directory: Path) -> None:
    (directory / "limits.yaml").unlink()
    os.mkfifo(directory / "limits.yaml")
    assert "limits.yaml:1:1: this is not a regular file. Put a file here, or remove it." in errors_of(directory)


def test_a_socket_and_a_directory_with_the_name_of_a_policy_are_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "tenants" / "folder.yaml").mkdir()
    monkeypatch.chdir(directory)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("routes/listener.yaml")
        errors = errors_of(directory)
    assert [error.split(":")[0] for error in errors] == ["routes/listener.yaml", "tenants/folder.yaml"]


def test_a_link_to_outside_is_refused_and_one_inside_is_followed(directory: Path, tmp_path: Path) -> None:
    (directory / "..data").mkdir()
    for name in ("mesh.yaml", "tenants"):
        (directory / name).rename(directory / "..data" / name)
        (directory / name).symlink_to(f"..data/{name}")
    assert load_directory(directory) == load_directory(SOUND)
    (directory / "limits.yaml").rename(tmp_path / "limits.yaml")
    (directory / "limits.yaml").symlink_to(tmp_path / "limits.yaml")
    assert errors_of(directory) == [
        "limits.yaml:1:1: a link to outside the policy directory. Put the file itself here."
    ]


def test_a_link_that_leads_nowhere_is_refused(directory: Path) -> None:
    shutil.rmtree(directory / "tenants")
    (directory / "tenants").symlink_to("absent")
    assert errors_of(directory) == ["tenants:1:1: this is not a directory. Make it one, or remove it."]


def test_a_file_name_that_is_no_name_is_refused_in_printable_words(directory: Path) -> None:
    with open(os.fsencode(directory) + b"/tenants/\xff\x1b[31m.yaml", "wb") as file:
        file.write(b"kind: tenant/v1\n")
    (error,) = errors_of(directory)
    assert error.isprintable()
    assert "the file's name is not a name" in error


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", '"[::1]'])
def test_the_management_api_may_listen_on_every_kind_of_loopback(host: str, directory: Path) -> None:
    address = f'{host}:8081"' if host.startswith('"') else f"{host}:8081"
    mesh = directory / "mesh.yaml"
    mesh.write_text(mesh.read_text().replace("127.0.0.1:8081", address))
    assert load_directory(directory).mesh.listen[1].address == address.strip('"')


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "gateway.example", '"[::]'])
def test_the_management_api_may_not_listen_on_a_network(host: str, directory: Path) -> None:
    address = f'{host}:8081"' if host.startswith('"') else f"{host}:8081"
    mesh = directory / "mesh.yaml"
    mesh.write_text(mesh.read_text().replace("127.0.0.1:8081", address))
    (error,) = errors_of(directory)
    assert error.startswith("mesh.yaml:5:14: the management API without TLS may listen on loopback only")


@pytest.mark.parametrize(("port", "is_refused"), [("8082", False), ("8090", True), ("4318", False)])
def test_metrics_and_spans_may_cross_a_network_and_dashboards_not_just_so(
    port: str, is_refused: bool, directory: Path
) -> None:
    mesh = directory / "mesh.yaml"
    mesh.write_text(mesh.read_text().replace(f"127.0.0.1:{port}", f"10.0.0.1:{port}"))
    if is_refused:
        (error,) = errors_of(directory)
        assert "the dashboards have no TLS and may listen on loopback only" in error
        mesh.write_text(mesh.read_text().replace(f"10.0.0.1:{port}", f"10.0.0.1:{port}\n    plain: allowed"))
        assert f"10.0.0.1:{port}" in [one.address for one in load_directory(directory).mesh.listen]
    else:
        assert f"10.0.0.1:{port}" in [one.address for one in load_directory(directory).mesh.listen]


def test_what_is_not_listed_is_not_served(directory: Path) -> None:
    (directory / "mesh.yaml").write_text(
        "kind: mesh/v1\nlisten: [{address: '127.0.0.1:1'}, {address: '127.0.0.1:2', serves: admin}]\nname: a\n"
    )
    assert [one.serves for one in load_directory(directory).mesh.listen] == ["inference", "admin"]


def test_errors_without_end_are_cut_short(directory: Path) -> None:
    many = "".join(f"  t{number}: {{rate: {number}}}\n" for number in range(1000))
    (directory / "limits.yaml").write_text(f"kind: limits/v1\ntiers:\n  demo: {{rate: 5/s}}\n{many}")
    errors = errors_of(directory)
    assert len(errors) == 101
    assert errors[-1].endswith("the file has more errors. Mend these first.")
    for number in range(1100):
        (directory / "tenants" / f"t{number}.yaml").write_text("kind: tenant\n")
    errors = errors_of(directory)
    assert len(errors) == 1001
    assert errors[-1].endswith("other files have more errors. Mend these first.")


DEMO_FILES = [str(file.relative_to(DEMO)) for file in sorted(DEMO.rglob("*.yaml"))]


@pytest.mark.parametrize("file", DEMO_FILES)
def test_a_file_cut_off_inside_a_line_is_refused(file: str) -> None:
    whole = (DEMO / file).read_bytes()
    cuts = [length for length in range(len(whole)) if not whole[:length].endswith(b"\n")]
    assert all(parse(whole[:length], file).errors for length in cuts)


# A set of tests that lost its last ones is whole again.
DECIDING_FILES = [file for file in DEMO_FILES if not file.startswith("tests/")]


@pytest.mark.parametrize("file", DECIDING_FILES)
def test_a_file_in_its_usual_form_cut_off_between_lines_is_refused(file: str, demo: Path) -> None:
    lines = (DEMO / file).read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        (demo / file).write_bytes(b"".join(lines[:count]))
        assert errors_of(demo), f"the first {count} lines of {file} were taken for a whole file"


def test_a_tests_file_cut_off_between_tests_decides_the_same(demo: Path) -> None:
    whole = load_directory(demo)
    file = demo / "tests" / "demo.yaml"
    head, _, _ = file.read_text().partition("  - name: a caller")
    file.write_text(head)
    cut = load_directory(demo)
    assert (len(cut.tests), cut.digest) == (1, whole.digest)


def test_tests_know_where_they_stand_and_what_they_ask(demo: Path) -> None:
    last = load_directory(demo).tests[-1]
    line = (demo / "tests" / "demo.yaml").read_text().splitlines().index(f"  - name: {last.name}") + 1
    assert last.place == f"tests/demo.yaml:{line}:5"
    assert (last.tenant, last.model, last.used, last.expect_reason) == (
        "demo",
        "digits",
        {"requests-day": 1.0},
        "quota_exhausted",
    )


def test_a_file_in_another_order_may_be_cut_off_unnoticed(directory: Path) -> None:
    """What the loader alone cannot know: a reader of a directory that is being written must wait until it rests."""
    tenant = "kind: tenant/v1\nname: demo\nowner: us\ntier: demo\nmay_call: [digits]\n"
    (directory / "tenants" / "demo.yaml").write_text(tenant)
    assert load_directory(directory).tenants["demo"].keys == ()


def test_many_tenants_load(directory: Path) -> None:
    for number in range(500):
        (directory / "tenants" / f"t{number}.yaml").write_text(
            f"kind: tenant/v1\nname: t{number}\nowner: us\ntier: demo\nmay_call: [digits]\n"
        )
    assert len(load_directory(directory).tenants) == 501
