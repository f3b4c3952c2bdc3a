"""Bearer tokens between components, per role and direction.

Tokens are derived from one key and the job's uid, so nothing has to be stored; a receiver holds only the sha256 of
what it accepts. No token exists in a process that runs model-written code.
"""

from __future__ import annotations

import hashlib
import hmac
import os

TOKEN_VARIABLE_PREFIX = "PRORL_TOKEN_"
"""`PRORL_TOKEN_LEARNER` holds the token to present to a learner, and so on for `ROLLOUT` and `SANDBOX`."""
ACCEPTED_VARIABLE = "PRORL_ACCEPTED_TOKEN_SHA256"
"""Comma-separated hexadecimal digests of the tokens this component accepts; unset or empty: no token is asked for."""

BODY = "body"
"""The caller's name of who drives a run: the operator, or `prorl run`. Others are named by their role."""


def derive_token(key: bytes, job_uid: str, caller: str, callee: str) -> str:
    """Return the token that `caller` presents to `callee`: HMAC-SHA256 of the direction under `key`, hexadecimal."""
    return hmac.new(key, f"{job_uid}/{caller}->{callee}".encode(), hashlib.sha256).hexdigest()


def digest_of(token: str) -> str:
    """Return what a receiver holds of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def bearer_headers(callee: str) -> dict[str, str]:
    """Return the `Authorization` header for `callee` (`learner`, `rollout` or `sandbox`), if a token was given."""
    token = os.environ.get(TOKEN_VARIABLE_PREFIX + callee.upper())
    return {"Authorization": f"Bearer {token}"} if token else {}


class AcceptedTokens:
    """The tokens a component accepts, as digests."""

    def __init__(self, digests: frozenset[str]) -> None:
        self._digests = digests

    @classmethod
    def from_environment(cls) -> AcceptedTokens:
        """Read once at start; the variable is removed so that no child inherits it."""
        text = os.environ.pop(ACCEPTED_VARIABLE, "")
        return cls(frozenset(part.strip() for part in text.split(",") if part.strip()))

    def admits(self, authorization: str | None) -> bool:
        """Tell whether a request with this `Authorization` header may pass; always, when no token is asked for."""
        if not self._digests:
            return True
        scheme, _, token = (authorization or "").partition(" ")
        return scheme.lower() == "bearer" and digest_of(token) in self._digests
