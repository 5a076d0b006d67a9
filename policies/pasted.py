"""Keys and tokens that somebody pasted into a policy file: how they look, and how a text is shown without them."""

import re
from typing import Final, NamedTuple

SHOWN_INSTEAD: Final = "(secret)"


class Pasted(NamedTuple):
    """One kind of secret.

    Attributes:
        looks: where one begins.
        hidden: all of it, with what may belong to it.
    """

    looks: re.Pattern[str]
    hidden: re.Pattern[str]
    problem: str
    fix: str


def _alike(looks: str, more: str, problem: str, fix: str) -> Pasted:
    return Pasted(re.compile(looks, re.ASCII), re.compile(looks + more, re.ASCII | re.DOTALL), problem, fix)


# API keys begin with msk_; a shorter text is a name, not a key.
SECRETS: Final = (
    _alike(
        r"\bmsk_[A-Za-z0-9_-]{12,}",
        "",
        "this looks like an API key, and files hold no secrets",
        "Remove it, make a new key, and write only the new key's sha256.",
    ),
    _alike(
        r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----",
        ".*",
        "this is a private key, and files hold no secrets",
        "Remove it, make a new one, and write where it is kept, such as file:/etc/mesh/tls.key.",
    ),
    _alike(
        r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
        "",
        "this looks like a token, and files hold no secrets",
        "Remove it, and have its issuer refuse it from now on.",
    ),
)


def without_secrets(text: str) -> str:
    """A text whose secrets are hidden; it must be whole, for one that is cut off is known no more."""
    for secret in SECRETS:
        text = secret.hidden.sub(SHOWN_INSTEAD, text)
    return text
