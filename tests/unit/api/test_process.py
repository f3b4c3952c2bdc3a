"""The edges of a process: tokens, the fence, the socket it serves on, and its end with its supervisor."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from prorl_api.process import lifeline, listen, logs, tokens
from prorl_api.process.api_error import ApiError
from prorl_api.process.fence import AttemptFence, OwnAttempt
from prorl_api.process.tokens import AcceptedTokens, bearer_headers, derive_token, digest_of
from prorl_api.wire.base import ErrorKind

# printf 'job-1/rollout->learner' | openssl dgst -sha256 -hmac key
TOKEN = "7e5a4740e18010462de90e28e475dbc13e592f6a4cdffa4d727dbda6018483c0"
# printf '%s' $TOKEN | sha256sum
DIGEST = "353a2bd5a8a79c101b843524b4f35abfc2532611b61f6e602e8d887a96d104f0"


def test_a_token_is_the_hmac_of_its_direction() -> None:
    assert derive_token(b"key", "job-1", "rollout", "learner") == TOKEN
    assert digest_of(TOKEN) == DIGEST


def test_every_direction_and_job_has_its_own_token() -> None:
    directions = [("a", "b"), ("b", "a"), ("a", "a")]
    derived = {derive_token(key, job, *way) for key in (b"k", b"l") for job in ("1", "2") for way in directions}
    assert len(derived) == 12


@pytest.mark.parametrize(
    ("header", "admitted"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer {TOKEN}", True),
        (f"Basic {TOKEN}", False),
        (f"Bearer {DIGEST}", False),
        (f"Bearer {TOKEN} ", False),
        ("Bearer ", False),
        ("", False),
        (None, False),
    ],
)
def test_only_a_token_whose_digest_is_held_is_admitted(header: str | None, admitted: bool) -> None:
    assert (AcceptedTokens(frozenset({DIGEST, "0" * 64})).caller(header) is not None) is admitted


def test_without_digests_no_token_is_asked_for() -> None:
    assert AcceptedTokens(frozenset()).caller(None) is not None


def test_accepted_digests_leave_the_environment_so_that_no_child_inherits_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tokens.ACCEPTED_VARIABLE, f" {DIGEST}, {'0' * 64},")
    accepted = AcceptedTokens.from_environment()
    assert tokens.ACCEPTED_VARIABLE not in os.environ
    assert accepted.caller(f"Bearer {TOKEN}") is not None
    assert accepted.caller("Bearer ") is None


def test_a_caller_presents_the_token_it_was_given_for_that_callee(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRORL_TOKEN_LEARNER", TOKEN)
    monkeypatch.delenv("PRORL_TOKEN_SANDBOX", raising=False)
    assert bearer_headers("learner") == {"Authorization": f"Bearer {TOKEN}"}
    assert bearer_headers("sandbox") == {}


def test_the_fence_moves_forward_only() -> None:
    fence = AttemptFence(2)
    fence.check(None)
    fence.check("2")
    fence.advance(5)
    fence.advance(3)
    with pytest.raises(ApiError, match="attempt 4 is over: attempt 5") as caught:
        fence.check("4")
    assert (caught.value.info.kind, caught.value.info.retryable) == (ErrorKind.STALE_ATTEMPT, False)
    assert fence.attempt == 5


def test_a_caller_s_word_moves_no_fence() -> None:
    """Else one request that names attempt 99999999 would lock everybody else out for ever."""
    fence = AttemptFence(2)
    fence.check("99999999")
    fence.check("2")
    assert fence.attempt == 2


@pytest.mark.parametrize("attempt", ["2", "4", "99999999"])
def test_a_process_of_one_attempt_serves_no_other(attempt: str) -> None:
    own = OwnAttempt(3)
    own.check("3")
    own.check(None)
    with pytest.raises(ApiError) as caught:
        own.check(attempt)
    assert caught.value.info.kind is ErrorKind.STALE_ATTEMPT
    own.check("3")


def test_tokens_leave_the_environment_and_are_still_presented() -> None:
    program = (
        "import os, subprocess, sys\n"
        "from prorl_api.process.tokens import bearer_headers, hold_tokens\n"
        "hold_tokens()\n"
        "print(bearer_headers('learner')['Authorization'], bearer_headers('sandbox'))\n"
        "subprocess.run(['env'])\n"
    )
    environment = os.environ | {"PRORL_TOKEN_LEARNER": "secret-1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    presented, _, inherited = done.stdout.partition("\n")
    assert presented == "Bearer secret-1 {}"
    assert "secret-1" not in inherited
    assert "PATH=" in inherited


def test_a_child_that_calls_nobody_gets_no_token_and_no_digest() -> None:
    environment = {"PATH": "/bin", "PRORL_TOKEN_SANDBOX": "t", "PRORL_ACCEPTED_TOKEN_SHA256": "d", "PRORL_ATTEMPT": "1"}
    assert tokens.without_tokens(environment) == {"PATH": "/bin", "PRORL_ATTEMPT": "1"}


def test_a_token_tells_whose_it_is() -> None:
    accepted = AcceptedTokens([f"body={DIGEST}", f"rollout={digest_of('other')}", digest_of("anybody's")])
    assert accepted.caller(f"Bearer {TOKEN}") == "body"
    assert accepted.caller("Bearer other") == "rollout"
    assert accepted.caller("Bearer anybody's") == tokens.ANY_CALLER
    assert accepted.caller("Bearer body") is None
    assert accepted.caller(f"Bearer body={DIGEST}") is None


def test_what_is_accepted_is_told_as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tokens.ACCEPTED_VARIABLE, tokens.accepted_text({"body": "one", "rollout": "two"}))
    accepted = AcceptedTokens.from_environment()
    assert (accepted.caller("Bearer one"), accepted.caller("Bearer two")) == ("body", "rollout")


@pytest.mark.parametrize("header", ["", "-1", "1.0", "one", " 3", "²", "٣", "9" * 5000])
def test_an_attempt_that_is_no_number_is_a_bad_request(header: str) -> None:
    with pytest.raises(ApiError) as caught:
        AttemptFence().check(header)
    assert caught.value.info.kind is ErrorKind.BAD_REQUEST


def test_an_inherited_socket_is_served_and_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given = listen.bind("127.0.0.1", 0)
    address = listen.address_of(given)
    monkeypatch.setenv(listen.LISTEN_FD_VARIABLE, str(given.detach()))
    with listen.listening_socket() as serving:
        assert listen.address_of(serving) == address
        assert not serving.get_inheritable()
        assert listen.LISTEN_FD_VARIABLE not in os.environ
        host, port = address.split(":")
        socket.create_connection((host, int(port))).close()


def test_without_an_inherited_socket_a_free_port_of_this_machine_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(listen.LISTEN_FD_VARIABLE, raising=False)
    monkeypatch.delenv(listen.LISTEN_ADDRESS_VARIABLE, raising=False)
    with listen.listening_socket() as serving:
        host, port = listen.address_of(serving).split(":")
    assert (host, int(port) > 0) == ("127.0.0.1", True)


def test_a_taken_port_is_named_with_the_variable_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(listen.LISTEN_FD_VARIABLE, raising=False)
    with listen.bind("127.0.0.1", 0) as taken:
        address = listen.address_of(taken)
        monkeypatch.setenv(listen.LISTEN_ADDRESS_VARIABLE, address)
        with pytest.raises(OSError, match=f"cannot listen on {re.escape(address)}.*PRORL_LISTEN_ADDRESS") as caught:
            listen.listening_socket()
    assert caught.value.errno == errno.EADDRINUSE


def test_a_log_line_ends_with_the_fields_that_were_given(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # `configure_logging` closes those it finds
    try:
        logs.configure_logging("learner")
        logging.getLogger("prorl_test").info("step done", extra={"step": 7, "job": "demo"})
    finally:
        root.handlers, root.level = handlers, level
    line = capsys.readouterr().err
    assert line.endswith("INFO learner prorl_test: step done step=7 job=demo\n")


FAMILY = """
import signal, subprocess, sys
from prorl_api.process.lifeline import hold_lifeline
hold_lifeline()
grandchild = subprocess.Popen([sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"])
signal.pause()
"""


def test_the_whole_process_group_dies_when_the_supervisor_closes_the_pipe(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", FAMILY],
        env=os.environ | {lifeline.LIFELINE_FD_VARIABLE: str(read_end)},
        pass_fds=(read_end,),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_end)
    assert child.stdout is not None
    with child, child.stdout as output:
        assert output.readline() == b"up\n"
        assert child.poll() is None
        os.close(write_end)
        assert child.wait(timeout=20) == -signal.SIGKILL
        # The grandchild holds the other end of this pipe: end of file means that it is gone as well.
        assert output.read() == b""


def test_without_a_lifeline_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(lifeline.LIFELINE_FD_VARIABLE, raising=False)
    lifeline.hold_lifeline()
