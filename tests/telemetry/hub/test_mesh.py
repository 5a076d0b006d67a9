"""Asking the supervisor: what it says is kept, and its silence is told without forgetting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest

from gateway.tls import LiveContext, TlsMaterial
from telemetry.hub.mesh import MOST_TOLD, Mesh, MeshRefuses, MeshSilent
from tests.certificates import Authority

TOKEN = "a-token"


class Supervisor(HTTPServer):
    """Answers from a table; whoever has no token is refused."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, bytes]] = {
            "/admin/status": (200, b'{"mesh":"demo"}'),
            "/admin/slo": (200, b'{"slos":[]}'),
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Supervisor)
        is_known = self.headers["authorization"] == f"Bearer {TOKEN}"
        status, body = self.server.answers.get(self.path, (404, b"")) if is_known else (401, b"")
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    server = Supervisor()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def published(directory: Path, management: str, token: str = TOKEN) -> Path:
    path = directory / "mesh.json"
    path.write_bytes(msgspec.json.encode({"pid": 1, "management": management, "token": token, "metrics": ""}))
    return path


def with_mesh(path: Path, use: Callable[[Mesh], Awaitable[None]]) -> None:
    async def run() -> None:
        mesh = Mesh(path)
        await use(mesh)
        await mesh.close()

    asyncio.run(run())


def test_what_the_supervisor_says_is_known(tmp_path: Path, supervisor: Supervisor) -> None:
    async def use(mesh: Mesh) -> None:
        await mesh.ask()
        assert mesh.known.status == {"mesh": "demo"}
        assert mesh.known.slos == {"slos": []}
        assert mesh.known.error == ""
        assert mesh.known.at_s > 0

    with_mesh(published(tmp_path, supervisor.url), use)


