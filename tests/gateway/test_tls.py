"""TLS of listeners, with a true handshake in memory."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.tls import LiveContext, TlsMaterial, TlsRefused, identity_of, make_context
from tests.certificates import Authority, Issued, client_context, key_pem

AUTHORITY = Authority()
SERVER = AUTHORITY.server("mesh.example")
MATERIAL = TlsMaterial(SERVER.cert, SERVER.key)
CLIENT = AUTHORITY.client("ci", uris=["spiffe://corp/ci"])


def shaken(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str = "mesh.example"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Shake hands in memory; raises what the server or the client raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname=name),
    )
    done: set[int] = set()
    for turn in range(12):
        end = turn % 2  # in TLS 1.3 a client is done before the server has seen its certificate
        try:
            ends[end].do_handshake()
            done.add(end)
        except ssl.SSLWantReadError:
            continue
    assert done == {0, 1}
    return ends


def shown_by(server: ssl.SSLContext, client: ssl.SSLContext | None = None) -> bytes | None:
    """Return the certificate that a client is shown."""
    _, end = shaken(server, client or client_context(AUTHORITY))
    return end.getpeercert(binary_form=True)


def material(issued: Issued, ca: bytes = b"", *, required: bool = False) -> TlsMaterial:
    return TlsMaterial(issued.cert, issued.key, ca, required)


def der(issued: Issued) -> bytes:
    return ssl.PEM_cert_to_DER_cert(issued.cert.decode())


def test_a_client_is_shown_the_certificate_over_tls_1_3_and_1_2_and_nothing_older() -> None:
    context = make_context(MATERIAL)
    for version, name in ((ssl.TLSVersion.TLSv1_3, "TLSv1.3"), (ssl.TLSVersion.TLSv1_2, "TLSv1.2")):
        client = client_context(AUTHORITY)
        client.maximum_version = version
        end, _ = shaken(context, client)
        assert end.version() == name
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_http_1_1_is_what_is_spoken() -> None:
    client = client_context(AUTHORITY)
    client.set_alpn_protocols(["h2", "http/1.1"])
    end, _ = shaken(make_context(MATERIAL), client)
    assert end.selected_alpn_protocol() == "http/1.1"


def test_no_session_is_resumed() -> None:
    context = make_context(MATERIAL)
    client = client_context(AUTHORITY)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    _, end = shaken(context, client)
    assert end.session is None or not end.session.has_ticket
    assert context.num_tickets == 0


OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("cert", "key", "why"),
    [
        (SERVER.cert, key_pem(OTHER_KEY), "not the certificate's"),
        (SERVER.cert, key_pem(OTHER_KEY, b"secret"), "not encrypted"),
        (b"", SERVER.key, "cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", SERVER.key, "cannot be read"),
        (SERVER.cert[:200], SERVER.key, "cannot be read"),
        (SERVER.cert, SERVER.key[:100], "cannot be read"),
        (SERVER.key, SERVER.cert, "cannot be read"),
    ],
    ids=[str(number) for number in range(7)],
)
def test_a_pair_that_is_none_is_refused(cert: bytes, key: bytes, why: str) -> None:
    with pytest.raises(TlsRefused, match=why):
        make_context(TlsMaterial(cert, key))


@pytest.mark.parametrize("ca", [b"no certificate", SERVER.key, b"\xff"], ids=["text", "a key", "no text"])
def test_authorities_that_are_none_are_refused(ca: bytes) -> None:
    with pytest.raises(TlsRefused, match="authorities"):
        make_context(material(SERVER, ca))


def test_another_certificate_is_shown_from_the_next_handshake_on_even_with_another_kind_of_key() -> None:
    rsa_pair = AUTHORITY.server("mesh.example", key=rsa.generate_private_key(65537, 2048))
    live = LiveContext(material(rsa_pair))
    before, _ = shaken(live.context, client_context(AUTHORITY))
    live.use(MATERIAL)
    assert shown_by(live.context) == der(SERVER)
    # One that would rather be shown the old kind of key is shown the new certificate as well.
    client = client_context(AUTHORITY)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
    assert shown_by(live.context, client) == der(SERVER)
    assert before.version() == "TLSv1.3"


def test_a_client_that_names_no_host_is_shown_the_other_certificate_too() -> None:
    live = LiveContext(material(AUTHORITY.server("mesh.example")))
    live.use(MATERIAL)
    _, end = shaken(live.context, client_context(AUTHORITY), "127.0.0.1")
    assert end.getpeercert(binary_form=True) == der(SERVER)


def test_one_that_cannot_be_used_changes_nothing() -> None:
    live = LiveContext(MATERIAL)
    with pytest.raises(TlsRefused):
        live.use(TlsMaterial(SERVER.cert, key_pem(OTHER_KEY)))
    assert shown_by(live.context) == der(SERVER)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_caller_is_known_by_its_certificate(version: ssl.TLSVersion, tmp_path: Path) -> None:
    context = LiveContext(material(SERVER, AUTHORITY.pem, required=True)).context
    client = client_context(AUTHORITY, CLIENT, tmp_path)
    client.maximum_version = version
    end, _ = shaken(context, client)
    assert identity_of(end.getpeercert(), "san-uri") == "spiffe://corp/ci"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", ["none", "another authority's", "expired", "a server's"])
def test_a_caller_without_a_certificate_of_ours_is_cut_off(version: ssl.TLSVersion, shown: str, tmp_path: Path) -> None:
    issued = {
        "none": None,
        "another authority's": Authority("others").client("ci"),
        "expired": AUTHORITY.client("ci", days=-1),
        "a server's": AUTHORITY.server("mesh.example"),
    }[shown]
    client = client_context(AUTHORITY, issued, tmp_path)
    client.maximum_version = version
    with pytest.raises(ssl.SSLError):
        shaken(LiveContext(material(SERVER, AUTHORITY.pem, required=True)).context, client)


def test_where_a_certificate_is_optional_a_wrong_one_is_cut_off_and_none_names_nobody(tmp_path: Path) -> None:
    context = LiveContext(material(SERVER, AUTHORITY.pem)).context
    end, _ = shaken(context, client_context(AUTHORITY))
    assert identity_of(end.getpeercert(), "san-uri") == ""
    with pytest.raises(ssl.SSLError):
        shaken(context, client_context(AUTHORITY, Authority("others").client("ci"), tmp_path))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_authorities_are_replaced_with_the_certificate(version: ssl.TLSVersion, tmp_path: Path) -> None:
    live = LiveContext(material(SERVER, AUTHORITY.pem, required=True))
    successor = Authority("successor")
    live.use(material(SERVER, successor.pem, required=True))
    client = client_context(AUTHORITY, CLIENT, tmp_path)
    client.maximum_version = version
    with pytest.raises(ssl.SSLError):
        shaken(live.context, client)
    client = client_context(AUTHORITY, successor.client("ci", uris=["spiffe://corp/new"]), tmp_path)
    client.maximum_version = version
    end, _ = shaken(live.context, client)
    assert identity_of(end.getpeercert(), "san-uri") == "spiffe://corp/new"


@pytest.mark.parametrize(
    ("client", "identity_from", "identity"),
    [
        (AUTHORITY.client("ci", ["spiffe://a"], ["a.example"]), "san-uri", "spiffe://a"),
        (AUTHORITY.client("ci", ["spiffe://a"], ["a.example"]), "san-dns", "a.example"),
        (AUTHORITY.client("ci", ["spiffe://a"], ["a.example"]), "subject", "ci"),
        (AUTHORITY.client("ci", ["spiffe://a", "spiffe://b"]), "san-uri", ""),
        (AUTHORITY.client("ci", [], ["a.example", "b.example"]), "san-dns", ""),
        (AUTHORITY.client("ci"), "san-uri", ""),
        (AUTHORITY.client("a\nb"), "subject", ""),
    ],
)
def test_a_certificate_names_one_caller_or_none(
    client: Issued, identity_from: str, identity: str, tmp_path: Path
) -> None:
    context = make_context(material(SERVER, AUTHORITY.pem, required=True))
    end, _ = shaken(context, client_context(AUTHORITY, client, tmp_path))
    assert identity_of(end.getpeercert(), identity_from) == identity


def test_an_identity_without_end_is_none() -> None:
    assert identity_of({"subject": ((("commonName", "x" * 1025),),)}, "subject") == ""
    assert identity_of(None, "subject") == ""
