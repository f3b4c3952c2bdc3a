"""Libraries of programs: the declared ones work under every containment, and open nothing."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncIterator

import pytest

from prorl_api.spec.values import LIBRARIES
from prorl_api.wire.sandbox import ExecutionLimits, Verdict
from prorl_reward_sandbox.execution.compiling.libraries import needed_libraries
from prorl_reward_sandbox.execution.isolation import Isolation, RawOutcome, RunSpec, StopReason
from prorl_reward_sandbox.execution.levels.strongest import CLAIMS, attack
from tests.unit.reward_sandbox.isolation_levels import make_level, python
from tests.unit.reward_sandbox.program_kit import asserts, call, execute, program_service, result_of

ALL = tuple(sorted(LIBRARIES))
PROGRAMS = {
    "numpy": (
        "import numpy as np, numpy.linalg as la\na = np.arange(250000.0).reshape(500, 500) + np.eye(500)\n"
        "b = a @ a\nprint(b.shape, np.fft.fft(np.ones(4)).real.tolist(), round(float(la.det(np.eye(3) * 2))))",
        b"(500, 500) [4.0, 0.0, 0.0, 0.0] 8\n",
    ),
    "a large linear system": (
        "import numpy as np\na = np.random.default_rng(1).normal(size=(300, 300))\n"
        "print(np.allclose(a @ np.linalg.solve(a, np.ones(300)), 1))",
        b"True\n",
    ),
    "sympy": (
        "from sympy import *\nx = symbols('x')\n"
        "print(integrate(x * exp(x), x), factorint(360), solve(x**2 - 2), N(pi, 30))",
        b"(x - 1)*exp(x) {2: 3, 3: 2, 5: 1} [-sqrt(2), sqrt(2)] 3.14159265358979323846264338328\n",
    ),
    "networkx": (
        "import networkx as nx\ng = nx.Graph()\ng.add_weighted_edges_from([(1, 2, 3), (2, 3, 4), (1, 3, 9)])\n"
        "print(nx.dijkstra_path(g, 1, 3), nx.maximum_flow_value(nx.DiGraph([(0, 1, {'capacity': 2})]), 0, 1))",
        b"[1, 2, 3] 2\n",
    ),
    "networkx with numpy": (
        "import networkx as nx\nprint(nx.to_numpy_array(nx.path_graph(3)).sum())",
        b"4.0\n",
    ),
    "sortedcontainers": (
        "from sortedcontainers import SortedList, SortedDict\ns = SortedList([3, 1, 2]); s.add(0)\n"
        "print(list(s), s.bisect(2), SortedDict({2: 'b', 1: 'a'}).peekitem(0))",
        b"[0, 1, 2, 3] 3 (1, 'a')\n",
    ),
    "a thread that computes": (
        "import threading, numpy as np\nout = []\n"
        "t = threading.Thread(target=lambda: out.append((np.eye(300) @ np.eye(300)).trace()))\n"
        "t.start(); t.join(); print(out)",
        b"[np.float64(300.0)]\n",
    ),
    "a process that computes": (
        "import os, numpy as np\npid = os.fork()\nif pid == 0:\n"
        "  print((np.eye(300) @ np.eye(300)).trace(), flush=True)\n"
        "  os._exit(0)\nprint(os.waitpid(pid, 0)[1])",
        b"300.0\n0\n",
    ),
    "one thread of its own": (
        "import os, numpy as np\nnp.ones((400, 400)) @ np.ones((400, 400))\n"
        "print(len(os.listdir('/proc/self/task')) if os.path.isdir('/proc/self/task') else 1)",
        b"1\n",
    ),
    "nothing else of the service": (
        "import importlib\nfound = []\n"
        "for name in ('pydantic', 'prorl_api', 'prorl_reward_sandbox', 'fastapi', 'torch', 'psutil', 'math_verify'):\n"
        "  try: importlib.import_module(name); found.append(name)\n  except ImportError: pass\nprint(found)",
        b"[]\n",
    ),
}  # fmt: skip


async def test_a_program_can_use_its_libraries_at_every_level(isolation: Isolation) -> None:
    limits = ExecutionLimits(wall_seconds=60.0, cpu_seconds=60.0, memory_bytes=128 * 2**20)
    for name, (source, stdout) in PROGRAMS.items():
        libraries = needed_libraries(source, ALL) or ("sortedcontainers",)
        outcome = await isolation.run(python(source, libraries=libraries, limits=limits))
        assert (outcome.exit_code, outcome.stdout) == (0, stdout), (name, outcome.stderr.decode())


@pytest.fixture
async def in_namespaces() -> AsyncIterator[Isolation]:
    level = make_level("namespaces")
    await level.start()
    yield level
    await level.close()


async def test_runs_with_and_without_libraries_do_not_touch_each_other(isolation: Isolation) -> None:
    with_numpy = python("import sys\nimport numpy\nnumpy.left = 1\nprint('numpy' in sys.modules)", libraries=("numpy",))
    without = python("import sys\nprint([n for n in ('numpy', 'sympy') if n in sys.modules])\nimport numpy")
    assert (await isolation.run(with_numpy)).stdout == b"True\n"
    outcome = await isolation.run(without)
    assert outcome.stdout == b"[]\n"
    assert b"ModuleNotFoundError" in outcome.stderr
    fresh = await isolation.run(python("import numpy\nprint(hasattr(numpy, 'left'))", libraries=("numpy",)))
    assert fresh.stdout == b"False\n"


async def test_every_set_of_libraries_can_follow_every_other(in_namespaces: Isolation) -> None:
    for library in (*LIBRARIES, *LIBRARIES):
        others = [each for each in LIBRARIES if each != library]
        source = (
            f"import {library}\n"
            + f"for name in {others!r}:\n  try: __import__(name); print(name)\n  except ImportError: pass"
        )
        outcome = await in_namespaces.run(python(source, libraries=(library,)))
        assert (outcome.exit_code, outcome.stdout) == (0, b""), (library, outcome)


async def test_random_numbers_differ_from_run_to_run(in_namespaces: Isolation) -> None:
    source = "import numpy, sympy.core.random as r\nprint(numpy.random.random(), r.rng.random())"
    drawn = [(await in_namespaces.run(python(source, libraries=ALL))).stdout.split() for _ in range(3)]
    assert len({first for first, _ in drawn}) == len({second for _, second in drawn}) == 3


async def test_the_memory_limit_holds_beside_the_libraries(isolation: Isolation) -> None:
    limits = ExecutionLimits(memory_bytes=64 * 2**20)
    source = "import numpy\nprint(len(numpy.ones(100_000_000)))"
    outcome = await isolation.run(python(source, libraries=("numpy",), limits=limits))
    assert outcome.stdout == b""
    assert outcome.stop_reason is StopReason.MEMORY or b"MemoryError" in outcome.stderr


class WithLibraries:
    """An isolation whose every run has libraries."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self.name, self.max_runs = isolation.name, isolation.max_runs

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def run(self, spec: RunSpec) -> RawOutcome:
        return await self._isolation.run(dataclasses.replace(spec, libraries=ALL))


