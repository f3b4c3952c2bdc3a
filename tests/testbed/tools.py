"""What the test cluster is made of: Go modules whose versions and hashes are pinned by their own go.mod and go.sum.

A table and pure functions; `build` runs the compiler, `toolchain` finds it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""
CACHE = ROOT / ".cache" / "cluster"
"""Everything that is downloaded or built here; `make clean` removes it."""
_MODULES = Path(__file__).parent / "go"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One program to build."""

    name: str
    """What it is called, and its folder under `go/`."""
    package: str
    """The main package: `.` for the folder's own, else an import path from its go.mod."""
    module: str
    """The module whose version is the tool's version."""
    commands: tuple[str, ...]
    """File names the program is found by; all are the same program, which looks at the name it was called by."""
    version_variables: Mapping[str, str] = field(default_factory=dict)
    """Go variables that tell the program its version, which a build from source leaves empty, and what they hold:
    `{version}`, `{major}` or `{minor}`."""
    tags: tuple[str, ...] = ()
    """Go build tags: parts that the tests never use are left out."""
    modules: str = ""
    """The folder under `go/` that pins the modules, where tools share one; empty: the tool's own."""
    minutes: float
    """How long a build from nothing takes on two cores."""

    @property
    def folder(self) -> Path:
        """Where go.mod and go.sum are."""
        return _MODULES / (self.modules or self.name)


KUBERNETES = Tool(
    name="kubernetes",
    package=".",
    module="k8s.io/kubernetes",
    commands=(
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kubectl",
    ),
    version_variables={
        "k8s.io/component-base/version.gitVersion": "{version}",
        "k8s.io/component-base/version.gitMajor": "{major}",
        "k8s.io/component-base/version.gitMinor": "{minor}",
        "k8s.io/client-go/pkg/version.gitVersion": "{version}",
    },
    minutes=6,
)
KWOK = Tool(name="kwok", package="sigs.k8s.io/kwok/cmd/kwok", module="sigs.k8s.io/kwok", commands=("kwok",), minutes=2)
COREDNS = Tool(name="coredns", package=".", module="github.com/coredns/coredns", commands=("coredns",), minutes=2)
HELM = Tool(
    name="helm",
    package="helm.sh/helm/v3/cmd/helm",
    module="helm.sh/helm/v3",
    commands=("helm",),
    version_variables={"helm.sh/helm/v3/internal/version.version": "{version}"},
    minutes=2,
)
HELM_UNITTEST = Tool(
    name="helm-unittest",
    package="github.com/helm-unittest/helm-unittest/cmd/helm-unittest",
    module="github.com/helm-unittest/helm-unittest",
    commands=("helm-unittest",),
    version_variables={"github.com/helm-unittest/helm-unittest/internal/build.version": "{version}"},
    minutes=1,
)
SCHEDULER_PLUGINS = Tool(
    name="scheduler-plugins",
    package=".",
    module="sigs.k8s.io/scheduler-plugins",
    commands=("coscheduling-scheduler", "coscheduling-controller"),
    minutes=7,
)
_PROMETHEUS_TAGS = ("remove_all_sd", "enable_kubernetes_sd")
PROMETHEUS = Tool(
    name="prometheus",
    package="github.com/prometheus/prometheus/cmd/prometheus",
    module="github.com/prometheus/prometheus",
    commands=("prometheus",),
    version_variables={"github.com/prometheus/common/version.Version": "{version}"},
    tags=_PROMETHEUS_TAGS,
    minutes=2,
)
PROMTOOL = Tool(
    name="promtool",
    package="github.com/prometheus/prometheus/cmd/promtool",
    module="github.com/prometheus/prometheus",
    commands=("promtool",),
    version_variables={"github.com/prometheus/common/version.Version": "{version}"},
    tags=_PROMETHEUS_TAGS,
    modules="prometheus",
    minutes=0.5,
)
VICTORIA_METRICS = Tool(
    name="victoria-metrics",
    package="github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics",
    module="github.com/VictoriaMetrics/VictoriaMetrics",
    commands=("victoria-metrics",),
    minutes=1,
)
"""What speaks Prometheus' API without any of its code."""
DASHBOARD_CHECK = Tool(
    name="dashboard-check",
    package=".",
    module="github.com/grafana/grafana-foundation-sdk/go",
    commands=("dashboard-check",),
    modules="grafana",
    minutes=0.5,
)
"""Reads dashboards strictly, by Grafana's own SDK; Grafana itself is no Go module and in no package registry."""
TOOLS = (
    KUBERNETES,
    KWOK,
    COREDNS,
    HELM,
    HELM_UNITTEST,
    SCHEDULER_PLUGINS,
    PROMETHEUS,
    PROMTOOL,
    VICTORIA_METRICS,
    DASHBOARD_CHECK,
)


def version(tool: Tool) -> str:
    """The version that go.mod pins, with its leading `v`."""
    text = (tool.folder / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require )?{re.escape(tool.module)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{tool.folder}/go.mod requires no version of {tool.module}; add one with `go get`")
    return found[1]


def linker_flags(tool: Tool) -> str:
    """Flags for the linker: no debug tables, and the version where the program has a place for it."""
    pinned = version(tool)
    major, minor, _ = pinned.removeprefix("v").split(".", 2)
    settings = [
        f"-X {variable}={template.format(version=pinned, major=major, minor=minor)}"
        for variable, template in tool.version_variables.items()
    ]
    return " ".join(["-s", "-w", *settings])


def digest(tool: Tool, go_series: str) -> str:
    """Identity of a build: another digest means other bytes may come out.

    Args:
        tool: What is built.
        go_series: Minor version of the compiler, such as `1.26`; its patch level is left to the machine.
    """
    hashed = hashlib.sha256()
    for part in (go_series, tool.package, linker_flags(tool), *tool.tags, *tool.commands):
        hashed.update(part.encode() + b"\0")
    for path in sorted(tool.folder.iterdir()):
        if path.name in ("go.mod", "go.sum") or path.suffix == ".go":
            hashed.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return hashed.hexdigest()[:16]
