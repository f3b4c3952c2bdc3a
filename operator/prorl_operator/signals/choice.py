"""Which source a job's signals come from, by its `spec.monitoring`. Never waits: what was read last is there."""

from __future__ import annotations

from dataclasses import dataclass

from prorl_api.crd.objects import from_time
from prorl_api.resets import ResetRecord
from prorl_api.spec.job import ProRLJob
from prorl_api.wire.learner import LearnerStatus
from prorl_control.plan import RunPlan
from prorl_control.resets.series import Series
from prorl_control.resets.triggers import DECISIVE, names_wanted
from prorl_control.signals.job_signals import WantedSignals
from prorl_control.signals.reading import LearnerSeries, Reading, SignalFault, SignalSource, WithStandIn
from prorl_operator.kube.views import Body
from prorl_operator.signals.endpoints import Endpoints
from prorl_operator.signals.poller import SignalPoller, own_signals


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalChoice:
    """Chooses sources for jobs."""

    endpoints: Endpoints
    poller: SignalPoller

    def source(
        self, body: Body, job: ProRLJob, plan: RunPlan, series: Series, records: list[ResetRecord], recent: int
    ) -> SignalSource:
        """Return where a job's lines come from.

        Args:
            body: The job's object.
            job: As it runs.
            plan: Of it.
            series: The learner's own.
            records: Its resets.
            recent: Newest lines that are looked at.
        """
        monitoring, meta = job.spec.monitoring, body["metadata"]
        own = LearnerSeries(series)
        key = meta["namespace"], meta["name"]
        if not monitoring.is_from_prometheus:
            self.poller.forget(key)
            return own
        found = self.endpoints.of(monitoring, meta["namespace"])
        source: SignalSource
        if isinstance(found, SignalFault):
            self.poller.forget(key)
            source = _Refused(found)
        else:
            wanted = WantedSignals(
                job=key,
                uid=meta["uid"],
                names=DECISIVE | names_wanted(plan.reference_reset),
                own=own_signals(((signal.name, signal.query) for signal in monitoring.signals), key),
                since=from_time(meta["creationTimestamp"]),
                recent=recent,
                target_step=max((record.applied_step or 0 for record in records), default=0),
                prometheus=found.name,
                interval=found.interval,
            )
            source = self.poller.source(found, wanted)
        return WithStandIn(source, own) if monitoring.on_missing == "learner" else source


@dataclass(frozen=True, slots=True)
class _Refused:
    """A Prometheus that is not asked."""

    fault: SignalFault

    def read(self, now: float, learner: LearnerStatus | None, *, heard_now: bool = True) -> Reading:
        """Return why there are no lines."""
        del now, learner, heard_now
        return Reading(fault=self.fault)
