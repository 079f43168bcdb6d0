"""Several rewards in one: weighted, normalised, gated, scheduled, and held to constraints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.utils import logging

from ..types import Completion, Prompt
from .calling import call_all, logged_under
from .combining import make_combination
from .components import check_names, is_stateful, per_component, reward_function
from .constraints import Constraint, check_together
from .ensemble import RewardEnsemble
from .functions.encoders import Encoder
from .gates import Gate, close_gates
from .model import RewardModel
from .multipliers import ConstraintState, constrained, say_if_unscored
from .normalization import make_normalizer, make_transform
from .processes import gather_rows
from .weights import Weight, complete_weights, progress_of, weights_at

logger = logging.get_logger(__name__)


class RewardMixer:
    """One reward function of several: what TRL's `reward_weights` is, with normalisation, constraints, gates and schedules.

    A row goes through it like this. Components score it; gates leave some of them out; the score is normalised over the rows
    of all processes, then transformed; the scores are combined by their weights; constraints take off what their raw score
    misses. A component that is left out or gives None does not count as 0: the weights of the others make up for it, and a
    row that none applies to is None.

    It is a reward function like any other: it goes into PPOTrainer, TRL's GRPOTrainer, RLOOTrainer and OnlineDPOTrainer, into
    other mixers, and wherever else something scores. Calling it is synchronous even where components are not (those run at the
    same time). Do not give a trainer `reward_weights` for its components as well.

    It learns from what it scores: running statistics, multipliers, and how far the run is. They are equal on all processes,
    which therefore must call it together. [`eval`] makes it stand still. PPOTrainer lets it learn from training rollouts only,
    and saves its state with the checkpoints; with TRL's trainers
    [`~rlhf_ext.trainers.reward_state.RewardStateCallback`] does both.

    Logged with `log_metric`: `rewards/NAME/mean` (raw, over the rows that count), `weights/NAME`, and for constraints
    `constraints/NAME/at_least/` (or `at_most/`) `multiplier`, `satisfied` (share of completions that meet it), `cost` (mean
    over the window) and `unmet` (1 while none of a whole window meets it and the multiplier is at its cap). The table of
    completions gets the raw scores as `rewards/NAME`. What a component logs itself is found under `NAME/`.

    Args:
        components (`dict[str, RewardFunction]`):
            What is mixed, by name: reward functions (async ones too), [`RewardModel`], sequence classifiers, folders or hub
            names of such, other mixers.
        weights (`dict[str, Weight]`, *optional*):
            A number for each component, or a schedule: a function of the progress of the run in [0, 1], such as
            [`~rlhf_ext.rewards.weights.Linear`]. A component with a constraint may be left out, and then counts through that
            alone. Default: 1, and 0 for components with a constraint.
        normalize (*optional*):
            None, `"batch"`, `"running"`, or `(mean, std)`; or a dict with one of these for some components, such as
            [`~rlhf_ext.rewards.normalization.reference_scores`] gives.
        transform (*optional*):
            `"identity"`, `"clip"`, `"log-sigmoid"`, `"sigmoid"` or a function of an array; or a dict of these. After
            normalising.
        combine (`str` or `Callable`, *optional*, defaults to `"sum"`):
            `"sum"`, `"mean"`, `"worst_case"`, `"product"`, `"uncertainty_weighted"` or `"group"`, or one of
            [`~rlhf_ext.rewards.combining`] with other settings, or a function as described there.
        constraints (`Sequence[Constraint]`, *optional*):
            What must hold beside.
        gates (`dict[str, Callable]`, *optional*):
            For a component, a function `(row, scores) -> bool`: whether it (and a constraint on it) counts in a row. `row` has
            `prompt`, `completion` and the columns; `scores` the raw scores of all components, None where there is none.

    Raises:
        ValueError: If a name is unknown, weights are all 0 or not finite, two constraints are the same or cannot both be met, or
            a component returns a list of the wrong length, NaN or an infinity (component and row are named).
        TypeError: If a component is no reward function, or returns no numbers.
        Exception: Whatever a component raises stops the run, with a note that names it.

    Example:

    ```python
    >>> from rlhf_ext.rewards.constraints import Constraint
    >>> from rlhf_ext.rewards.mixing import RewardMixer
    >>> def length(completions, **_):
    ...     return [float(len(text)) for text in completions]
    >>> def calm(completions, **_):
    ...     return [float("!" not in text) for text in completions]
    >>> reward = RewardMixer({"length": length, "calm": calm}, constraints=[Constraint("calm", at_least=0.5)])
    >>> reward(prompts=["Hi.", "Hi."], completions=["Hello", "Hello!"])
    [2.75, 2.75]

    ```
    """

    def __init__(
        self,
        components: Mapping[str, Any],
        weights: Mapping[str, Weight] | None = None,
        *,
        normalize: Any = None,
        transform: Any = None,
        combine: str | Callable = "sum",
        constraints: Sequence[Constraint] = (),
        gates: Mapping[str, Gate] | None = None,
    ):
        if not isinstance(components, Mapping) or not components:
            raise ValueError(f"`components` must be a dict of reward functions by name, got {components!r}.")
        if isinstance(constraints, Constraint):
            raise TypeError(f"`constraints` must be a list: [{constraints!r}].")
        names = list(components)
        check_together(constraints)
        check_names("gates", gates or {}, names)
        check_names("constraints", [one.component for one in constraints], names)
        self.constraints = {one.name: ConstraintState(one) for one in constraints}
        self.weights = complete_weights(weights, names, {one.component for one in constraints})
        self.normalizers = per_component("normalize", normalize, names, make_normalizer)
        self.transforms = per_component("transform", transform, names, make_transform)
        self.combine = make_combination(combine)
        self.gates = dict(gates or {})
        for progress in (0.0, 1.0):  # weights that it cannot take are refused here, not in the run
            self.combine(
                np.full((1, len(names)), 0.5), weights_at(self.weights, progress), np.zeros(1, dtype=np.int64)
            )
        self.components = {name: reward_function(name, component) for name, component in components.items()}
        self.training = True
        self.progress = 0.0
        self._begun = False
        self._unscored: set[str] = set()
        self.__name__ = "reward_mixer"  # how TRL names it in logs

    def __call__(
        self, *, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """TRL's reward-function protocol; columns go on to the components."""
        if self.training and columns.get("trainer_state") is not None:
            self._say_if_begun_anew(columns["trainer_state"].global_step)
            self.progress = progress_of(columns["trainer_state"])
        inputs = {
            name: {"prompts": prompts, "completions": completions, **logged_under(name, columns)}
            for name in self.components
        }
        scores = call_all(self.components, inputs)
        self._unscored |= say_if_unscored(self.constraints.values(), scores, self._unscored)
        counted = np.array(list(scores.values()), dtype=float).T.reshape(len(completions), len(scores))  # None is NaN
        close_gates(self.gates, counted, scores, {**columns, "prompt": prompts, "completion": completions})
        keys = [str(prompt) if self._by_group else "" for prompt in prompts]
        rows, groups, mine = gather_rows(counted, keys, everywhere=self._across_rows)
        costs = self._costs(rows)
        if self.training:
            for state, column in zip(self.constraints.values(), costs.T, strict=True):
                state.observe(column)
        weights = weights_at(self.weights, self.progress)
        rewards = self.combine(self._comparable(rows), weights, groups)
        mixed = constrained(rewards, costs, list(self.constraints.values()))[mine]
        self._log(columns, rows, weights, costs, scores)
        return [None if np.isnan(reward) else float(reward) for reward in mixed]

    def _say_if_begun_anew(self, step: int) -> None:
        learnt = [one for one in self.constraints.values() if one.constraint.penalty is None]
        learnt += [one for one in self.normalizers.values() if is_stateful(one)]
        if step and learnt and not self._begun:
            logger.warning(
                f"The run goes on from step {step}, but its RewardMixer begins anew: multipliers and running statistics are not "
                "the checkpoint's. With TRL's trainers give `callbacks=[RewardStateCallback(reward)]`, from the first run on."
            )
        self._begun = True

    @property
    def _by_group(self) -> bool:
        return getattr(self.combine, "by_group", False)

    @property
    def _across_rows(self) -> bool:
        """Whether a row's reward depends on other rows, so that processes must know each other's."""
        normalizers = [one for one in self.normalizers.values() if one is not None]
        return bool(self.constraints) or self._by_group or any(getattr(n, "across_rows", True) for n in normalizers)

    @property
    def has_fixed_scale(self) -> bool:
        """Whether a row's reward is the same at any time of a run and among any other rows.

        It is not with `"batch"` or `"running"` normalisation, `"group"`, a learnt multiplier or a schedule, here or in a mixer within.
        """
        normalizers = [one for one in self.normalizers.values() if one is not None]
        moves = self._by_group or any(getattr(one, "across_rows", True) for one in normalizers)
        moves |= any(one.constraint.penalty is None for one in self.constraints.values())
        moves |= any(callable(weight) for weight in self.weights.values())
        within = [one for one in self.components.values() if isinstance(one, RewardMixer)]
        return not moves and all(one.has_fixed_scale for one in within)

    def _costs(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        order = list(self.components)
        costs = [
            one.constraint.cost(rows[:, order.index(one.constraint.component)]) for one in self.constraints.values()
        ]
        return np.stack(costs, axis=1) if costs else np.empty((len(rows), 0))

    def _comparable(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores normalised and transformed, in place of raw ones."""
        columns = []
        for name, raw in zip(self.components, rows.T, strict=True):
            scores, normalize, transform = raw, self.normalizers[name], self.transforms[name]
            if normalize is not None:
                scores = normalize(scores, self.training)
            if transform is not None:
                scores = transform(scores)
            bad = ~np.isfinite(scores) & ~np.isnan(raw)
            if bad.any():
                row = int(bad.argmax())
                raise ValueError(
                    f"Normalising or transforming made {scores[row]} of {name!r}'s {raw[row]:g} in row {row}."
                )
            columns.append(scores)
        return np.stack(columns, axis=1)

    def _log(self, columns: Mapping[str, Any], rows, weights, costs, scores: Mapping[str, list]) -> None:
        if log_extra := columns.get("log_extra"):
            for name, column in scores.items():
                log_extra(f"rewards/{name}", column)
        log_metric = columns.get("log_metric")
        if log_metric is None:
            return
        for name, column, weight in zip(scores, rows.T, weights, strict=True):
            log_metric(f"weights/{name}", float(weight))
            if not np.isnan(column).all():
                log_metric(f"rewards/{name}/mean", float(np.nanmean(column)))
        for (name, state), column in zip(self.constraints.items(), costs.T, strict=True):
            log_metric(f"constraints/{name}/multiplier", state.multiplier)
            log_metric(f"constraints/{name}/unmet", float(state.unmet))
            if state.costs:
                log_metric(f"constraints/{name}/cost", state.mean_cost)
            if not np.isnan(column).all():
                log_metric(f"constraints/{name}/satisfied", float((column[~np.isnan(column)] <= 0).mean()))

    def train(self, mode: bool = True) -> RewardMixer:
        """Lets running statistics and multipliers learn, or not; mixers within, too."""
        self.training = mode
        for component in self.components.values():
            if isinstance(component, RewardMixer):
                component.train(mode)
        return self

    def eval(self) -> RewardMixer:
        """Makes the state stand still: `train(False)`."""
        return self.train(False)

    def to(self, device: torch.device | str) -> RewardMixer:
        """Moves the models among the components, as `nn.Module.to` does."""
        for component in self.components.values():
            moved = getattr(component, "encoder", component)  # classifiers and the like hold one
            if isinstance(moved, RewardModel | RewardEnsemble | RewardMixer | Encoder):
                moved.to(device)
        return self

    def _signature(self) -> dict[str, Any]:
        """What a state must have in common with the mixer that takes it."""
        return {
            "components": {name: name in self._stateful for name in self.components},
            "normalizers": {n: getattr(one, "kind", type(one).__name__) for n, one in self.normalizers.items()},
            "constraints": {name: state.constraint.kind for name, state in self.constraints.items()},
        }

    @property
    def _stateful(self) -> dict[str, Any]:
        return {name: one for name, one in self.components.items() if is_stateful(one)}

    def state_dict(self) -> dict[str, Any]:
        """Running statistics, multipliers, progress, and the states of components that have one; plain values."""
        return {
            "mixer": self._signature(),
            "progress": self.progress,
            "normalizers": {n: one.state_dict() for n, one in self.normalizers.items() if is_stateful(one)},
            "constraints": {name: state.state_dict() for name, state in self.constraints.items()},
            "components": {name: one.state_dict() for name, one in self._stateful.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what [`state_dict`] gave.

        Raises:
            ValueError: If it is of another mixer: other components, normalisers or constraints. Then nothing is taken.
        """
        self.check_state(state)
        self._begun = True
        self.progress = state["progress"]
        for name, one in state["normalizers"].items():
            self.normalizers[name].load_state_dict(one)
        for name, one in state["constraints"].items():
            self.constraints[name].load_state_dict(one)
        for name, one in state["components"].items():
            self.components[name].load_state_dict(one)

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuses a state of another mixer, also of one within.

        Raises:
            ValueError: Saying what differs.
        """
        if not isinstance(state, Mapping) or "mixer" not in state:
            raise ValueError(f"This is no state of a RewardMixer: {str(state)[:200]}.")
        for what, here in self._signature().items():
            there = state["mixer"].get(what)
            if there != here:
                raise ValueError(
                    f"The state is of another mixer: its {what} are {there}, those of this one are {here}."
                )
        for name, component in self._stateful.items():
            if isinstance(component, RewardMixer):
                component.check_state(state["components"][name])
