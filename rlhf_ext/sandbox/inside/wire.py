"""Messages between the two processes: plain data by value, all else as what the sender makes of it."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, OrderedDict, deque

TYPE_CHECKING = False  # typing's own would cost as long as the rest of the start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LARGEST = 16 << 20
"""Bytes of a message, at most."""
PLAIN = (bool, int, float, complex, str, bytes, bytearray, tuple, list, set, frozenset, dict, deque)
SHARED = (bytearray, list, set, dict, deque)
"""What a test and the code change together where the test finds it by name."""
MUTABLE = ("bytearray", "list", "set", "dict", "OrderedDict", "Counter", "deque")
"""What a call gives back as the code has left it."""
ORDER = ("lt", "le", "gt", "ge")
ARITHMETIC = (
    "add",
    "sub",
    "mul",
    "matmul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "lshift",
    "rshift",
    "and_",
    "or_",
    "xor",
)
IN_PLACE = tuple(f"i{name.rstrip('_')}" for name in ARITHMETIC)
"""Names in the module `operator`."""
_BY_NAME = {"tuple": tuple, "list": list, "set": set, "frozenset": frozenset, "deque": deque}
_MAPPINGS = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}
_COLLECTIONS, _DICTS = frozenset(_BY_NAME.values()), frozenset(_MAPPINGS.values())


class Caught:
    """Takes whatever is raised in its block: of code under test, every exception is a result."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> Caught:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        self.error = error
        return True


class Broken(BaseException):
    """The other process is gone, or says what makes no sense. No `except Exception` of a test holds it up."""


class Uncrossable(BaseException):
    """A test hands the code something that has no way to it. The test is at fault, not the code."""


class Pipe:
    """One end of two pipes that carry JSON."""

    def __init__(self, reading: int, writing: int):
        self.reading, self.writing = reading, writing

    def send(self, message: Any) -> None:
        """Raises [`Broken`] where nobody reads, [`Uncrossable`] where it is too much."""
        body = json.dumps(message).encode()
        if len(body) > LARGEST:
            raise Uncrossable(f"{len(body)} bytes, which are too many to pass between tests and code")
        data = memoryview(len(body).to_bytes(4, "big") + body)
        try:
            while data:
                data = data[os.write(self.writing, data) :]
        except OSError as error:
            raise Broken(str(error)) from None

    def receive(self) -> Any:
        """Raises [`Broken`] at the end, and for what is no message."""
        size = int.from_bytes(self._read(4), "big")
        if size > LARGEST:
            raise Broken("too large a message")
        try:
            return json.loads(self._read(size))
        except (ValueError, RecursionError):
            raise Broken("not a message") from None

    def _read(self, size: int) -> bytes:
        blocks = []
        while size:
            if not (block := os.read(self.reading, min(size, 1 << 20))):
                raise Broken("the other process has ended")
            blocks.append(block)
            size -= len(block)
        return b"".join(blocks)


def pack(value: Any, refer: Callable[[Any], Any]) -> Any:
    """A value as JSON: a scalar, or a list that begins with the name of its kind. `refer` packs what is no plain data."""
    kind = type(value)
    if value is None or kind in (bool, str, float):
        return value
    if kind is int:
        return value if -(2**63) < value < 2**63 else ["int", hex(value)]
    if kind is complex:
        return ["complex", value.real, value.imag]
    if kind in (bytes, bytearray):
        return [kind.__name__, value.hex()]
    if kind in _COLLECTIONS:
        return [kind.__name__, [pack(item, refer) for item in value]]
    if kind in _DICTS:
        return [kind.__name__, [[pack(key, refer), pack(item, refer)] for key, item in value.items()]]
    if kind in (range, slice):
        return [kind.__name__, [pack(part, refer) for part in (value.start, value.stop, value.step)]]
    if _is_number(value):
        return [kind.__name__, str(value)]
    return refer(value)


def unpack(packed: Any, resolve: Callable[[str, list[Any]], Any]) -> Any:
    """The value of what [`pack`] gave. `resolve` reads the kinds that `refer` has written.

    Raises:
        ValueError, TypeError: If it is nothing that `pack` gives.
    """
    if not isinstance(packed, list):
        return packed
    kind, *parts = packed
    if kind in _BY_NAME:
        return _BY_NAME[kind](unpack(item, resolve) for item in parts[0])
    if kind in _MAPPINGS:
        return _MAPPINGS[kind]({unpack(key, resolve): unpack(item, resolve) for key, item in parts[0]})
    if kind == "int":
        return int(parts[0], 16)
    if kind == "complex":
        return complex(*parts)
    if kind in ("bytes", "bytearray"):
        return (bytes if kind == "bytes" else bytearray).fromhex(parts[0])
    if kind in ("range", "slice"):
        return (range if kind == "range" else slice)(*(unpack(part, resolve) for part in parts[0]))
    if kind in ("Fraction", "Decimal"):
        return _number(kind)(parts[0])
    return resolve(kind, parts)


def _is_number(value: Any) -> bool:
    """Whether it is exactly a Fraction or a Decimal; neither module is loaded to find out."""
    module, kind = type(value).__module__, type(value).__name__
    return (module, kind) in (("fractions", "Fraction"), ("decimal", "Decimal")) and type(value) is _number(kind)


def _number(kind: str) -> Any:
    module = "fractions" if kind == "Fraction" else "decimal"
    __import__(module)
    return getattr(sys.modules[module], kind)


def base_of(value: Any) -> type | None:
    """The kind of plain data that a value of a class derived from it is: tuple for a named tuple."""
    return next((base for base in type(value).__mro__ if base in PLAIN), None)


def plain(value: Any) -> Any:
    """The data in a value of a class derived from plain data, whatever the class says of it."""
    base: Any = base_of(value)
    if base is None:
        raise TypeError(f"{type(value).__name__} is no plain data")
    if issubclass(base, dict):
        return dict(dict.items(value))
    if base is str:
        return "".join(str.__iter__(value))
    if hasattr(base, "__iter__"):
        return base(base.__iter__(value))
    return value if base is bool else base.__add__(value, base(0))
