"""Every language whose toolchain is here compiles once, runs contained, and says what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from prorl_api.wire.sandbox import ExecuteRequest, ExecuteResponse, Verdict
from prorl_reward_sandbox.execution.compiling.languages import ALL_LANGUAGES, LANGUAGES
from prorl_reward_sandbox.execution.programs import ProgramService
from tests.unit.reward_sandbox.program_kit import execute, make_request, program_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Adds the two numbers of standard input.
SUMS = {
    "python": "print(sum(map(int, input().split())))",
    "c": '#include <stdio.h>\nint main(void) { long a, b; scanf("%ld %ld", &a, &b); printf("%ld\\n", a + b); }',
    "cpp": "#include <bits/stdc++.h>\nint main() { long a, b; std::cin >> a >> b; std::cout << a + b << '\\n'; }",
    "go": 'package main\n\nimport (\n\t"bufio"\n\t"fmt"\n\t"os"\n)\n\nfunc main() {\n\tvar a, b int\n'
    "\tfmt.Fscan(bufio.NewReader(os.Stdin), &a, &b)\n\tfmt.Println(a + b)\n}\n",
    "rust": "use std::io::*;\nfn main() { let mut t = String::new(); stdin().read_to_string(&mut t).unwrap();\n"
    'println!("{}", t.split_whitespace().map(|w| w.parse::<i64>().unwrap()).sum::<i64>()); }',
    "java": "import java.util.*;\npublic class Sum { static class Pair { long a, b; }\n"
    "public static void main(String[] x) { Scanner s = new Scanner(System.in); Pair p = new Pair();\n"
    "p.a = s.nextLong(); p.b = s.nextLong(); System.out.println(p.a + p.b); } }",
    "javascript": "const [a, b] = require('fs').readFileSync(0, 'utf8').trim().split(/\\s+/).map(Number);\n"
    "console.log(a + b);",
}
BROKEN = {
    "c": "int main(void) { return missing; }",
    "cpp": "int main() { return missing; }",
    "go": "package main\n\nfunc main() { missing() }\n",
    "rust": "fn main() { missing(); }",
    "java": "class Main { public static void main(String[] a) { missing(); } }",
}
ENDLESS = {
    "python": "while True: pass",
    "c": "int main(void) { for (volatile int i = 0;; i++); }",
    "cpp": "int main() { for (volatile int i = 0;; i++); }",
    "go": "package main\n\nfunc main() {\n\tfor {\n\t}\n}\n",
    "rust": "fn main() { loop { std::hint::spin_loop(); } }",
    "java": "class Main { public static void main(String[] a) { while (true); } }",
    "javascript": "for (;;);",
}
GREEDY = {
    "python": "x = []\nwhile True: x.append(bytearray(1 << 20))",
    "cpp": "#include <vector>\nint main() { std::vector<std::vector<int>> v; for (;;) v.emplace_back(1 << 20, 1); }",
    "java": "import java.util.*;\nclass Main { public static void main(String[] a) {\n"
    "List<int[]> v = new ArrayList<>(); while (true) v.add(new int[1 << 20]); } }",
    "javascript": "const v = []; for (;;) v.push(new Array(1 << 16).fill(1.5));",
}
NAMES = [language.name for language in ALL_LANGUAGES]
assert set(SUMS) == set(ENDLESS) == set(NAMES), "a new language needs its programs here"
SLOW_TO_PREPARE = {"go"}
"""Tens of seconds before the first program."""


def languages(table: dict[str, str]) -> list[object]:
    return [
        pytest.param(name, source, marks=pytest.mark.slow if name in SLOW_TO_PREPARE else ())
        for name, source in table.items()
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs() -> AsyncIterator[ProgramService]:
    async with program_service() as service:
        yield service


async def run_if_there(programs: ProgramService, name: str, source: str, **fields: object) -> ExecuteResponse:
    (response,) = await programs.execute_all((make(name, source, **fields),), shown_bytes=10_000)
    if response.tests[0].verdict is Verdict.UNSUPPORTED:
        pytest.skip(response.tests[0].detail)
    return response


def make(name: str, source: str, **fields: object) -> ExecuteRequest:
    tests = [{"stdin": f"{number} 2", "expected_stdout": str(number + 2)} for number in range(3)]
    return make_request(source, *tests, language=name, **fields)


@pytest.mark.parametrize(("name", "source"), languages(SUMS))
async def test_a_right_program_passes_and_is_compiled_once(programs: ProgramService, name: str, source: str) -> None:
    first = await run_if_there(programs, name, source)
    assert first.reward == 1.0, first
    again = await run_if_there(programs, name, source)
    compiled = [response.compilation and response.compilation.is_cached for response in (first, again)]
    assert compiled == ([False, True] if LANGUAGES[name].toolchains[0].compile else [None, None])


@pytest.mark.parametrize(("name", "source"), languages(BROKEN))
async def test_a_program_that_does_not_compile_says_why(programs: ProgramService, name: str, source: str) -> None:
    response = await run_if_there(programs, name, source)
    assert {test.verdict for test in response.tests} == {Verdict.COMPILE_ERROR}
    assert response.reward == 0.0
    assert response.compilation is not None
    assert "missing" in response.compilation.output


@pytest.mark.parametrize(("name", "source"), languages(ENDLESS))
async def test_an_endless_program_ends_at_the_wall_limit(programs: ProgramService, name: str, source: str) -> None:
    response = await run_if_there(programs, name, source, total_wall_seconds=0.7)
    assert {test.verdict for test in response.tests} == {Verdict.TIMEOUT_WALL}


@pytest.mark.parametrize(("name", "source"), languages(GREEDY))
async def test_a_greedy_program_runs_out_of_memory(programs: ProgramService, name: str, source: str) -> None:
    response = await run_if_there(programs, name, source, total_wall_seconds=20.0)
    assert response.tests[0].verdict in (Verdict.MEMORY, Verdict.RUNTIME_ERROR), response.tests[0]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("cpp", "template<int n> struct S { S<n + 1> next; };\nS<0> s;\nint main() {}"),
        ("c", '#include "/dev/stdin"\nint main(void) { return missing; }'),
        ("c", "#include </dev/zero>\nint main(void) {}"),
        ("c", "int main(void) { return " + "(" * 100_000 + "0" + ")" * 100_000 + "; }"),
        ("cpp", "#define A(x) x x x x x x x x\nint main() { A(A(A(A(A(A(A(A(A(;))))))))) missing; }"),
    ],
)
async def test_a_compile_bomb_is_over_in_time_and_worth_nothing(
    programs: ProgramService, name: str, source: str
) -> None:
    async with asyncio.timeout(40):
        response = await run_if_there(programs, name, source)
    assert response.reward == 0.0, response
    assert response.compilation is not None
    assert response.compilation.verdict is not Verdict.CORRECT


async def test_compiling_the_same_program_at_once_happens_once(programs: ProgramService) -> None:
    source = SUMS["c"] + "// once"
    responses = await programs.execute_all((make("c", source),) * 6, shown_bytes=10_000)
    assert [response.reward for response in responses] == [1.0] * 6
    made = [response for response in responses if response.compilation and not response.compilation.is_cached]
    assert len(made) == 1


async def test_a_compiled_program_cannot_change_itself_for_the_next_test(programs: ProgramService) -> None:
    source = """
#include <stdio.h>
int main(void) {
    FILE *program = fopen("program", "r+b");
    remove("program"); rename("main.c", "program");
    printf("%s\\n", fopen("note", "r") ? "seen" : "fresh");
    fclose(fopen("note", "w"));
}
"""
    response = await execute(programs, source, *[{"expected_stdout": "fresh"}] * 3, language="c")
    assert response.reward == 1.0