def test_its_silence_is_told_once_and_what_was_known_stays(
    tmp_path: Path, supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    path = published(tmp_path, supervisor.url)

    async def use(mesh: Mesh) -> None:
        await mesh.ask()
        supervisor.answers["/admin/slo"] = (503, b"")
        await mesh.ask()
        await mesh.ask()
        assert mesh.known.status == {"mesh": "demo"}
        assert mesh.known.error == "The gateway answers 503 to /admin/slo."
        supervisor.answers["/admin/slo"] = (200, b'{"slos":[1]}')
        await mesh.ask()
        assert (mesh.known.error, mesh.known.slos) == ("", {"slos": [1]})

    with_mesh(path, use)
    assert capsys.readouterr().err.splitlines() == [
        "hub: The gateway answers 503 to /admin/slo.",
        "hub: the gateway answers",
    ]


def test_canaries_and_shadows_are_asked_for_and_silence_leaves_what_was_told(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    supervisor.answers["/admin/rollouts"] = (200, b'{"rollouts":[1]}')
    supervisor.answers["/admin/shadows"] = (200, b'{"shadows":[2]}')

    async def use(mesh: Mesh) -> None:
        first = await mesh.rollouts()
        assert (first.answer, first.error) == ({"rollouts": [1]}, "")
        assert first.at_s > 0
        assert (await mesh.shadows()).answer == {"shadows": [2]}
        supervisor.answers["/admin/rollouts"] = (503, b"")
        then = await mesh.rollouts()
        assert (then.answer, then.at_s) == (first.answer, first.at_s)
        assert then.error == "The gateway answers 503 to /admin/rollouts."
        assert (await mesh.shadows()).error == ""
        supervisor.answers["/admin/rollouts"] = (200, b'{"rollouts":[3]}')
        assert ((await mesh.rollouts()).answer, (await mesh.rollouts()).error) == ({"rollouts": [3]}, "")

    with_mesh(published(tmp_path, supervisor.url), use)


def test_one_canary_is_asked_for_with_its_past_and_only_where_there_is_one(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    supervisor.answers["/admin/rollouts"] = (200, b'{"at_s":1.0,"rollouts":[{"model":"a b"},{"model":"c"}]}')
    supervisor.answers["/admin/rollouts/a%20b"] = (200, b'{"model":"a b","past":1}')
    whole = {"at_s": 1.0, "rollouts": [{"model": "a b", "past": 1}, {"model": "c"}]}

    async def use(mesh: Mesh) -> None:
        assert (await mesh.rollout("a b")).answer == whole
        none = await mesh.rollout("none")
        assert (none.answer, none.error) == ({"at_s": 1.0, "rollouts": [{"model": "a b"}, {"model": "c"}]}, "")
        assert (await mesh.rollout("c")).error == "The gateway answers 404 to /admin/rollouts/c."
        supervisor.answers["/admin/rollouts"] = (503, b"")
        silent = await mesh.rollout("a b")
        assert (silent.answer, silent.error) == (whole, "The gateway answers 503 to /admin/rollouts.")

    with_mesh(published(tmp_path, supervisor.url), use)


def test_of_a_gateway_that_never_told_nothing_is_known(tmp_path: Path) -> None:
    async def use(mesh: Mesh) -> None:
        told = await mesh.shadows()
        assert (told.answer, told.at_s, told.error) == (None, 0.0, "No gateway runs, or it does not say where.")

    with_mesh(tmp_path / "mesh.json", use)


def test_a_mesh_that_is_started_later_or_elsewhere_is_found(tmp_path: Path, supervisor: Supervisor) -> None:
    async def use(mesh: Mesh) -> None:
        await mesh.ask()
        assert mesh.known.error == "No gateway runs, or it does not say where."
        published(tmp_path, "http://127.0.0.1:9")
        await mesh.ask()
        assert mesh.known.error == "The gateway at http://127.0.0.1:9 does not answer."
        published(tmp_path, "")
        await mesh.ask()
        assert "no management address" in mesh.known.error
        published(tmp_path, supervisor.url)
        await mesh.ask()
        assert mesh.known.error == ""

    with_mesh(tmp_path / "mesh.json", use)


@pytest.mark.parametrize("answer", [(200, b"no json"), (200, b"[]"), (200, b"\xff"), (401, b"{}"), (302, b"")], ids=str)
def test_an_answer_of_another_kind_is_silence(
    tmp_path: Path, supervisor: Supervisor, answer: tuple[int, bytes]
) -> None:
    supervisor.answers["/admin/status"] = answer

    async def use(mesh: Mesh) -> None:
        await mesh.ask()
        assert mesh.known.status is None
        assert mesh.known.error.startswith("The gateway answers")

    with_mesh(published(tmp_path, supervisor.url), use)


def test_history_passes_on_what_the_supervisor_knows_and_no_other_parameter(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    supervisor.answers["/admin/slo/history?slo=a+b&model=digits&span_s=60"] = (200, b'{"points":[]}')

    async def use(mesh: Mesh) -> None:
        query = {"span_s": "60", "model": "digits", "slo": "a b", "evil": "1"}
        assert await mesh.history(query) == {"points": []}
        with pytest.raises(MeshSilent, match="answers 404"):
            await mesh.history({"slo": "b"})

    with_mesh(published(tmp_path, supervisor.url), use)


def test_what_cannot_be_asked_of_history_is_told_in_the_supervisor_s_words(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    asked = "/admin/slo/history?slo=a&model=digits&span_s=-1"
    supervisor.answers[asked] = (400, b'{"message":"span_s: Input should be 60 or more."}')

    async def use(mesh: Mesh) -> None:
        with pytest.raises(MeshRefuses, match=r"answers 400 to /admin/slo/history: span_s: Input .* more\.") as refusal:
            await mesh.history({"slo": "a", "model": "digits", "span_s": "-1"})
        assert refusal.value.status == 400

    with_mesh(published(tmp_path, supervisor.url), use)


def test_a_supervisor_with_tls_is_believed_by_the_certificate_that_it_published_and_by_no_other(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    authority = Authority()
    first, second = authority.server("mesh.example"), authority.server("mesh.example")
    live = LiveContext(TlsMaterial(first.cert, first.key))
    supervisor.socket = live.context.wrap_socket(supervisor.socket, server_side=True)
    path = published(tmp_path, supervisor.url.replace("http:", "https:"))

    def publish(certificate: bytes) -> None:
        known = msgspec.json.decode(path.read_bytes())
        path.write_bytes(msgspec.json.encode(known | {"certificate": certificate.decode()}))

    async def use(mesh: Mesh) -> None:
        errors = []
        for certificate in (b"", second.cert, first.cert, b"none"):
            publish(certificate)
            await mesh.ask()
            errors.append(mesh.known.error)
        silent = f"The gateway at {supervisor.url.replace('http:', 'https:')} does not answer."
        assert errors == [silent, silent, "", "The gateway publishes a certificate that is none."]
        live.use(TlsMaterial(second.cert, second.key))
        publish(second.cert)
        await mesh.ask()
        assert mesh.known.error == ""

    with_mesh(path, use)


def test_drift_and_costs_are_asked_for_and_remembered_by_what_was_asked(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.answers["/admin/drift?brief=true"] = (200, b'{"versions":[]}')
    supervisor.answers["/admin/drift?model=a%2Fb"] = (200, b'{"versions":[1]}')
    supervisor.answers["/admin/costs?most=1000"] = (200, b'{"rows":[]}')

    async def use(mesh: Mesh) -> None:
        assert (await mesh.drift()).answer == {"versions": []}
        assert (await mesh.drift_of("a/b")).answer == {"versions": [1]}
        assert (await mesh.costs()).answer == {"rows": []}
        supervisor.answers.clear()
        told = await mesh.drift()
        assert told.answer == {"versions": []}
        assert "404" in told.error
        for number in range(MOST_TOLD + 5):
            assert (await mesh.drift_of(str(number))).answer is None
        assert (await mesh.costs()).answer is None  # what was told longest ago is forgotten

    with_mesh(published(tmp_path, supervisor.url), use)
