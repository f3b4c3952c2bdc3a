"""`prorl resets replay`: over the series that ship, with one setting and with many, from a file and a Prometheus."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from rich.console import Console

from prorl_api.errors import SpecError
from prorl_api.manifest import parse_job
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.resets import ReferenceResetSpec
from prorl_cli.errors import RunFolderError
from prorl_cli.replaying import StoredSeries, outcome, print_sweep, stored_series, swept
from prorl_cli.resets import ReplayRequest, print_replay
from tests.bench.reset_series import EXAMPLES, text

ROOT = Path(__file__).parents[3]
MANIFEST = """
apiVersion: prorl.dev/v1alpha1
kind: ProRLJob
metadata: {name: demo}
spec:
  model: {path: ./model}
  data: {sources: [{name: sums, domain: logic, reasoningGym: {tasks: [{name: chain_sum}]}}]}
  referenceReset:
    triggers:
      - {name: kl-spike, klSpike: {deviations: 3.25, windowSteps: 3}}
      - {name: dropped, validationDropped: {validations: 2, confidence: 0.95}}
      - {name: stalled, validationStalled: {patience: 35, confidence: 0.95}}
"""


@pytest.fixture(scope="module")
def job() -> ProRLJob:
    return parse_job(MANIFEST)


def example(name: str) -> StoredSeries:
    return stored_series(ROOT / "examples/series" / f"{name}.jsonl")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_series_that_ship_are_what_the_generator_makes_of_its_seed(name: str) -> None:
    file = ROOT / "examples/series" / f"{name}.jsonl"
    assert file.read_text(encoding="utf-8") == text(name), "run: python -m tests.bench.reset_series examples/series"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("kl-spike", [(153, "kl-spike")]),
        ("plateau", [(610, "stalled")]),
        ("noise-only", []),
        ("missing-data", [(235, "kl-spike")]),
        ("restart", []),
    ],
)
def test_what_happens_in_the_series_that_ship(job: ProRLJob, name: str, wanted: list[tuple[int, str]]) -> None:
    found = outcome(job.spec.reference_reset, example(name))
    assert [(item.evidence_step, item.evidence.trigger) for item in found.proposals] == wanted
    assert (found.false, found.missed) == (0, 0)


def test_resets_without_reason_are_false_and_events_without_a_reset_missed() -> None:
    often = ReferenceResetSpec.model_validate(
        {"cooldownSteps": 0, "triggers": [{"name": "any", "threshold": {"metric": "kl", "above": 0}, "maxResets": 2}]}
    )
    lines = [{"step": step, "attempt": 1, "kl": 0.1} for step in range(1, 200)]
    series = StoredSeries(lines=lines, truth=[{"step": 2, "within": 5}, {"step": 100}])
    found = outcome(often, series)
    assert [item.evidence_step for item in found.proposals] == [1, 2]
    assert (found.false, found.missed) == (1, 1)
    unknown = outcome(often, StoredSeries(lines=lines))
    assert (unknown.false, unknown.missed) == (None, None)


def test_the_resets_of_an_interval_are_no_claim(job: ProRLJob) -> None:
    clock = ReferenceResetSpec.model_validate({"triggers": [{"name": "clock", "interval": {"everySteps": 500}}]})
    found = outcome(clock, example("noise-only"))
    assert (len(found.proposals), found.false) == (4, 0)


def test_a_sweep_tries_every_combination(job: ProRLJob) -> None:
    tried = swept(
        job.spec.reference_reset, ["kl-spike.klSpike.deviations=2,4", "cooldownSteps=50,100", "stalled.maxResets=1"]
    )
    assert [(name, policy.cooldown_steps, policy.triggers[2].max_resets) for name, policy in tried] == [
        (f"kl-spike.klSpike.deviations={bound}, cooldownSteps={cooldown}, stalled.maxResets=1", cooldown, 1)
        for bound in (2, 4)
        for cooldown in (50, 100)
    ]
    console = Console(record=True, width=200)
    print_sweep([outcome(policy, example("kl-spike"), name) for name, policy in tried], console)
    shown = console.export_text()
    assert shown.count("153 kl-spike") == 4
    assert "1: KL averaged 0.109 nats over steps 151-153" in shown


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ("cooldownSteps", "cooldownSteps=50,100"),
        ("nobody.klSpike.above=1", "kl-spike, dropped, stalled"),
        ("kl-spike.klspike.above=1", "one of klSpike"),
        ("kl-spike.klSpike.deviation=1", "unknown field"),
        ("kl-spike.klSpike.deviations=0", "more than 0"),
        ("coolDown=5", "unknown field"),
        ("cooldownSteps=" + ",".join(map(str, range(501))), "at most 500"),
    ],
)
def test_a_sweep_over_what_does_not_exist_says_what_does(job: ProRLJob, sweep: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        swept(job.spec.reference_reset, [sweep])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "option"),
    [
        ({"manifest": None}, "MANIFEST"),
        ({"job": "a/b"}, "--job"),
        ({"start": "0"}, "--from"),
        ({"credentials": Path("/c")}, "--credentials"),
        ({"headers": ["X: y"]}, "--header"),
        ({"prometheus": "http://127.0.0.1:1"}, "MANIFEST"),
        ({"prometheus": "http://127.0.0.1:1", "manifest": None}, "--prometheus"),
        ({"prometheus": "http://127.0.0.1:1", "manifest": None, "job": "b", "start": "0"}, "--job"),
        ({"prometheus": "http://127.0.0.1:1", "manifest": None, "job": "a/b", "start": "noon"}, "--from"),
        (
            {"prometheus": "http://127.0.0.1:1", "manifest": None, "job": "a/b", "start": "2026-01-31T12:00:00"},
            "--from",
        ),
        ({"prometheus": "http://127.0.0.1:1", "manifest": None, "job": "a/b", "start": "5", "end": "4"}, "--to"),
    ],
)
def test_a_command_line_that_contradicts_itself_is_told_so(tmp_path: Path, fields: dict[str, Any], option: str) -> None:
    manifest = tmp_path / "job.yaml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    given: dict[str, Any] = {"series": manifest, "manifest": manifest, **fields}
    with pytest.raises(SpecError) as caught:
        print_replay(ReplayRequest(**given), Console(record=True))
    assert caught.value.faults[0].path == option


class _Prometheus(BaseHTTPRequestHandler):
    """Answers a question for raw samples with a series: one scrape a step, ten seconds apart."""

    lines: list[dict[str, Any]]
    asked: list[dict[str, list[str]]]

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.asked.append(form)
        labels = {"namespace": "team-a", "prorl_job": "demo", "prorl_role": "learner", "pod": "demo-learner-0"}
        result = [
            {
                "metric": labels | {"__name__": f"prorl_learner_{name}{unit}"},
                "values": [[10.0 * line["step"], str(line[name])] for line in self.lines if name in line],
            }
            for name, unit in (
                ("step", ""),
                ("attempt", ""),
                ("kl", "_nats"),
                ("validation_accuracy", ""),
                ("validation_completions", ""),
            )
        ]
        body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def prometheus() -> Iterator[str]:
    _Prometheus.lines, _Prometheus.asked = list(example("kl-spike").lines), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Prometheus)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_series_from_a_prometheus_gives_the_decisions_of_the_file(tmp_path: Path, prometheus: str) -> None:
    manifest = tmp_path / "job.yaml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    console, wanted = Console(record=True, width=200), Console(record=True, width=200)
    print_replay(
        ReplayRequest(series=manifest, manifest=None, prometheus=prometheus, job="team-a/demo", start="0", end="1800"),
        console,
    )
    file = ROOT / "examples/series/kl-spike.jsonl"
    print_replay(ReplayRequest(series=file, manifest=manifest), wanted)
    assert console.export_text() == wanted.export_text().split("truly:")[0]
    (asked,) = _Prometheus.asked
    assert "prorl_learner_kl_nats" in asked["query"][0]
    assert asked["time"] == ["1800.000"]


def test_a_prometheus_that_has_nothing_of_the_job_or_is_not_there_is_told(tmp_path: Path, prometheus: str) -> None:
    manifest = tmp_path / "job.yaml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    for url, said in ((prometheus, "has no step of job team-b/demo"), ("http://127.0.0.1:1", "127.0.0.1")):
        request = ReplayRequest(
            series=manifest, manifest=None, prometheus=url, job="team-b/demo", start="0", end="1800"
        )
        with pytest.raises(RunFolderError, match=said):
            print_replay(request, Console(record=True))
