"""Which model a request goes to: by the name that was asked for, and by the experiment on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..experiments import Canary, Experiment, Experiments
from .backend import Backend
from .errors import invalid, no_such_model
from .settings import GatewaySettings, Target


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes, and why.

    Args:
        backend ([`Backend`]): Who answers.
        model (`str`, *optional*): What the model is called there.
        experiment (`str`, *optional*), variant (`str`, *optional*), why (`str`, *optional*): As an experiment says; `"header"` where
            the client chose.
    """

    backend: Backend
    model: str | None
    experiment: str | None = None
    variant: str | None = None
    why: str | None = None


class Router:
    """Finds routes.

    Args:
        settings ([`GatewaySettings`]): Models, and where variants go.
        backends (`dict[str, Backend]`): By name.
        experiments ([`~rlhf_ext.deployment.experiments.Experiments`], *optional*): Who gets which variant.

    Raises:
        ValueError: If an experiment is on no model, a variant goes nowhere, or two experiments would decide about one request.
    """

    def __init__(
        self, settings: GatewaySettings, backends: dict[str, Backend], experiments: Experiments | None = None
    ):
        self.settings, self.backends = settings, backends
        self._experiments = {one.name: one for one in experiments or ()}
        _check(settings, list(self._experiments.values()))

    def update(self, canary: Canary) -> None:
        """Deals by the shares that a canary has now."""
        current = self._experiments[canary.base.name]
        if current.variants[canary.variant] != canary.share():
            self._experiments[canary.base.name] = canary.experiment()

    def route(self, model: str, user: str, wanted: str | None) -> Route:
        """Where a request goes.

        Args:
            model (`str`): What was asked for.
            user (`str`): Who must always get the same.
            wanted (`str`, *optional*): A variant that was chosen, by who may.

        Raises:
            ApiError: If there is no such model or variant.
        """
        target = self._target(model)
        experiment = self._on(model)
        if experiment is None:
            if wanted is not None:
                raise invalid(f"There is no experiment on the model `{model[:200]}`, and so no variant.", "x-variant")
            return self._to(target, model)
        if wanted is None:
            found = experiment.assign(user)
            return self._to(self.settings.variants[found.variant], model, experiment, found.variant, found.why)
        known = {*experiment.variants, *experiment.shadow}
        if wanted not in known:
            raise invalid(f"There is no variant '{wanted[:200]}'; there are {', '.join(sorted(known))}.", "x-variant")
        return self._to(self.settings.variants[wanted], model, experiment, wanted, "header")

    def shadows(self, model: str, request: str) -> list[Route]:
        """Who gets a copy of a request, by the gateway's id of it."""
        experiment = self._on(model)
        if experiment is None:
            return []
        targets = self.settings.variants
        return [self._to(targets[one], model, experiment, one, "shadow") for one in experiment.shadows(request)]

    async def models(self) -> list[dict[str, Any]]:
        """What `/v1/models` says.

        Raises:
            ApiError: If the one upstream cannot be asked.
        """
        if self.settings.models:
            names = self.settings.models
            return [{"id": name, "object": "model", "created": 0, "owned_by": "rlhf_ext"} for name in names]
        [backend] = self.backends.values()
        return await backend.models()

    def _target(self, model: str) -> Target:
        if model in self.settings.models:
            return self.settings.models[model]
        if self.settings.models:
            raise no_such_model(model)
        return Target(backend=next(iter(self.backends)), model=model)

    def _on(self, model: str) -> Experiment | None:
        for one in self._experiments.values():
            if one.traffic in ("*", model):
                return one
        return None

    def _to(
        self,
        target: Target,
        model: str,
        experiment: Experiment | None = None,
        variant: str | None = None,
        why: str | None = None,
    ) -> Route:
        local = target.backend in self.settings.local
        name = target.model if local or target.model is not None else model
        return Route(self.backends[target.backend], name, experiment.name if experiment else None, variant, why)


def _check(settings: GatewaySettings, experiments: list[Experiment]) -> None:
    for index, one in enumerate(experiments):
        if settings.models and one.traffic not in ("*", *settings.models):
            raise ValueError(
                f"The experiment {one.name!r} is on {one.traffic!r}, which is none of the gateway's `models`."
            )
        for variant in (*one.variants, *one.shadow):
            if variant not in settings.variants:
                raise ValueError(f"variants: the experiment {one.name!r} has {variant!r}; say where it goes.")
        for other in experiments[:index]:
            if one.traffic == other.traffic or "*" in (one.traffic, other.traffic):
                raise ValueError(
                    f"The experiments {other.name!r} and {one.name!r} are on the same traffic, and a request goes to one variant."
                )


def model_of(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """One of a list of models.

    Raises:
        ApiError: If it is not there.
    """
    for one in found:
        if one["id"] == name:
            return one
    raise no_such_model(name)
