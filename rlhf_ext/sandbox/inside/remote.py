"""Objects of the code as the tests have them: references, which carry nothing of the code into the process of the tests."""

from __future__ import annotations

import builtins
import operator
import sys

from .wire import ARITHMETIC, IN_PLACE, MUTABLE, ORDER, Broken, Caught, Pipe, Uncrossable, pack, unpack

TYPE_CHECKING = False  # typing's own would cost as long as the rest of the start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Link:
    """The tests' end of the pipe to the code.

    Attributes:
        broken (`bool`): Whether the code's process has ended or sent nonsense: nothing that a test says is believed then.
        wanted (`str`): The name being looked up.
        said (`BaseException`): What the code raised last.
    """

    def __init__(self, pipe: Pipe):
        self.pipe = pipe
        self.broken, self.wanted = False, ""
        self.said: BaseException | None = None
        self.lent: list[Callable[..., Any]] = []
        self.exceptions: dict[int, type[BaseException]] = {}

    def ask(self, operation: str, *operands: Any, **named: Any) -> Any:
        """Has the code's process do an operation. Raises what the code raised, or [`Broken`]."""
        packed = [pack(operand, self._refer) for operand in operands]
        keywords = {name: pack(operand, self._refer) for name, operand in named.items()}
        given = {**{str(place): operand for place, operand in enumerate(operands)}, **named}
        with Caught() as caught:
            self.pipe.send([operation, packed, keywords])
            what, result = self._answer(given)
        if isinstance(caught.error, Uncrossable):
            raise caught.error
        if caught.error is not None:  # whatever the other process sent, it was no answer
            self.broken = True
            raise Broken(str(caught.error))
        if what == "raise":
            self.said = result
            raise result
        return result

    def _answer(self, given: dict[str, Any]) -> tuple[str, Any]:
        while True:
            what, *rest = self._receive()
            if what == "callback":
                self._call_back(*rest)
            elif what == "raise":
                lineage, built_in, arguments = rest
                error = self._exception(lineage, built_in)
                made = error.__new__(error)
                made.args = tuple(unpack(argument, self._resolve) for argument in arguments)
                return what, made
            else:
                result, changed = rest
                for key, value in changed.items():
                    _refill(given[key], unpack(value, self._resolve))
                return what, unpack(result, self._resolve)

    def _receive(self) -> Any:
        with Caught() as caught:
            return self.pipe.receive()
        self.broken = True
        raise Broken(str(caught.error))

    def _call_back(self, number: int, packed: list[Any]) -> None:
        function, arguments = self.lent[number], [unpack(argument, self._resolve) for argument in packed]
        with Caught() as caught:
            reply = ["back", pack(function(*arguments), self._refer)]
        error = caught.error
        if isinstance(error, (Broken, Uncrossable)):
            raise error
        if error is not None:
            name = next(base.__name__ for base in type(error).__mro__ if base.__module__ == "builtins")
            reply = ["fail", name, str(error)]
        self.pipe.send(reply)

    def _refer(self, value: Any) -> Any:
        if isinstance(value, Remote):
            return ["mine", value._number]
        for number, kind in self.exceptions.items():
            if value is kind:
                return ["mine", number]
        name, module = getattr(value, "__name__", ""), getattr(value, "__module__", "") or ""
        if getattr(builtins, name, None) is value:
            return ["builtin", name]
        if module in sys.modules and getattr(sys.modules[module], name, None) is value and module != __name__:
            return ["imported", module, name]
        if hasattr(value, "__next__"):
            return self._lend(lambda: next(value))
        if callable(value) and not isinstance(value, type):
            return self._lend(value)
        raise Uncrossable(f"a test gives the code a {type(value).__name__}, which cannot be passed between processes")

    def _lend(self, function: Callable[..., Any]) -> list[Any]:
        self.lent.append(function)
        return ["callback", len(self.lent) - 1]

    def _resolve(self, kind: str, parts: list[Any]) -> Any:
        if kind == "object":
            return (RemoteValue if parts[1] else Remote)(self, int(parts[0]))
        if kind == "exception":
            return self._exception(*parts)
        if kind == "yours":
            return self.lent[parts[0]]
        # A module that a test names is the real one, and no module is another by its name.
        if kind == "module" and parts[0] == self.wanted:
            __import__(parts[0])
            return sys.modules[parts[0]]
        raise ValueError(f"no such thing as {kind!r}")

    def _exception(self, lineage: list[Any], built_in: str) -> type[BaseException]:
        """A class to catch by: one of Python's own, or a stand-in of the same name for one of the code's."""
        kind: Any = getattr(builtins, built_in)
        if not issubclass(kind, BaseException):
            raise ValueError(f"{built_in} is no exception")
        for number, name in reversed(lineage):
            kind = self.exceptions.setdefault(number, type(str(name), (kind,), {}))
        return kind


