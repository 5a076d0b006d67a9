"""What a socket tells of the client at its other end."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.dataplane.vanished import (
    ASK_AFTER_S,
    ASK_EVERY_S,
    UNACKNOWLEDGED_S,
    UNANSWERED,
    end_silent_connections,
    has_left,
    sends_no_more,
)

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return both ends of a TCP connection, the server's first."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        end_silent_connections(listening)
        with socket.create_connection(listening.getsockname()) as client:
            server, _ = listening.accept()
            with server:
                yield server, client


def wait_for_a_byte_or_the_end(server: socket.socket) -> None:
    server.settimeout(5.0)
    try:
        server.recv(1)
    except ConnectionResetError:
        return


def test_accepted_connections_inherit_what_the_listening_socket_was_told() -> None:
    with connected() as (server, _):
        assert server.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        told = {
            name: server.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        }
    assert told == {
        "TCP_KEEPIDLE": ASK_AFTER_S,
        "TCP_KEEPINTVL": ASK_EVERY_S,
        "TCP_KEEPCNT": UNANSWERED,
        "TCP_USER_TIMEOUT": UNACKNOWLEDGED_S * 1000,
    }
    assert ASK_AFTER_S + ASK_EVERY_S * UNANSWERED <= 60


def test_a_socket_that_is_no_tcp_is_left_alone() -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        end_silent_connections(listening)
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


def test_who_is_there_has_not_left() -> None:
    with connected() as (server, client):
        client.sendall(b"a")
        wait_for_a_byte_or_the_end(server)
        assert not has_left(server)


def test_who_only_stopped_sending_has_not_left_whatever_is_written() -> None:
    with connected() as (server, client):
        client.shutdown(socket.SHUT_WR)
        wait_for_a_byte_or_the_end(server)
        assert not has_left(server)
        server.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert client.recv(100)
        assert not has_left(server)


def test_who_closed_has_left_as_soon_as_something_is_written() -> None:
    with connected() as (server, client):
        client.close()
        wait_for_a_byte_or_the_end(server)
        assert not has_left(server)  # a close looks like the end of sending
        server.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert has_left(server)  # on loopback the reset is here before sendall returns


def test_who_reset_the_connection_has_left() -> None:
    with connected() as (server, client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        client.close()
        assert has_left(server)


def test_who_sends_no_more_is_found_while_what_it_sent_is_unread() -> None:
    with connected() as (server, client):
        client.sendall(b"unread")
        assert not sends_no_more(server)
        client.shutdown(socket.SHUT_WR)
        assert sends_no_more(server)


@pytest.mark.parametrize("closes", [False, True])
def test_over_a_unix_socket_nothing_need_be_written(closes: bool) -> None:
    server, client = socket.socketpair(socket.AF_UNIX)
    with server, client:
        if closes:
            client.close()
        else:
            client.shutdown(socket.SHUT_WR)
        assert has_left(server) is closes
