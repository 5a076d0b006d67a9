"""TLS to a server of this machine, by the one certificate that it has published: no name and no authority counts."""

from __future__ import annotations

import ssl


def pinned_context(certificate: str) -> ssl.SSLContext:
    """Return a client's context that accepts this certificate, as PEM, and no other.

    Raises:
        ssl.SSLError: it is no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It is called by an address of this machine, which its certificate need not name.
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate)
    return context