@pytest.fixture(params=["namespaces", "landlock in a restricted pod"])
async def contained(request: pytest.FixtureRequest) -> AsyncIterator[Isolation]:
    level = make_level(request.param)
    await level.start()
    yield level
    await level.close()


async def test_no_attack_that_a_level_stops_gets_through_with_libraries(contained: Isolation) -> None:
    without = await attack(contained)
    with_them = await attack(WithLibraries(contained))
    assert set(with_them) == set(without)
    assert not set(with_them) & CLAIMS[contained.name]


@pytest.mark.parametrize(
    ("source", "allowed", "needed"),
    [
        ("print(1)", ALL, ()),
        ("import numpy as np", ALL, ("numpy", "sortedcontainers")),
        ("from sortedcontainers import SortedList", ALL, ("numpy", "sortedcontainers")),
        ("from sympy.ntheory import isprime", ALL, ALL),
        ("import networkx, numpy", ALL, ALL),
        ("import networkx", ("networkx",), ("networkx",)),
        ("import numpy", ("sympy",), ()),
        ("import numpy", (), ()),
        ("importnumpy_x = 1", ALL, ()),
        ("__import__('numpy')", ALL, ("numpy", "sortedcontainers")),
    ],
)  # fmt: skip
def test_a_program_gets_libraries_if_it_names_one(
    source: str, allowed: tuple[str, ...], needed: tuple[str, ...]
) -> None:
    assert needed_libraries(source, allowed) == needed


async def test_assert_tests_and_called_functions_have_libraries() -> None:
    async with program_service(slots=1) as programs:
        source = "import numpy as np\ndef f(a): return np.asarray(a) * 2"
        test = (
            "import numpy as np\nassert (f(np.array([1, 2])) == np.array([2, 4])).all()\n"
            "assert type(f([1])).__name__ == 'ndarray'"
        )
        assert (await result_of(programs, source, asserts(test, "f"))).verdict is Verdict.CORRECT
        assert (await result_of(programs, source, asserts(test.replace("4", "5"), "f"))).verdict is Verdict.WRONG
        plain = "def f(a): return [2 * x for x in a]"
        only_in_the_test = "import numpy as np\nassert np.allclose(f([1, 2]), [2, 4])"
        assert (await result_of(programs, plain, asserts(only_in_the_test, "f"))).verdict is Verdict.CORRECT
        assert (await result_of(programs, source, call("f", [1], expected=[2]))).verdict is Verdict.CORRECT


async def test_a_library_that_is_not_declared_is_not_there() -> None:
    async with program_service(slots=1) as programs:
        source = "import numpy\nprint(1)"
        for libraries, reward in (([], 0.0), (["sympy"], 0.0), (["numpy"], 1.0), (None, 1.0)):
            response = await execute(programs, source, {"expected_stdout": "1"}, libraries=libraries)
            assert response.reward == reward


async def test_a_library_that_cannot_be_had_is_the_sandboxs_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from prorl_reward_sandbox.execution.levels import process_isolation

    monkeypatch.setattr(process_isolation, "located", lambda libraries: dict.fromkeys(libraries, "/nowhere"))
    async with program_service(slots=1) as programs:
        result = await result_of(programs, "import numpy\nprint(1)", {"expected_stdout": "1"})
        assert result.verdict is Verdict.UNSUPPORTED
        assert "numpy" in result.detail
        assert (await result_of(programs, "print(1)", {"expected_stdout": "1"})).verdict is Verdict.CORRECT


def test_the_libraries_are_installed_here() -> None:
    from prorl_reward_sandbox.execution.process.libraries import PACKAGES, folders_of, located

    assert set(PACKAGES) == set(LIBRARIES)
    assert all(os.path.isdir(folder) for folder in folders_of(located(LIBRARIES)))
