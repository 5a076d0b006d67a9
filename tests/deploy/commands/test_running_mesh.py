"""Finding the running mesh, and which token goes where."""

from __future__ import annotations

import argparse
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.commands.running_mesh import NotReachable, Target, ask, find
from gateway.control.runtime_file import RunningMesh, publish, runtime_path

MINE = "http://127.0.0.1:8081"


def options(server: str | None = None, token_file: Path | None = None, state: Path | None = None) -> argparse.Namespace:
    return argparse.Namespace(server=server, token_file=token_file, state=state, ca=None, cert=None)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    running = RunningMesh(os.getpid(), "http://127.0.0.1:8080", MINE, "token-of-mine", "/state", "now")
    publish(runtime_path({}, tmp_path), running)
    return tmp_path


def test_the_running_mesh_is_found_with_its_token(home: Path) -> None:
    assert find(options(), {}, home) == Target(MINE, "token-of-mine")


def test_without_a_running_mesh_the_fix_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotReachable, match="penstock up"):
        find(options(), {}, tmp_path)


def test_a_mesh_is_found_by_its_state_directory_whichever_is_this_user_s(home: Path) -> None:
    state = home / "state"
    publish(state / "mesh.json", RunningMesh(os.getpid(), "", "http://127.0.0.1:9", "its-token", str(state), "now"))
    assert find(options(state=state), {}, home) == Target("http://127.0.0.1:9", "its-token")
    with pytest.raises(NotReachable, match="names none"):
        find(options(state=home / "none"), {}, home)


def test_another_server_never_gets_the_token_of_the_running_mesh(home: Path) -> None:
    with pytest.raises(NotReachable, match=r"--token-file STATE/admin-token, .* PENSTOCK_TOKEN"):
        find(options("http://elsewhere:8081"), {}, home)


def test_the_running_mesh_may_be_named_by_its_address(home: Path) -> None:
    assert find(options(f"{MINE}/"), {}, home) == Target(MINE, "token-of-mine")


def test_a_token_is_taken_from_the_file_else_from_the_environment(home: Path) -> None:
    file = home / "token"
    file.write_text("from-file\n")
    environ = {"PENSTOCK_TOKEN": "from-environment"}
    assert find(options("http://other", file), environ, home).token == "from-file"
    assert find(options("http://other"), environ, home).token == "from-environment"


def test_a_token_file_that_is_not_there_is_said(home: Path) -> None:
    with pytest.raises(NotReachable, match="cannot be read"):
        find(options("http://other", home / "none"), {}, home)


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (b"\n", "is empty"),
        ("tökén".encode(), "holds no token"),
        (b"two words", "holds no token"),
        (b"\xff\x00", "holds no token"),
    ],
)
def test_a_file_without_a_token_is_said_before_another_is_used(home: Path, held: bytes, why: str) -> None:
    file = home / "token"
    file.write_bytes(held)
    with pytest.raises(NotReachable, match=f"token file .* {why}"):
        find(options(None, file), {}, home)


@pytest.mark.parametrize("token", ["tökén", "one\ntwo"])
def test_what_no_header_can_hold_is_no_token(home: Path, token: str) -> None:
    with pytest.raises(NotReachable, match="PENSTOCK_TOKEN holds no token"):
        find(options(), {"PENSTOCK_TOKEN": token}, home)


def test_what_is_no_token_is_said_and_not_shown(home: Path) -> None:
    file = home / "token"
    file.write_text("secret-token\n# of the mesh in Berlin\n")
    with pytest.raises(NotReachable, match="token holds no token") as told:
        find(options("http://other", file), {}, home)
    with pytest.raises(NotReachable, match="PENSTOCK_TOKEN holds no token") as told_too:
        find(options("http://other"), {"PENSTOCK_TOKEN": file.read_text()}, home)
    assert "secret" not in f"{told.value}{told_too.value}"


def test_the_running_mesh_is_believed_by_the_certificate_that_it_published(tmp_path: Path) -> None:
    server = "https://127.0.0.1:8081"
    running = RunningMesh(os.getpid(), "", server, "token-of-mine", "/state", "now", certificate="PEM")
    publish(runtime_path({}, tmp_path), running)
    assert find(options(), {}, tmp_path) == Target(server, "token-of-mine", "PEM")
    assert find(options(server), {}, tmp_path) == Target(server, "token-of-mine", "PEM")
    environ = {"PENSTOCK_TOKEN": "another"}
    assert find(options("https://mesh.example:8081"), environ, tmp_path).certificate == ""


def test_authorities_and_a_certificate_of_one_s_own_may_be_given(home: Path) -> None:
    environ = {"PENSTOCK_CA": "/ca.crt", "PENSTOCK_CERT": "/me.pem"}
    target = find(options("https://mesh.example:8081"), environ, home)
    assert target == Target("https://mesh.example:8081", "", "", Path("/ca.crt"), Path("/me.pem"))
    given = options("https://mesh.example:8081")
    given.ca, given.cert = Path("/other.crt"), Path("/other.pem")
    target = find(given, environ, home)
    assert (target.ca, target.client_certificate) == (Path("/other.crt"), Path("/other.pem"))


def test_a_certificate_that_cannot_be_used_is_said(home: Path) -> None:
    target = Target("https://127.0.0.1:9", "", "", home / "none.crt")
    with pytest.raises(NotReachable, match=r"the certificates for https://127\.0\.0\.1:9 cannot be used"):
        ask(target, "/admin/status")


def test_why_a_token_is_not_taken_is_the_server_s_word() -> None:
    body = b'{"reason": "key_revoked", "message": "The credential sre-1 was revoked; use its successor."}'

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        with pytest.raises(NotReachable, match=r"The credential sre-1 was revoked; use its successor\."):
            ask(Target(f"http://127.0.0.1:{server.server_port}", "msk_old"), "/admin/status")
        answering.join()
