"""What a mixed reward is made of: anything that scores, as a reward function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from .ensemble import RewardEnsemble
from .model import ENSEMBLE, RewardModel


def load_reward(path: str | Path, **options: Any) -> RewardModel | RewardEnsemble:
    """A reward model or an ensemble of them, by what lies in the folder.

    Args:
        path (`str` or `Path`):
            Folder or hub name.
        **options:
            As [`RewardModel`] takes them.

    Raises:
        FileNotFoundError, ValueError: As in [`RewardModel`].
    """
    if (Path(path) / ENSEMBLE).is_file():
        return RewardEnsemble.from_folder(path, **options)
    return RewardModel(path, **options)


def reward_function(name: str, component: Any) -> Any:
    """A component as a reward function.

    Args:
        name (`str`):
            Its name, for messages.
        component (`RewardFunction`, `PreTrainedModel`, `PeftModel`, `str` or `Path`):
            A function (async ones too) is taken as it is; a sequence classifier, or the folder or hub name of one, becomes
            a [`RewardModel`], and the folder of an ensemble a [`RewardEnsemble`].

    Returns:
        `RewardFunction`.

    Raises:
        FileNotFoundError: If there is no reward model of that name.
        TypeError: If it cannot score.
    """
    if isinstance(component, str | Path | nn.Module):
        try:
            return RewardModel(component) if isinstance(component, nn.Module) else load_reward(component)
        except OSError as error:
            raise FileNotFoundError(
                f"The component {name!r} is {str(component)!r}: no folder with a reward model, and the hub did not give it "
                f"({str(error).splitlines()[0]})"
            ) from error
    if isinstance(component, type) or not callable(component):
        raise TypeError(
            f"The component {name!r} is {component!r}, which is no reward function. Give a function of (prompts, "
            "completions, **columns), an object with such a `__call__`, a sequence classifier, or its folder or hub name."
        )
    return component


def per_component(what: str, choice: Any, names: Sequence[str], make: Callable[[Any], Any]) -> dict[str, Any]:
    """One setting for all components, or a dict with one for some of them.

    Args:
        what (`str`):
            The argument's name, for messages.
        choice:
            The setting, or a mapping from names to settings; those not named get `make(None)`.
        names (`Sequence[str]`):
            The components.
        make (`Callable`):
            What is made of a setting, anew for each component.

    Returns:
        `dict`: by component.

    Raises:
        ValueError: If a name is unknown.
    """
    if isinstance(choice, Mapping):
        check_names(what, choice, names)
        return {name: make(choice.get(name)) for name in names}
    return {name: make(choice) for name in names}


def check_names(what: str, given: Any, names: Sequence[str]) -> None:
    """Refuses names of components that are not there.

    Raises:
        ValueError: Naming them, and those that are.
    """
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"`{what}` names {', '.join(map(repr, unknown))}, but the components are {', '.join(map(repr, names))}."
        )


def is_stateful(function: Any) -> bool:
    """Whether something has a state to be saved with a checkpoint: `state_dict` and `load_state_dict`."""
    return callable(getattr(function, "state_dict", None)) and callable(getattr(function, "load_state_dict", None))
