"""The process of the code: runs it, and does with its objects what the tests ask for."""

from __future__ import annotations

import builtins
import operator
import os
import sys
import types

from .wire import ARITHMETIC, IN_PLACE, MUTABLE, ORDER, SHARED, Broken, Caught, Pipe, base_of, pack, plain, unpack

TYPE_CHECKING = False  # typing's own would cost as long as the rest of the start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_IN_OPERATOR = (
    *ORDER,
    *ARITHMETIC,
    *IN_PLACE,
    "eq",
    "ne",
    "neg",
    "pos",
    "invert",
    "getitem",
    "setitem",
    "delitem",
    "contains",
)
_FUNCTIONS = (
    getattr,
    setattr,
    delattr,
    len,
    iter,
    next,
    str,
    repr,
    bool,
    hash,
    reversed,
    isinstance,
    issubclass,
    plain,
)
OPERATIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in _IN_OPERATOR},
    **{function.__name__: function for function in _FUNCTIONS},
    "call": lambda function, *arguments, **named: function(*arguments, **named),
}
"""What the tests may have done with the code's objects."""


class Solver:
    """The code's objects by number, at the end of a pipe."""

    def __init__(self, pipe: Pipe):
        self.pipe = pipe
        self.kept: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.module = sys.modules["solution"] = types.ModuleType("solution")

    def serve(self) -> None:
        """Does what it is asked, until nobody asks."""
        while True:
            self._do(*self.pipe.receive())

    def _do(self, operation: str, packed: list[Any], named: dict[str, Any]) -> None:
        with Caught() as caught:
            operands = [unpack(operand, self._resolve) for operand in packed]
            keywords = {name: unpack(operand, self._resolve) for name, operand in named.items()}
            given = {**{str(place): value for place, value in enumerate(operands)}, **keywords}
            passed = {**{str(place): value for place, value in enumerate(packed)}, **named}
            lent = {
                key: given[key] for key, value in passed.items() if isinstance(value, list) and value[0] in MUTABLE
            }
            before = {key: self._packed(value) for key, value in lent.items()}
            result = self._perform(operation, operands, keywords)
            after = {key: self._packed(value) for key, value in lent.items()}
            changed = {key: now for key, now in after.items() if now != before[key]}
            # What the tests look up by name they share with the code; what a call returns is theirs.
            shared = operation == "global" and isinstance(result, SHARED)
            self.pipe.send(["value", self._refer(result) if shared else self._packed(result), changed])
        if isinstance(caught.error, Broken):
            raise caught.error
        if caught.error is not None:
            self.pipe.send(self._raised(caught.error))

    def _perform(self, operation: str, operands: list[Any], keywords: dict[str, Any]) -> Any:
        if operation == "load":
            exec(compile(operands[0], "solution.py", "exec"), self.module.__dict__)
            return None
        if operation == "global":
            try:
                return self.module.__dict__[operands[0]]
            except KeyError:
                raise NameError(f"the code has no {operands[0]!r}") from None
        return OPERATIONS[operation](*operands, **keywords)

    def _packed(self, value: Any) -> Any:
        return pack(value, self._refer)

    def _refer(self, value: Any) -> Any:
        if isinstance(value, Foreign):
            return ["yours", value._number]
        if isinstance(value, types.ModuleType) and sys.modules.get(value.__name__) is value:
            return ["module", value.__name__]
        if isinstance(value, type) and issubclass(value, BaseException):
            return ["exception", *self._lineage(value)]
        return ["object", self._number(value), base_of(value) is not None]

    def _number(self, value: Any) -> int:
        number = self.numbers.setdefault(id(value), len(self.kept))
        if number == len(self.kept):
            self.kept.append(value)  # and so its id stays its own
        return number

    def _lineage(self, kind: type) -> list[Any]:
        """The code's own classes that an exception is of, by number and name, and the first built-in one."""
        classes = kind.__mro__
        own = [base for base in classes[:-1] if base.__module__ != "builtins" and issubclass(base, BaseException)]
        built_in = next(base.__name__ for base in classes if base.__module__ == "builtins")
        return [[[self._number(base), base.__name__] for base in own], built_in]

    def _resolve(self, kind: str, parts: list[Any]) -> Any:
        if kind == "mine":
            return self.kept[parts[0]]
        if kind == "builtin":
            return getattr(builtins, parts[0])
        if kind == "imported":
            __import__(parts[0])
            return getattr(sys.modules[parts[0]], parts[1])
        return Foreign(self, parts[0])

    def _raised(self, error: BaseException) -> list[Any]:
        with Caught():
            arguments = [argument if isinstance(argument, (int, str)) else repr(argument) for argument in error.args]
            return ["raise", *self._lineage(type(error)), [self._packed(argument) for argument in arguments]]
        return ["raise", *self._lineage(type(error)), []]

    def ask_back(self, number: int, arguments: tuple[Any, ...]) -> Any:
        """Has the tests call a function of theirs, which the code was given."""
        self.pipe.send(["callback", number, [self._packed(argument) for argument in arguments]])
        while True:
            what, *rest = self.pipe.receive()
            if what == "back":
                return unpack(rest[0], self._resolve)
            if what == "fail":
                raise getattr(builtins, rest[0])(rest[1])
            self._do(what, *rest)


class Foreign:
    """A function or an iterator of the tests, as the code sees it."""

    def __init__(self, solver: Solver, number: int):
        self._solver, self._number = solver, number

    def __call__(self, *arguments: Any) -> Any:
        return self._solver.ask_back(self._number, arguments)

    def __iter__(self) -> Foreign:
        return self

    def __next__(self) -> Any:
        return self._solver.ask_back(self._number, ())


def solve(pipe: Pipe) -> None:
    """The life of the process of the code; it never returns."""
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(quiet, stream)
    with Caught():
        Solver(pipe).serve()
    os._exit(0)
