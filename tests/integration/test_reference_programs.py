"""Right programs as people write them: in every style of reading and printing, each passes all of its tests.

`solvers.txt` holds tasks with a function that solves them, `frames.txt` whole programs around such a function, each in
another style; every task is put into several frames. `whole.txt` holds programs whose reading cannot be exchanged. The
expected outputs are those of a plain CPython, outside of any jail (`expected.jsonl`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prorl_api.rows import CodeRow
from prorl_api.spec.values import LIBRARIES, Domain
from prorl_api.wire.sandbox import ScoreItem, Verdict
from prorl_reward_sandbox.execution.judging.companions import num_jails
from prorl_reward_sandbox.execution.levels.strongest import StrongestIsolation
from prorl_reward_sandbox.execution.programs import ProgramService
from prorl_reward_sandbox.metrics import SandboxMetrics
from prorl_reward_sandbox.service.code_rewards import CodeJudge

FOLDER = Path(__file__).parent / "reference_programs"
FRAMES_EACH = 6
SLOTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program with its inputs and the outputs that are right."""

    name: str
    source: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def row(self) -> CodeRow:
        """What it is judged by."""
        tests = [
            {"stdin": given, "expected_stdout": expected}
            for given, expected in zip(self.inputs, self.outputs, strict=True)
        ]
        return CodeRow.model_validate({"tests": tests, "total_wall_seconds": 600, "test_wall_seconds": 120})


def sections(name: str) -> Iterator[tuple[str, str]]:
    """Each name and the text under it."""
    for part in (FOLDER / name).read_text(encoding="utf-8").split("==== ")[1:]:
        title, _, text = part.partition("\n")
        yield title, text


def inputs_of(line: str) -> tuple[str, ...]:
    found: list[str] = []
    place = 0
    while place < len(line):
        value, end = json.JSONDecoder().raw_decode(line, place)
        found.append(value)
        place = end + 1
    return tuple(found)


def all_programs() -> Iterator[Program]:
    lines = (FOLDER / "expected.jsonl").read_text(encoding="utf-8").splitlines()
    expected = {name: tuple(outputs) for name, outputs in map(json.loads, lines)}
    frames = list(sections("frames.txt"))
    for number, (name, text) in enumerate(sections("solvers.txt")):
        inputs, _, solver = text.partition("\n")
        for place in range(FRAMES_EACH):
            # Another selection for each task, so that in the end each kind of task meets each frame.
            style, frame = frames[(number * 7 + place * 2) % len(frames)]
            source = frame.replace("{solver}", solver)
            yield Program(name=f"{name}, {style}", source=source, inputs=inputs_of(inputs), outputs=expected[name])
    for name, text in sections("whole.txt"):
        inputs, _, source = text.partition("\n")
        yield Program(name=name, source=source, inputs=inputs_of(inputs), outputs=expected[name])


PROGRAMS = list(all_programs())


def test_there_are_at_least_three_hundred_and_no_two_are_the_same() -> None:
    assert len(PROGRAMS) >= 300
    assert len({program.source for program in PROGRAMS}) == len({program.name for program in PROGRAMS}) == len(PROGRAMS)
    used = {style for program in PROGRAMS for style, _ in sections("frames.txt") if program.name.endswith(f", {style}")}
    assert used == {style for style, _ in sections("frames.txt")}
    assert all(len(program.inputs) >= 3 for program in PROGRAMS)


async def test_every_program_passes_all_of_its_tests() -> None:
    isolation = StrongestIsolation(num_jails(SLOTS), slots_alone=num_jails(1))
    service = ProgramService(
        isolation, slots=SLOTS, max_queued=1000, metrics=SandboxMetrics("test"), libraries=LIBRARIES
    )
    await service.start()
    try:
        items = [
            (
                ScoreItem(
                    item_id=str(number),
                    domain=Domain.CODE,
                    row=program.row.model_dump(mode="json"),
                    completion=f"So:\n````python\n{program.source}````\n",
                ),
                program.row,
            )
            for number, program in enumerate(PROGRAMS)
        ]
        judged = await CodeJudge(service).judge(items, timeout_seconds=600.0)
    finally:
        await service.close()
    failed = {
        program.name: result.judgement.detail
        for program, result in zip(PROGRAMS, judged, strict=True)
        if result.judgement.verdict is not Verdict.CORRECT
    }
    assert failed == {}
