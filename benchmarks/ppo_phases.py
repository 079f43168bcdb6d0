"""Where the CPU seconds of a PPO run go: by model and pass, whatever the trainer. Used by `ppo_sides.py --phases`."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch


class Phases:
    """Exclusive CPU seconds by phase: what runs within another phase is not counted there."""

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack = ["rest"]
        self._since = time.process_time()

    def _switch(self) -> None:
        now = time.process_time()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    def wrap(self, owner: Any, method: str, name: Callable[..., str]) -> None:
        """Counts calls of `owner.method` under `name(*arguments)`."""
        original = getattr(owner, method)

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._switch()
            self._stack.append(name(*args, **kwargs))
            try:
                return original(*args, **kwargs)
            finally:
                self._switch()
                self._stack.pop()

        setattr(owner, method, timed)

    def finish(self) -> dict[str, float]:
        """The seconds so far."""
        self._switch()
        return dict(self.seconds)


def phases_of(work: dict[str, Any]) -> Phases:
    """Watches the models of a workload: backbones (with and without gradients), heads, generation, backward, optimizer."""
    phases, policy = Phases(), work["policy"]
    roles = {id(policy.model): "policy"}
    for role in ("reference", "reward", "value"):
        if isinstance(work[role], torch.nn.Module):
            roles[id(work[role].model)] = role

    def backbone(module: Any, *args: Any, **kwargs: Any) -> str:
        if "generate" in phases._stack:
            return "generate"
        kind = "update forward" if torch.is_grad_enabled() else "scoring"
        return f"{kind}: {roles.get(id(module), 'copy')} backbone"

    phases.wrap(type(policy.model), "forward", backbone)
    phases.wrap(type(policy), "generate", lambda *args, **kwargs: "generate")
    phases.wrap(torch.Tensor, "backward", lambda *args, **kwargs: "backward")
    phases.wrap(torch.optim.AdamW, "step", lambda *args, **kwargs: "optimizer")
    return phases