def _refill(target: Any, content: Any) -> None:
    """Gives a test's own list, set, ... what the code has made of its copy."""
    if type(target).__name__ not in MUTABLE or type(content) is not type(target):
        raise ValueError("not the argument that was given")
    target.clear()
    (target.update if isinstance(target, (set, dict)) else target.extend)(content)


class Remote:
    """An object of the code's own classes, a function, a class.

    Between two of them all operators are the code's. Against plain data none is that could tell a test what it wants to hear:
    such an object equals no plain data, is ordered with none, and an operator on it gives no plain data.
    """

    __slots__ = ("_link", "_number")

    def __init__(self, link: Link, number: int):
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._link.ask("call", self, *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        # By names of that form libraries ask for more than an attribute: numpy, for memory to read.
        if name in Remote.__slots__ or (name.startswith("__") and name not in _ATTRIBUTES):
            raise AttributeError(name)
        return self._link.ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.ask("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._link.ask("delattr", self, name)

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, Remote) and not isinstance(other, RemoteValue):
            return self._number == other._number or self._told("eq", bool, other)
        return False

    def __ne__(self, other: Any) -> Any:
        return not self == other

    def __hash__(self) -> int:
        return self._told("hash", int)

    def __len__(self) -> int:
        return self._told("len", int)

    def __bool__(self) -> bool:
        return self._told("bool", bool)

    def __str__(self) -> str:
        return self._told("str", str)

    def __repr__(self) -> str:
        return self._told("repr", str)

    def __iter__(self) -> Any:
        return self._told("iter", Remote)

    def __reversed__(self) -> Any:
        return self._told("reversed", Remote)

    def __next__(self) -> Any:
        return self._link.ask("next", self)

    def __contains__(self, item: Any) -> bool:
        return self._told("contains", bool, item)

    def __getitem__(self, key: Any) -> Any:
        return self._link.ask("getitem", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._link.ask("setitem", self, key, value)

    def __delitem__(self, key: Any) -> None:
        self._link.ask("delitem", self, key)

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, Remote) and self._link.ask("isinstance", value, self) is True

    def __subclasscheck__(self, value: Any) -> bool:
        return isinstance(value, Remote) and self._link.ask("issubclass", value, self) is True

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise Uncrossable("a test copies or pickles an object of the code's, which is in another process")

    def _told(self, operation: str, kind: type, *operands: Any) -> Any:
        value = self._link.ask(operation, self, *operands)
        if not isinstance(value, kind):
            raise TypeError(f"{operation} of an object gave {type(value).__name__}")
        return value

    def _combine(self, operation: str, *operands: Any) -> Any:
        alone = any(not isinstance(operand, Remote) or isinstance(operand, RemoteValue) for operand in operands)
        if operation in ORDER and alone:
            raise TypeError("an object of the code's own class is not ordered with plain data in a test")
        value = self._link.ask(operation, *operands)
        if (alone or len(operands) == 1) and not isinstance(value, Remote):
            raise TypeError(f"{operation} of an object of the code's own class gave plain data")
        return value


class RemoteValue(Remote):
    """One whose class is derived from plain data (a named tuple), or a list or the like that the tests share with the code.

    Operators read the data itself, here, whatever its class makes of them.
    """

    __slots__ = ()

    def __eq__(self, other: Any) -> Any:
        return _data(self) == _data(other)

    def __hash__(self) -> int:
        return hash(_data(self))

    def __contains__(self, item: Any) -> bool:
        return item in _data(self)

    def __deepcopy__(self, memo: Any) -> Any:
        return _data(self)

    def _combine(self, operation: str, *operands: Any) -> Any:
        if operation in IN_PLACE:
            self._link.ask(operation, *operands)
            return self
        return getattr(operator, operation)(*map(_data, operands))


def _data(value: Any) -> Any:
    return value._link.ask("plain", value) if isinstance(value, RemoteValue) else value


_ATTRIBUTES = ("__name__", "__qualname__", "__annotations__", "__dict__", "__wrapped__", "__members__", "__bases__")


def _forwarded(operation: str, swapped: bool = False) -> Callable[..., Any]:
    def method(self: Remote, *others: Any) -> Any:
        return self._combine(operation, *((*others, self) if swapped else (self, *others)))

    return method


for _name in (*ORDER, *ARITHMETIC, *IN_PLACE, "neg", "pos", "invert"):
    setattr(Remote, f"__{_name.rstrip('_')}__", _forwarded(_name))
for _name in ARITHMETIC:
    setattr(Remote, f"__r{_name.rstrip('_')}__", _forwarded(_name, swapped=True))
for _function in (abs, float, int, complex, round):
    setattr(RemoteValue, f"__{_function.__name__}__", lambda self, *a, _function=_function: _function(_data(self), *a))
RemoteValue.__index__ = lambda self: operator.index(_data(self))  # type: ignore[attr-defined]
