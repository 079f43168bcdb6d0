"""Canaries on live traffic: told how requests went, and asked what share they may have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from ...data.store.served import ServedFeedback, ServedStore
from ..experiments import Canary, CanaryPlan, StoredCanaries
from .observing import Served
from .routing import Router

_LOG = logging.getLogger(__name__)
_EVERY = 1.0
"""Seconds between two steps: so long a canary that has been rolled back elsewhere is still served here."""
OWN = ("error", "seconds", "ttft", "blocked", "completion_tokens", "thumbs_up")
"""What a gateway measures of requests and feedback."""


class Canaries:
    """All canaries of a gateway. Gateways of one store agree.

    Observed of each request are `"error"` (1 where the answer failed by the gateway's or the model's fault), `"seconds"`, `"ttft"`,
    `"blocked"` (1 where a filter ended the answer) and `"completion_tokens"`; of feedback `"thumbs_up"`; of the monitor's sample each
    of its scores, by its name. Whatever else is measured is told by [`observe`].

    Args:
        plans (`list[CanaryPlan]`): As they are written down.
        store ([`~rlhf_ext.data.store.served.ServedStore`]): Where they live.
        router ([`Router`]): Deals by their shares.
        told (`Sequence[str]`, *optional*): All metrics that there will be values of; None where others may be told by [`observe`].

    Raises:
        ValueError: If the store knows another canary by a name, or a guard is on a metric that nobody measures.
    """

    def __init__(
        self, plans: Sequence[CanaryPlan], store: ServedStore, router: Router, told: Sequence[str] | None = None
    ):
        self.store, self.router = store, router
        if told is not None:
            for plan in plans:
                _check_measured(plan, told)
        self._all = [plan.start(StoredCanaries(store.database)) for plan in plans]
        self._of: dict[str, list[Canary]] = {}
        for canary in self._all:
            self._of.setdefault(canary.base.name, []).append(canary)
            router.update(canary)

    def observe(self, experiment: str | None, variant: str | None, user: str, values: dict[str, Any]) -> None:
        """Tells of a request, or of what was said of it.

        Args:
            experiment (`str`, *optional*), variant (`str`, *optional*): Where it was.
            user (`str`): The hash of whose it was; without a user the request's id.
            values (`dict[str, float]`): By metric; None where it does not apply.
        """
        for canary in self._of.get(experiment or "", ()):
            for metric, value in values.items():
                canary.observe(str(variant), metric, value, user)

    def request(self, fields: dict[str, Any], user: str) -> None:
        """Tells of a request, by its columns in the store."""
        if fields["experiment"] not in self._of or fields["why"] != "hash":
            return
        status = fields["status"]
        answered = status == 200
        values = {
            "error": float(status >= 500) if answered or status >= 500 else None,
            "blocked": float(fields["finish_reason"] == "content_filter") if answered else None,
            **{name: fields[name] if answered else None for name in ("seconds", "ttft", "completion_tokens")},
        }
        self.observe(fields["experiment"], fields["variant"], user, values)

    def scored(self, served: Served, name: str, value: float) -> None:
        """Tells of a score of a sampled answer.

        Raises:
            ValueError: If a guard on it bounds a rate, and the score is none.
        """
        if served.why == "hash" and served.shadow_of is None:
            self.observe(served.experiment, served.variant, served.user_hash or served.id, {name: value})

    def feedback(self, said: ServedFeedback) -> None:
        """Tells of a thumb; asks the store whose answer it was about."""
        if said.kind != "thumb" or not self._of:
            return
        for row in self.store.responses([said.response]):
            if row.why == "hash":
                self.observe(
                    row.experiment, row.variant, row.user_hash or row.id, {"thumbs_up": float(said.value["up"])}
                )

    async def keep_stepping(self) -> None:
        """Decides again and again. While the store is away shares stay as they are."""
        away = False
        while self._all:
            await asyncio.sleep(_EVERY)
            for canary in self._all:
                before = canary.standing()
                try:
                    after = await asyncio.to_thread(canary.step)
                    away = False
                except OSError as error:
                    if not away:
                        _LOG.error("Canaries stay as they are until the store is back: %s", error)
                    away = True
                    continue
                if (after.state, after.stage) != (before.state, before.stage):
                    _LOG.warning("The canary %s is %s at %g: %s", canary.name, after.state, after.share, after.reason)
                self.router.update(canary)

    def standings(self) -> dict[str, Any]:
        """How they stand, by name."""
        return {canary.name: canary.standing() for canary in self._all}


def _check_measured(plan: CanaryPlan, told: Sequence[str]) -> None:
    for guard in plan.guards:
        if guard.metric not in told:
            raise ValueError(
                f"The canary {plan.variant!r} of {plan.experiment.name!r} would wait for {guard.metric!r} for ever: the gateway measures "
                f"{', '.join(told)}. Name a reward function so in `monitoring.sample.scores`."
            )
