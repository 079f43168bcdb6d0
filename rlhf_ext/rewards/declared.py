"""Functions and their arguments as plain values, as they stand in a YAML file: checked first, made when they are needed."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from . import functions

KEY = "function"
SHORT_NAMES = tuple(name for name in functions.__all__ if inspect.isclass(getattr(functions, name)))
"""The classes of [`rlhf_ext.rewards.functions`], which go by their names alone."""

_CALLED_WITH = ("prompts", "completions")
_MISTAKES = (FileNotFoundError, ImportError, OSError, TypeError, ValueError)


@dataclass(frozen=True)
class Declared:
    """A reward function, or something that one is made of, by name and arguments.

    ```yaml
    {function: Length, highest: 120}                              # a class of rlhf_ext.rewards.functions
    {function: my_rewards.polite}                                 # one's own function
    {function: trl.rewards.get_repetition_penalty_reward, ngram_size: 3, max_penalty: -1}   # what it makes
    {function: JudgeScore, rubric: Kind., generator: {function: rlhf_ext.EndpointGenerator, base_url: ..., model: ...}}
    ```

    A class is made with the arguments. A function that takes `completions` is a reward function, and the arguments are
    given to each of its calls; any other function is called with the arguments, and what it gives is taken. An argument that is
    itself a mapping with `function` is made in the same way.

    Args:
        name (`str`):
            A short name or a dotted path.
        target (`Callable`):
            What is under that name.
        arguments (`dict`):
            Its arguments.
        where (`str`):
            How messages name it.
    """

    name: str
    target: Callable[..., Any]
    arguments: dict[str, Any]
    where: str

    @classmethod
    def of(cls, given: Any, where: str, also: Iterable[str] = ()) -> Declared:
        """Checks what is declared; nothing is made, no weight is loaded.

        Args:
            given (`dict` or `str`):
                A mapping with `function` and arguments, or a name alone.
            where (`str`):
                How messages name it: `"rewards.components.length"`.
            also (`Iterable[str]`, *optional*):
                Names that the caller knows itself, for messages.

        Raises:
            ValueError: If there is nothing of that name (close ones are named), an argument is unknown (all are listed), or one
                is missing.
            ImportError: If there is no such module.
        """
        given = {KEY: given} if isinstance(given, str) else given
        if not isinstance(given, Mapping) or not isinstance(given.get(KEY), str):
            raise ValueError(f"`{where}` must be a mapping with `{KEY}`, such as {{{KEY}: Length}}, got {given!r}.")
        name = given[KEY]
        target = _found(name, f"{where}.{KEY}", also)
        arguments = {key: _nested(value, f"{where}.{key}") for key, value in given.items() if key != KEY}
        _check_arguments(name, target, arguments, where)
        return cls(name, target, arguments, where)

    def make(self) -> Any:
        """What is declared.

        Raises:
            ImportError, OSError, TypeError, ValueError: What it says to its arguments or to what is missing here, with the name
                of what was declared before it.
        """
        given = {key: _made(value) for key, value in self.arguments.items()}
        if not self.is_made:
            return functools.partial(self.target, **given) if given else self.target
        kinds = {name: one.kind for name, one in _parameters(self.target).items()}
        several = [name for name in given if kinds.get(name) is inspect.Parameter.VAR_POSITIONAL]
        places = [item for name in several for item in given.pop(name)]
        try:
            return self.target(*places, **given)
        except _MISTAKES as error:
            kind = next(one for one in _MISTAKES if isinstance(error, one))
            raise kind(f"`{self.where}` ({self.name}): {error}") from error

    @property
    def is_made(self) -> bool:
        """Whether the target makes it, and is not itself what is wanted."""
        return inspect.isclass(self.target) or not _scores(self.target)


def close_to(name: Any, names: Iterable[str]) -> str:
    """`" Did you mean 'Length'?"` where there is a name like it, else nothing."""
    folded = {one.lower(): one for one in names}
    found = get_close_matches(str(name).lower(), list(folded), n=1, cutoff=0.6)
    return f" Did you mean {folded[found[0]]!r}?" if found else ""


def _found(name: str, where: str, also: Iterable[str]) -> Callable[..., Any]:
    if name in SHORT_NAMES:
        return getattr(functions, name)
    module, separator, attribute = name.replace(":", ".").rpartition(".")
    if not separator:
        known = (*also, *SHORT_NAMES)
        raise ValueError(
            f"`{where}` is {name!r}, and there is no such function.{close_to(name, known)} There are {', '.join(known)}, and "
            "your own by a dotted path, such as my_rewards.polite."
        )
    try:
        home = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there; what it imports is not
        raise ImportError(
            f"`{where}` is {name!r}, and Python finds no module {error.name!r}: run in its folder, or put that on PYTHONPATH."
        ) from error
    target = getattr(home, attribute, None)
    if not callable(target):
        there = [one for one in vars(home) if not one.startswith("_") and callable(vars(home)[one])]
        raise ValueError(
            f"`{where}` is {name!r}, and there is no function {attribute!r} in {module}.{close_to(attribute, there)}"
        )
    return target


def _parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(target).parameters


def _scores(target: Callable[..., Any]) -> bool:
    """Whether it is a reward function by its signature: it takes completions, or all keywords and nothing more."""
    parameters = _parameters(target)
    named = [name for name, one in parameters.items() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    return any(name in named for name in _CALLED_WITH) or (not named and bool(parameters))


def _check_arguments(name: str, target: Callable[..., Any], given: Mapping[str, Any], where: str) -> None:
    try:
        parameters = _parameters(target)
    except ValueError as error:  # some that are written in C
        raise ValueError(
            f"`{where}`: {name} does not say what it takes; wrap it in a function of your own."
        ) from error
    kinds = inspect.Parameter
    made = inspect.isclass(target) or not _scores(target)
    given_by_caller = () if made else _CALLED_WITH
    takes = [k for k, one in parameters.items() if one.kind is not kinds.VAR_KEYWORD and k not in given_by_caller]
    if not any(one.kind is kinds.VAR_KEYWORD for one in parameters.values()):
        for key in given:
            if key not in takes:
                raise ValueError(
                    f"`{where}.{key}`: {name} takes no {key!r}.{close_to(key, takes)} It takes "
                    f"{', '.join(takes) or 'no arguments'}."
                )
    missing = [key for key in takes if made and parameters[key].default is kinds.empty and key not in given]
    if missing:
        raise ValueError(f"`{where}`: {name} needs {missing[0]!r}. It takes {', '.join(takes)}.")


def _nested(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        if KEY in value:
            return Declared.of(value, where)
        return {key: _nested(item, f"{where}.{key}") for key, item in value.items()}
    return [_nested(item, f"{where}[{row}]") for row, item in enumerate(value)] if isinstance(value, list) else value


def _made(value: Any) -> Any:
    if isinstance(value, Declared):
        return value.make()
    if isinstance(value, Mapping):
        return {key: _made(item) for key, item in value.items()}
    return [_made(item) for item in value] if isinstance(value, list) else value
