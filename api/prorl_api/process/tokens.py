"""Bearer tokens between components, per role and direction.

Tokens are derived from one key and the job's uid, so nothing has to be stored; a receiver holds only the sha256 of
what it accepts, with the name of the caller whose it is. No token exists in a process that runs model-written code,
and none in the environment of a process that has started.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping

TOKEN_VARIABLE_PREFIX = "PRORL_TOKEN_"
"""`PRORL_TOKEN_LEARNER` holds the token to present to a learner, and so on for `ROLLOUT` and `SANDBOX`."""
ACCEPTED_VARIABLE = "PRORL_ACCEPTED_TOKEN_SHA256"
"""Comma-separated `caller=digest` of the tokens this component accepts, digests in hexadecimal; a digest alone is a
caller that may ask everything. Unset or empty: no token is asked for."""

BODY = "body"
"""The caller's name of who drives a run: the operator, or `prorl run`. Others are named by their role."""
ANY_CALLER = ""
"""The caller's name where none is told apart."""

_held: dict[str, str] = {}
"""Tokens that `hold_tokens` took out of the environment, by variable."""


def derive_token(key: bytes, job_uid: str, caller: str, callee: str) -> str:
    """Return the token that `caller` presents to `callee`: HMAC-SHA256 of the direction under `key`, hexadecimal."""
    return hmac.new(key, f"{job_uid}/{caller}->{callee}".encode(), hashlib.sha256).hexdigest()


def digest_of(token: str) -> str:
    """Return what a receiver holds of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def accepted_text(tokens: Mapping[str, str]) -> str:
    """Return the value of `ACCEPTED_VARIABLE` for tokens by caller."""
    return ",".join(f"{caller}={digest_of(token)}" for caller, token in tokens.items())


def hold_tokens() -> None:
    """Take the tokens to present out of the environment, so that no child inherits one. For a `__main__`."""
    for name in [name for name in os.environ if name.startswith(TOKEN_VARIABLE_PREFIX)]:
        _held[name] = os.environ.pop(name)


def without_tokens(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a child that calls nobody and serves nobody."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(TOKEN_VARIABLE_PREFIX) and name != ACCEPTED_VARIABLE
    }


def bearer_headers(callee: str) -> dict[str, str]:
    """Return the `Authorization` header for `callee` (`learner`, `rollout` or `sandbox`), if a token was given."""
    name = TOKEN_VARIABLE_PREFIX + callee.upper()
    token = _held.get(name) or os.environ.get(name)
    return {"Authorization": f"Bearer {token}"} if token else {}


class AcceptedTokens:
    """The tokens a component accepts, as digests, and whose they are."""

    def __init__(self, entries: Iterable[str]) -> None:
        """`entries`: `caller=digest`, or a digest alone for a caller that may ask everything."""
        self._caller_of: dict[str, str] = {}
        for entry in entries:
            caller, _, digest = entry.rpartition("=")
            self._caller_of[digest] = caller

    @classmethod
    def from_environment(cls) -> AcceptedTokens:
        """Read once at start; the variable is removed so that no child inherits it."""
        text = os.environ.pop(ACCEPTED_VARIABLE, "")
        return cls(part.strip() for part in text.split(",") if part.strip())

    def caller(self, authorization: str | None) -> str | None:
        """Who presents this `Authorization` header; None: nobody who is known. Anybody, if no token is asked for."""
        if not self._caller_of:
            return ANY_CALLER
        scheme, _, token = (authorization or "").partition(" ")
        return self._caller_of.get(digest_of(token)) if scheme.lower() == "bearer" else None
