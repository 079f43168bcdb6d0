"""Which model a request goes to: by the name that was asked for, and by the experiment on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..experiments import Experiment
from .backend import Backend
from .errors import invalid, no_such_model
from .settings import ExperimentSettings, GatewaySettings, Target


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes, and why.

    Args:
        backend ([`Backend`]): Who answers.
        model (`str`, *optional*): What the model is called there.
        experiment (`str`, *optional*), variant (`str`, *optional*), why (`str`, *optional*): As an experiment says.
    """

    backend: Backend
    model: str | None
    experiment: str | None = None
    variant: str | None = None
    why: str | None = None


class Router:
    """Finds routes.

    Args:
        settings ([`GatewaySettings`]): Models and experiments.
        backends (`dict[str, Backend]`): By name.

    Raises:
        ValueError: If an experiment is not as it should be, or on no model, or two are on one.
    """

    def __init__(self, settings: GatewaySettings, backends: dict[str, Backend]):
        self.settings, self.backends = settings, backends
        self.experiments: dict[str, Experiment] = {}
        """By the model that they are on."""
        for name, one in settings.experiments.items():
            if settings.models and one.model not in settings.models:
                raise ValueError(f"experiments.{name}.model: there is no model {one.model!r} in `models`.")
            if one.model in self.experiments:
                other = self.experiments[one.model].name
                raise ValueError(
                    f"experiments.{name}: {other!r} is on the same traffic, that of the model {one.model!r}."
                )
            self.experiments[one.model] = _experiment(name, one)

    def route(self, model: str, user: str, wanted: str | None) -> Route:
        """Where a request goes.

        Args:
            model (`str`): What was asked for.
            user (`str`): Who must always get the same.
            wanted (`str`, *optional*): A variant that was chosen, by who may.

        Raises:
            ApiError: If there is no such model or variant.
        """
        experiment = self.experiments.get(model)
        if experiment is None:
            if wanted is not None:
                raise invalid(f"There is no experiment on the model `{model[:200]}`, and so no variant.", "x-variant")
            return self._to(self._target(model), model)
        variants = self.settings.experiments[experiment.name].variants
        if wanted is None:
            found = experiment.assign(user)
            return self._to(variants[found.variant], model, experiment.name, found.variant, found.why)
        if wanted not in variants:
            raise invalid(f"There is no variant '{wanted[:200]}'; there are {', '.join(variants)}.", "x-variant")
        return self._to(variants[wanted], model, experiment.name, wanted, "header")

    def shadows(self, model: str, request: str) -> list[Route]:
        """Who gets a copy of a request, by the gateway's id of it."""
        experiment = self.experiments.get(model)
        if experiment is None:
            return []
        variants = self.settings.experiments[experiment.name].variants
        return [self._to(variants[v], model, experiment.name, v, "shadow") for v in experiment.shadows(request)]

    async def models(self) -> list[dict[str, Any]]:
        """What `/v1/models` says.

        Raises:
            ApiError: If the one upstream cannot be asked.
        """
        if self.settings.models:
            return [
                {"id": name, "object": "model", "created": 0, "owned_by": "rlhf_ext"} for name in self.settings.models
            ]
        [backend] = self.backends.values()
        return await backend.models()

    def _target(self, model: str) -> Target:
        if model in self.settings.models:
            return self.settings.models[model]
        if self.settings.models:
            raise no_such_model(model)
        return Target(backend=next(iter(self.backends)), model=model)

    def _to(
        self,
        target: Target,
        model: str,
        experiment: str | None = None,
        variant: str | None = None,
        why: str | None = None,
    ) -> Route:
        local = target.backend in self.settings.local
        name = target.model if local or target.model is not None else model
        return Route(self.backends[target.backend], name, experiment, variant, why)


def _experiment(name: str, one: ExperimentSettings) -> Experiment:
    weights = {variant: float(it.weight) for variant, it in one.variants.items()}
    shadow = {variant: float(it.shadow) for variant, it in one.variants.items() if it.shadow}
    return Experiment(name, weights, one.salt, one.holdout, one.overrides, shadow, traffic=one.model)


def model_of(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """One of a list of models.

    Raises:
        ApiError: If it is not there.
    """
    for one in found:
        if one["id"] == name:
            return one
    raise no_such_model(name)
