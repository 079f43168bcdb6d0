"""A reward mix as plain values: what stands under `rewards` in a recipe for `rlhf-ext run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .._strict_yaml import read_yaml
from .components import reward_function
from .constraints import Constraint
from .declared import KEY, Declared, close_to
from .mixing import RewardMixer
from .weights import Linear

REWARD_MODEL = "reward_model"
"""In place of a function: the run's own reward model."""

_KEYS = ("components", "normalize", "transform", "combine", "constraints")


@dataclass(frozen=True)
class Where:
    """Rows that a component counts in: those whose columns have one of some values.

    Args:
        columns (`dict[str, tuple]`):
            Values by column.
    """

    columns: Mapping[str, tuple[Any, ...]]

    def __call__(self, row: Mapping[str, Any], scores: Mapping[str, float | None]) -> bool:
        return all(row[column] in values for column, values in self.columns.items())


@dataclass(frozen=True)
class Component:
    """One part of a mix.

    Args:
        function ([`~rlhf_ext.rewards.declared.Declared`], *optional*):
            Its reward function; None for the run's own reward model.
        weight (`float` or `Linear`, *optional*):
            A number or [`~rlhf_ext.rewards.weights.Linear`]; by default 1.0, or 0.0 where there is a constraint on it.
        where ([`Where`], *optional*):
            Rows that it counts in; all by default.
    """

    function: Declared | None
    weight: float | Linear | None = None
    where: Where | None = None

    @property
    def weight_text(self) -> str:
        """The weight in words; empty where none was given."""
        if isinstance(self.weight, Linear):
            return f"{self.weight.start:g} to {self.weight.end:g}"
        return "" if self.weight is None else f"{self.weight:g}"


@dataclass(frozen=True)
class RewardRecipe:
    """A [`~rlhf_ext.rewards.mixing.RewardMixer`] by plain values: for `rlhf-ext run`, and for a script of one's own.

    ```yaml
    components:
      quality: {function: reward_model}                                # the run's own reward model
      brief:   {function: Length, highest: 120, weight: 0.2}           # a class of rlhf_ext.rewards.functions, its arguments
      polite:  {function: my_rewards.polite, weight: {start: 0, end: 1}}  # one's own; the weight goes from 0 to 1 over the run
      safe:    {function: DetoxifySafety, where: {category: [chat, story]}}   # in rows of these categories alone
    normalize: {quality: running}       # as RewardMixer takes it; likewise `transform` and `combine`
    constraints:
      - {component: safe, at_least: 0.95}                              # the fields of Constraint
    ```

    A component with a constraint and no `weight` counts through the constraint alone. How functions are named, and what else
    they may be, says [`~rlhf_ext.rewards.declared.Declared`]. Make one with [`from_config`] or [`from_file`], which check all of
    it and load nothing.

    Args:
        components (`dict[str, Component]`):
            The parts, by name.
        constraints (`list[Constraint]`, *optional*):
            What must hold beside.
        settings (`dict`, *optional*):
            `normalize`, `transform` and `combine` of the mixer.

    Example:

    ```python
    >>> from rlhf_ext.rewards.recipe import RewardRecipe
    >>> recipe = RewardRecipe.from_config({
    ...     "components": {"brief": {"function": "Length", "highest": 2}, "calm": {"function": "Regex", "pattern": "^[^!]*$"}},
    ...     "constraints": [{"component": "calm", "at_least": 0.9, "penalty": 2.0}],
    ... })
    >>> reward = recipe.build()
    >>> reward(prompts=["Hi."] * 2, completions=["Hello there", "Hello!"])
    [1.0, -0.8]

    ```
    """

    components: dict[str, Component]
    constraints: list[Constraint] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_config(cls, given: Mapping[str, Any], name: str = "rewards") -> RewardRecipe:
        """Reads and checks a mix; no function is made and no weight is loaded.

        Args:
            given (`dict`):
                Plain values, as above.
            name (`str`, *optional*, defaults to `"rewards"`):
                How messages name it.

        Returns:
            [`RewardRecipe`].

        Raises:
            ValueError: If something is unknown, missing or impossible; component, field and value are named, and what there is.
            ImportError: If there is no module of a dotted path.
        """
        _check_keys(given, _KEYS, name)
        parts = given.get("components")
        if not isinstance(parts, Mapping) or not parts:
            raise ValueError(f"`{name}.components` must be a mapping from names to functions, got {parts!r}.")
        components = {str(key): _component(part, f"{name}.components.{key}") for key, part in parts.items()}
        if [one.function for one in components.values()].count(None) > 1:
            raise ValueError(f"`{name}.components` has the function {REWARD_MODEL!r} more than once: keep one.")
        listed = given.get("constraints") or []
        if not isinstance(listed, Sequence) or isinstance(listed, str):
            raise ValueError(f"`{name}.constraints` must be a list of constraints, got {listed!r}.")
        constraints = [_constraint(one, f"{name}.constraints[{row}]") for row, one in enumerate(listed)]
        settings = {key: given[key] for key in ("normalize", "transform", "combine") if given.get(key) is not None}
        if isinstance(settings.get("combine"), Mapping):
            settings["combine"] = Declared.of(settings["combine"], f"{name}.combine").make()
        recipe = cls(components, constraints, settings)
        try:
            recipe._mixed(
                dict.fromkeys(components, _nothing)
            )  # what the mixer has to say to weights, names and the rest
        except (TypeError, ValueError) as error:
            raise ValueError(f"`{name}`: {error}") from error
        return recipe

    @classmethod
    def from_file(cls, path: str | Path) -> RewardRecipe:
        """Reads the mix of a YAML file: what is under its `rewards`, or the file itself.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError, ImportError: As [`from_config`].
        """
        given = read_yaml(path)
        if not isinstance(given, Mapping) or not {"rewards", "components"} & set(given):
            raise ValueError(f"{path} has no `rewards`, and is no mix itself: see RewardRecipe.")
        return cls.from_config(given.get("rewards", given))

    @property
    def reward_model(self) -> str | None:
        """Name of the component that is the run's own reward model, if there is one."""
        return next((name for name, one in self.components.items() if one.function is None), None)

    def bounds(self, name: str) -> list[str]:
        """What constraints ask of the mean of a component, in words."""
        held = [one for one in self.constraints if one.component == name]
        return [f"at most {one.at_most:g}" if one.at_least is None else f"at least {one.at_least:g}" for one in held]

    def functions(self) -> dict[str, Any]:
        """The reward functions by component, made anew; without the run's own reward model.

        Raises:
            ImportError, OSError, TypeError, ValueError: As [`~rlhf_ext.rewards.declared.Declared.make`].
        """
        declared = {name: one.function for name, one in self.components.items() if one.function is not None}
        return {name: reward_function(name, one.make()) for name, one in declared.items()}

    def build(self, reward_model: Any = None, functions: Mapping[str, Any] | None = None) -> RewardMixer:
        """The mix as one reward function, for PPOTrainer or any trainer of TRL that takes reward functions.

        Args:
            reward_model (`RewardModel`, `PreTrainedModel`, `str` or any reward function, *optional*):
                What `reward_model` stands for: needed if it is among the components.
            functions (`dict`, *optional*):
                What [`functions`] gave, where it is needed elsewhere, too.

        Raises:
            ValueError: If the mix wants a reward model and none is given, or the other way round.
            ImportError, OSError, TypeError, ValueError: As [`functions`].
        """
        name = self.reward_model
        if (name is None) != (reward_model is None):
            raise ValueError(
                f"The component {name!r} is the run's own reward model: give it as `reward_model`."
                if name is not None
                else f"No component is {{{KEY}: {REWARD_MODEL}}}, so that the `reward_model` would not be used."
            )
        made = {**(self.functions() if functions is None else functions), **({name: reward_model} if name else {})}
        return self._mixed({name: made[name] for name in self.components})

    def _mixed(self, functions: Mapping[str, Any]) -> RewardMixer:
        held = {one.component for one in self.constraints}
        weights = {
            name: float(name not in held) if one.weight is None else one.weight
            for name, one in self.components.items()
        }
        gates = {name: one.where for name, one in self.components.items() if one.where is not None}
        return RewardMixer(functions, weights, constraints=self.constraints, gates=gates, **self.settings)


