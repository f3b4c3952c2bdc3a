"""A short run of `make fuzz-http`: no spoilt request ends a service, or makes it err or log a traceback."""

from __future__ import annotations

from pathlib import Path

from tests.bench.http_fuzz import Fuzzer
from tests.bench.http_fuzz_servers import TOKENS, services

REQUESTS = 1500


def test_no_spoilt_request_does_any_harm(tmp_path: Path) -> None:
    with services(tmp_path) as running:
        fuzzer = Fuzzer(running.addresses, TOKENS, seed=7)
        for _ in range(REQUESTS):
            fuzzer.step()
        assert running.are_alive
        assert fuzzer.findings.faults == []
        assert running.tracebacks == ""
    statuses = fuzzer.findings.statuses
    # Else it would not try what lies behind tokens, and behind the bodies' models.
    assert statuses["200"] > REQUESTS // 50
    assert statuses["422"] > REQUESTS // 20
    assert statuses["401"] + statuses["403"] > REQUESTS // 10
