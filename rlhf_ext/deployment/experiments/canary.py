"""A new variant that gets more traffic step by step, and none as soon as it breaks a guard."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from ...stats import Moments
from .experiment import Experiment
from .guards import Guard, both
from .ramp import Standing, Step
from .transitions import USERS, CanaryStore, Observation, Transition

_EARLY = 30


class Canary:
    """Ramps one variant of an experiment up, and rolls it back by itself.

    Steps go up only, so that users move from the others to the canary and never back, unless it is rolled back. Each step has a test of
    its own for each guard, since comparisons need shares that do not change; together they err with probability `alpha` at most,
    however often they are looked at: after each request, if you like. Once rolled back it stays so; to try again, give it a new `name`.

    Workers that share a store agree: what happened is added to it, by whoever is first. A worker acts on what it saw at its last
    [`step`].

    Args:
        experiment ([`Experiment`]):
            What it is a variant of. Its weights say how the others share the rest.
        variant (`str`):
            The canary: not the control.
        steps (`Sequence[Step]`):
            With growing shares.
        guards (`Sequence[Guard]`):
            What it must not break. A step is not left before each has been observed.
        store ([`CanaryStore`]):
            Where it is written down.
        name (`str`, *optional*):
            In the store; by default the experiment's and the variant's.
        alpha (`float`, *optional*, defaults to `0.05`):
            Probability at most that a canary which keeps to all its bounds is ever rolled back.
        clock (`Callable[[], float]`, *optional*, defaults to `time.time`):
            Seconds since 1970.

    Raises:
        ValueError: If a field is not as said, or the store knows another canary by this name.

    Example:
    ```python
    >>> from rlhf_ext.data.store.database import Database
    >>> from rlhf_ext.deployment.experiments import Canary, Experiment, Guard, Step, StoredCanaries

    >>> canary = Canary(
    ...     Experiment("models", {"sft": 1.0, "dpo": 0.0}, salt="1"), "dpo",
    ...     steps=[Step(0.05, users=10), Step(0.5, users=100)], guards=[Guard("error", at_most=0.02)],
    ...     store=StoredCanaries(Database("sqlite://")),
    ... )
    >>> for user in range(10):
    ...     canary.observe("dpo", "error", 1.0, f"user {user}")
    >>> canary.step().state, canary.share()
    ('rolled_back', 0.0)

    ```
    """

    def __init__(
        self,
        experiment: Experiment,
        variant: str,
        steps: Sequence[Step],
        guards: Sequence[Guard],
        store: CanaryStore,
        name: str | None = None,
        alpha: float = 0.05,
        clock: Callable[[], float] = time.time,
    ):
        if variant not in experiment.variants or variant == experiment.control:
            raise ValueError(
                f"The canary {variant!r} must be a variant of {experiment.name!r} other than its control {experiment.control!r}; "
                f"there are {', '.join(experiment.variants)}."
            )
        if not steps or not guards:
            raise ValueError(f"The canary {variant!r} needs steps and guards: without guards nothing would stop it.")
        if any(later.share <= earlier.share for earlier, later in itertools.pairwise(steps)):
            raise ValueError(
                f"The steps of the canary {variant!r} must have growing shares, got {[s.share for s in steps]}."
            )
        if not 0 < alpha < 1:
            raise ValueError(f"`alpha` must be in (0, 1), got {alpha}.")
        self.base, self.variant, self.steps, self.guards = experiment, variant, tuple(steps), tuple(guards)
        self.keys = [f"{index} {guard.metric}" for index, guard in enumerate(guards)]
        self.store, self.alpha, self.clock = store, alpha, clock
        self.name = name or f"{experiment.name}/{variant}"
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._waiting: list[Observation] = []
        self._sending: tuple[int, int, list[Observation]] | None = None
        self._worker, self._batch = uuid.uuid4().hex, 0
        self._counted: set[tuple[str, str]] = set()
        self._standing = self._begin()

    def share(self) -> float:
        """The canary's share of traffic, as of the last [`step`]."""
        return self._standing.share

    def standing(self) -> Standing:
        """How it stood at the last [`step`]; asks nobody."""
        return self._standing

    def experiment(self) -> Experiment:
        """The experiment with the weights of now; asks nobody."""
        others = {v: w for v, w in self.base.variants.items() if v != self.variant}
        rest, total = 1 - self.share(), sum(others.values())
        scaled = {v: (w / total if total else float(v == self.base.control)) * rest for v, w in others.items()}
        return self.base.with_weights({v: scaled.get(v, self.share()) for v in self.base.variants})

    def observe(self, variant: str, metric: str, value: float | None, user: str) -> None:
        """Takes one value of a served request; cheap, and safe from any thread. It counts at the next [`step`].

        Values of variants that are neither the canary nor the control, and of metrics that no guard is on, are passed over.

        Args:
            variant (`str`): Who answered.
            metric (`str`): What was measured.
            value (`float` or `None`): `None` where it does not apply.
            user (`str`): Whose request it was: what the variant was assigned by.

        Raises:
            ValueError: If the value is not finite, or no rate where its guard is on one.
        """
        if variant not in (self.variant, self.base.control):
            return
        found = [
            Observation(variant, key, user if guard.per == "user" else None, guard.value(value))
            for key, guard in zip(self.keys, self.guards, strict=True)
            if guard.metric == metric and value is not None
        ]
        with self._lock:
            if (variant, user) not in self._counted:
                self._counted.add((variant, user))
                found.append(Observation(variant, USERS, user, 0.0))
            self._waiting += found

    def step(self) -> Standing:
        """Counts in what was observed, decides, and gives how the canary stands. Reads and writes the store.

        To be called every second or so by each worker, or after each request.

        Raises:
            ConnectionError: If the store cannot be reached; nothing is lost, and the next call goes on.
        """
        with self._turn:
            self._send()
            self._look(self.store.transitions(self.name))
            if self._standing.state != "rolled_back":
                self._decide()
            return self._standing

    def roll_back(self, reason: str) -> Standing:
        """Rolls it back by hand, for good."""
        with self._turn:
            while self._standing.state != "rolled_back":
                self._add("rolled_back", self._standing.stage, 0.0, reason)
            return self._standing

    def _begin(self) -> Standing:
        """Starts it, or goes on where it stands."""
        what: list[Any] = [[asdict(step) for step in self.steps], [asdict(guard) for guard in self.guards]]
        what += [self.variant, self.base.control, self.base.salt, self.alpha]
        digest = hashlib.blake2b(json.dumps(what).encode(), digest_size=16).hexdigest()
        past = self.store.transitions(self.name)
        if not past:
            self.store.append(self.name, Transition(0, "started", 0, self.steps[0].share, self.clock(), digest))
            past = self.store.transitions(self.name)
        if past[0].reason != digest:
            raise ValueError(
                f"The store knows a canary {self.name!r} with other steps, guards or variants; give this one another `name`."
            )
        self._look(past)
        return self._standing

    def _look(self, past: Sequence[Transition]) -> None:
        last = past[-1]
        self._next = last.number + 1
        rolled_back = last.kind == "rolled_back"
        if not hasattr(self, "_standing") or self._standing.stage != last.stage:
            with self._lock:
                self._counted.clear()
        state: Literal["ramping", "rolled_back"] = "rolled_back" if rolled_back else "ramping"
        self._standing = Standing(state, last.share, last.stage, last.time, last.reason if rolled_back else "")

    def _send(self) -> None:
        """Counts observations in; a batch whose fate is unknown is sent again, with the number that it had."""
        if self._sending is None:
            with self._lock:
                waiting, self._waiting = self._waiting, []
            if not waiting:
                return
            self._batch += 1
            self._sending = (self._batch, self._standing.stage, waiting)
        batch, stage, waiting = self._sending
        self.store.add(self.name, stage, waiting, self._worker, batch)
        self._sending = None

    def _decide(self) -> None:
        stage = self._standing.stage
        figures = self.store.figures(self.name, stage)
        broken = self._broken(figures)
        while broken and self._standing.state != "rolled_back":
            # Another worker may have gone a step on meanwhile; what is broken stays so.
            self._add("rolled_back", self._standing.stage, 0.0, broken)
        if broken:
            return
        waits = self._waits_for(figures)
        last = stage == len(self.steps) - 1
        if not waits and not last:
            self._add("advanced", stage + 1, self.steps[stage + 1].share, "no guard is broken")
            return
        now = self._standing
        self._standing = Standing("ramping" if waits else "complete", now.share, now.stage, now.since, waits)

    def _broken(self, figures: Mapping[tuple[str, str], Moments]) -> str:
        confidence, step = 1 - self.alpha / (len(self.steps) * len(self.guards)), self.steps[self._standing.stage]
        for key, guard in zip(self.keys, self.guards, strict=True):
            canary, control = both(figures, self.variant, self.base.control, key)
            # Tuned to find early what is clearly wrong: after some 30 users of the canary.
            planned = round(_EARLY / step.share) if guard.against_control else _EARLY
            estimate = guard.estimate(canary, control, confidence, planned)
            if estimate is not None and (why := guard.broken(estimate)):
                return why
        return ""

    def _waits_for(self, figures: Mapping[tuple[str, str], Moments]) -> str:
        """What is missing before the next step, in words."""
        step, missing = self.steps[self._standing.stage], []
        left = self._standing.since + step.seconds - self.clock()
        users = figures.get((self.variant, USERS), Moments()).n
        if left > 0:
            missing.append(f"{left:.0f} seconds")
        if users < step.users:
            missing.append(f"{step.users - users} users")
        for key, guard in zip(self.keys, self.guards, strict=True):
            canary, control = both(figures, self.variant, self.base.control, key)
            if not canary.n or (guard.against_control and not control.n):
                missing.append(f"a value of {guard.metric}")
        return f"waits for {', '.join(missing)}" if missing else ""

    def _add(self, kind: Literal["advanced", "rolled_back"], stage: int, share: float, reason: str) -> None:
        """Adds what happens next, unless something else has; then stands where the store says."""
        self.store.append(self.name, Transition(self._next, kind, stage, share, self.clock(), reason))
        self._look(self.store.transitions(self.name))
