"""The process of the tests: asks the code, and says by a token that the code cannot know which tests have passed."""

from __future__ import annotations

import builtins
import json
import os
import signal
import sys
import types

from .remote import Link
from .solver import solve
from .wire import Broken, Caught, Pipe, Uncrossable

TYPE_CHECKING = False  # typing's own would cost as long as the rest of the start
if TYPE_CHECKING:
    from typing import Any


class Space(dict):
    """The names of the tests. One that they have not defined is looked up in the code, each time anew."""

    def __init__(self, link: Link, names: list[str] | None):
        super().__init__(__name__="tests", __builtins__=builtins)
        self.link, self.names = link, names

    def __missing__(self, name: str) -> Any:
        # Code that defines `abs` or `sorted` must not change what the tests mean by it.
        own = name.startswith("__") or hasattr(builtins, name)
        if own if self.names is None else name not in self.names:
            raise KeyError(name)
        return self.look_up(name)

    def look_up(self, name: str) -> Any:
        """A name of the code's. Raises `NameError` (in a test) as for any other."""
        self.link.wanted = name
        try:
            return self.link.ask("global", name)
        finally:
            self.link.wanted = ""


class Solution(types.ModuleType):
    """What `import solution` is in a test."""

    def __init__(self, space: Space):
        super().__init__("solution")
        self.__space = space

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.__space.look_up(name)


def main(isolated: bool) -> None:
    """Runs the tests that standard input has, and ends the process.

    Args:
        isolated (`bool`):
            Whether code and tests are in different processes.
    """
    # The code's process begins before anything that it must not know is in memory.
    link = _apart() if isolated else None
    token, code, setup, names, tests = json.load(sys.stdin)
    output, quiet = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(quiet, stream)

    def report(place: int, kind: str, error: BaseException | None) -> None:
        detail = "" if error is None else f"{type(error).__name__}: {error}"[:200]
        os.write(output, f"{token} {json.dumps([place, kind, detail])}\n".encode())

    space: dict[str, Any]
    with Caught() as loading:
        space = _together(code, setup, names) if link is None else _load(link, code, setup, names)
    for place, test in enumerate(tests):
        if loading.error is not None:
            kind = "syntax" if isinstance(loading.error, SyntaxError) else _kind_of(loading.error, link)
            report(place, kind if kind != "wrong" else "raised", loading.error)
            continue
        with Caught() as reading:
            program = compile(test, f"test {place}", "exec")
        if reading.error is not None:
            report(place, "test", reading.error)
            continue
        with Caught() as caught:
            exec(program, space)
        report(place, _kind_of(caught.error, link), caught.error)
    os._exit(0)


def _apart() -> Link:
    (to_code, from_tests), (to_tests, from_code) = os.pipe()[::-1], os.pipe()[::-1]
    if os.fork() == 0:
        os.close(to_code)
        os.close(from_code)
        solve(Pipe(from_tests, to_tests))
    os.close(to_tests)
    os.close(from_tests)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one signal that Python makes an exception of
    # What a test imports must not be a file that the code has put into its folder.
    sys.path.pop(0)
    return Link(Pipe(from_code, to_code))


def _load(link: Link, code: str, setup: str, names: list[str] | None) -> Space:
    link.ask("load", code)
    space = Space(link, names)
    sys.modules["solution"] = Solution(space)
    exec(compile(setup, "setup", "exec"), space)
    for name in names or ():
        space.pop(name, None)
    return space


def _together(code: str, setup: str, names: list[str] | None) -> dict[str, Any]:
    module = sys.modules["solution"] = types.ModuleType("solution")
    space = module.__dict__
    exec(compile(code, "solution.py", "exec"), space)
    defined = {name: space[name] for name in names or () if name in space}
    exec(compile(setup, "setup", "exec"), space)
    space.update(defined)
    return space


def _kind_of(error: BaseException | None, link: Link | None) -> str:
    if link is not None and link.broken:
        return "ended"  # whatever the test has made of it
    if error is None:
        return "passed"
    if link is not None and isinstance(error, ImportError) and error is not link.said:
        return "test"  # what the tests themselves import is not there
    for kind, name in ((Broken, "ended"), (Uncrossable, "test"), (AssertionError, "wrong"), (MemoryError, "memory")):
        if isinstance(error, kind):
            return name
    return "raised"