def _component(given: Any, where: str) -> Component:
    given = {KEY: given} if isinstance(given, str) else given
    if not isinstance(given, Mapping):
        raise ValueError(f"`{where}` must be a mapping with `{KEY}`, or a function's name, got {given!r}.")
    rest = {key: value for key, value in given.items() if key not in ("weight", "where")}
    if rest.get(KEY) == REWARD_MODEL:
        _check_keys(given, (KEY, "weight", "where"), where)
        function = None
    else:
        function = Declared.of(rest, where, also=(REWARD_MODEL,))
    return Component(function, _weight(given.get("weight"), f"{where}.weight"), _rows(given.get("where"), where))


def _weight(given: Any, where: str) -> float | Linear | None:
    if isinstance(given, Mapping):
        _check_keys(given, [one.name for one in fields(Linear)], where)
        try:
            return Linear(**given)
        except (TypeError, ValueError) as error:
            raise ValueError(f"`{where}`: {error}") from error
    if given is not None and (isinstance(given, bool) or not isinstance(given, int | float)):
        raise ValueError(f"`{where}` must be a number or {{start: ..., end: ...}}, got {given!r}.")
    return given


def _rows(given: Any, where: str) -> Where | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or not given:
        raise ValueError(f"`{where}.where` must be a mapping such as {{category: [chat, story]}}, got {given!r}.")
    return Where({key: tuple(value) if isinstance(value, list) else (value,) for key, value in given.items()})


def _constraint(given: Any, where: str) -> Constraint:
    _check_keys(given, [one.name for one in fields(Constraint) if one.name != "_"], where)
    if not isinstance(given.get("component"), str):
        raise ValueError(f"`{where}` must name its `component`, got {dict(given)!r}.")
    try:
        return Constraint(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{where}`: {error}") from error


def _check_keys(given: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(given, Mapping):
        raise ValueError(f"`{where}` must be a mapping with {', '.join(known)}, got {given!r}.")
    for key in given:
        if key not in known:
            raise ValueError(f"`{where}` has no {key!r}.{close_to(key, known)} There are {', '.join(known)}.")


def _nothing(**columns: Any) -> list[None]:
    raise NotImplementedError  # stands for a function while the mix is checked
