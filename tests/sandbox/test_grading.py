"""Code against tests that it cannot reach: what passes between the two, and every way to a false pass that was thought of."""

import doctest
import shutil

import pytest

from rlhf_ext.sandbox import KINDS, Bubblewrap, Outcome, SandboxResult, Submission, Unsandboxed, grade, processes

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")

ADD = ["assert add(1, 2) == 3", "assert add(2, 2) == 4"]


def kinds(code, tests, runner=None, timeout_s=20.0, isolated=True, **options):
    submission = Submission(code, tests, **options)
    return [o.kind for o in grade([submission], runner or Bubblewrap(), timeout_s, isolated=isolated)[0]]


CHEATS = {
    "leaving early": "import sys; sys.exit(0)",
    "leaving at once": "import os; os._exit(0)",
    "leaving inside a call": "import os\ndef add(a, b): os._exit(0)",
    "leaving by a destructor": "class D:\n    def __del__(self): raise SystemExit(0)\ndef add(a, b): D()",
    "leaving by a signal": "import os, signal\ndef add(a, b): os.kill(os.getpid(), signal.SIGKILL)",
    "leaving at exit": "import atexit, os\natexit.register(os._exit, 0)\ndef add(a, b): raise SystemExit(0)",
    "forking away": "import os\nif os.fork(): os._exit(0)\ndef add(a, b): return 0",
    "printing success": "print('passed'); print('3 passed in 0.01s')\ndef add(a, b): print('True'); return 0",
    "writing success to whatever is open": """
import os
def add(a, b):
    for fd in range(256):
        try: os.write(fd, b'[0, "passed", ""]\\n[1, "passed", ""]\\n')
        except OSError: pass
""",
    "an object that equals everything": """
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 3
    def __bool__(self): return True
def add(a, b): return Yes()
""",
    "a number that equals everything": """
class Yes(int):
    def __eq__(self, other): return True
    def __hash__(self): return 3
def add(a, b): return Yes(7)
""",
    "a class that equals everything": """
class Meta(type):
    def __eq__(self, other): return True
    def __hash__(self): return 3
class add(metaclass=Meta):
    def __new__(cls, a, b): return cls
""",
    "an object that names a class of numbers": """
class Yes:
    __class__ = int
    def __eq__(self, other): return True
def add(a, b): return Yes()
""",
    "patching builtins": """
import builtins
builtins.AssertionError = builtins.Exception = StopIteration
builtins.compile = lambda *a, **k: None
builtins.exec = lambda *a, **k: None
def add(a, b): return 0
""",
    "patching the grader": """
import sys
for name, module in list(sys.modules.items()):
    if name.startswith("inside"):
        for key, value in list(vars(module).items()):
            if callable(value) and not isinstance(value, type): setattr(module, key, lambda *a, **k: "passed")
def add(a, b): return 0
""",
    "patching the operators": """
import operator
operator.eq = operator.__eq__ = lambda *a: True
operator.ne = operator.__ne__ = lambda *a: False
def add(a, b): return 0
""",
    "walking the frames": """
import sys
def add(a, b):
    frame = sys._getframe()
    while frame:
        for name, value in frame.f_locals.items():
            if name in ("tests", "token", "test", "space", "report"): raise SystemExit(str(value))
        frame = frame.f_back
    return 0
""",
    "searching memory for the tests": """
import gc
def add(a, b):
    for thing in gc.get_objects():
        if isinstance(thing, (list, tuple)):
            for text in thing:
                if isinstance(text, str) and text.startswith(f"assert add({a}, {b})"):
                    return eval(text.split("==")[1])
    return 0
""",
    "reading the tests from its files": """
import glob, re
def add(a, b):
    for path in glob.glob('/tmp/**', recursive=True):
        try: text = open(path).read()
        except OSError: continue
        if found := re.search(r"assert add\\(%d, %d\\) == (.*)" % (a, b), text): return int(found[1])
    return 0
""",
    "reading the tests from standard input": """
import os
try:
    os.lseek(0, 0, 0)
    text = os.read(0, 1 << 20).decode()
except OSError: text = ''
def add(a, b): return 3 if 'add' in text else 99
""",
    "a module in the way of the tests": """
open('/tmp/math.py', 'w').write('raise SystemExit'); open('/tmp/random.py', 'w').write('import os; os._exit(0)')
open('/tmp/sitecustomize.py', 'w').write('import builtins; builtins.AssertionError = ValueError')
def add(a, b): return 0
""",
    "rewriting the grader's files": """
import glob
for path in glob.glob('/tmp/**/*.py', recursive=True): open(path, 'w').write('def main(*a): pass')
def add(a, b): return 0
""",
    "deleting the grader's files": """
import shutil
shutil.rmtree('/tmp', ignore_errors=True)
def add(a, b): return 0
""",
    "an answer before the question": """
import json, os, struct
message = json.dumps(["value", 3, {}]).encode()
for fd in range(3, 20):
    try: os.write(fd, struct.pack('>I', len(message)) + message)
    except OSError: pass
def add(a, b): return 0
""",
    "a message without end": """
import os, struct
for fd in range(3, 20):
    try: os.write(fd, struct.pack('>I', 0xffffffff))
    except OSError: pass
def add(a, b): return 0
""",
    "a result too deep to read": "def add(a, b):\n    x = []\n    for _ in range(100000): x = [x]\n    return x",
    "a result too large to read": "def add(a, b): return [0] * 10_000_000",
    "changing the arguments": "def add(a, b):\n    a = b = 3\n    return Ellipsis",
    "defining the tests' names": "def __eq__(*a): return True\n__builtins__ = {}\nassert_ = True\ndef add(a, b): return 0",
    "an assertion that is none": "__debug__ if True else 0\nAssertionError = Exception\ndef add(a, b): return 0",
    "an exception that a test may swallow": "def add(a, b): raise GeneratorExit",
    "interrupting the tests": """
import os, signal
def add(a, b):
    for _ in range(99): os.kill(os.getppid(), signal.SIGINT)
    return 0
""",
    "memory to read for numpy": """
class Yes:
    __array_interface__ = {"data": (1, False), "shape": (1,), "typestr": "<i8", "version": 3}
    def __array__(self, *a, **k): return 3
def add(a, b): return Yes()
""",
    "nothing at all": "",
}


@pytest.mark.parametrize("name", CHEATS)
def test_no_cheat_passes(name):
    found = kinds(CHEATS[name], ADD)
    assert "passed" not in found and set(found) <= set(KINDS)


def test_in_one_process_some_would():
    """Why the tests have a process of their own."""
    cheats = [CHEATS["an object that equals everything"], CHEATS["searching memory for the tests"]]
    assert [kinds(code, ADD, isolated=False) for code in cheats] == [["passed"] * 2] * 2


WEAK = [  # (test, code that would get past it in one process, an honest one)
    ("assert abs(f() - 3.5) < 1e-6", "def abs(x): return 0\ndef f(): return 9", "def f(): return 3.5"),
    (
        "assert abs(f() - 3.5) < 1e-6",
        "class Y:\n    def __sub__(s, o): return 0.0\ndef f(): return Y()",
        "def f(): return 3.5",
    ),
    (
        "assert abs(f() - 3.5) < 1e-6",
        "class Y:\n    def __sub__(s, o): return s\n    def __abs__(s): return 0.0\ndef f(): return Y()",
        "def f(): return 3.5",
    ),
    (
        "import math\nassert math.isclose(f(), 3.5)",
        "class Y:\n    def __float__(s): return 3.5\ndef f(): return Y()",
        "",
    ),
    ("assert f() > 3", "class Y:\n    def __gt__(s, o): return True\ndef f(): return Y()", "def f(): return 4"),
    ("assert f() > 3", "class Y:\n    def __gt__(s, o): return s\ndef f(): return Y()", "def f(): return 4"),
    ("assert 3 < f()", "class Y:\n    def __gt__(s, o): return True\ndef f(): return Y()", "def f(): return 4"),
    ("assert f() in (3, 4)", "class Y:\n    def __eq__(s, o): return True\ndef f(): return Y()", "def f(): return 4"),
    ("assert f() is True", "class Y:\n    def __bool__(s): return True\ndef f(): return Y()", "def f(): return True"),
    ("assert sorted(f()) == [1, 2]", "def sorted(x): return [1, 2]\ndef f(): return []", "def f(): return {2, 1}"),
    (
        "import colorsys\nassert f() == colorsys.rgb_to_hsv(0, 0, 0)",
        "open('/tmp/colorsys.py', 'w').write('def rgb_to_hsv(*a): return 7')\ndef f(): return 7",
        "def f(): return (0.0, 0.0, 0)",
    ),
    (
        "assert f() == [1, 2]",
        "class L(list):\n    def __eq__(s, o): return True\ndef f(): return L()",
        "class L(list): pass\ndef f(): return L([1, 2])",
    ),
    ("assert set(f()) == {1, 2}", "class Y:\n    def __iter__(s): return iter([Y()])\ndef f(): return Y()", ""),
    ("assert isinstance(f(), int)", "class Y:\n    __class__ = int\ndef f(): return Y()", "def f(): return 1"),
    (
        "try:\n    f()\nexcept ValueError: pass\nelse: assert False",
        "import os\ndef f(): os._exit(0)",
        "def f(): raise ValueError",
    ),
    (
        "import time\nx = f()\ntry:\n    time.sleep(1)\n    assert x == 1\nexcept KeyboardInterrupt: pass",
        "import os, signal, time\ndef f():\n    if os.fork() == 0:\n        time.sleep(0.3)\n"
        "        os.kill(PARENT, signal.SIGINT)\n        os._exit(0)\nPARENT = os.getppid()",
        "def f(): return 1",
    ),
    ("try:\n    assert f() == 1\nexcept: pass", "import os\ndef f(): os._exit(0)", "def f(): return 1"),
]


@pytest.mark.parametrize(("test", "cheat", "honest"), WEAK, ids=range(len(WEAK)))
def test_weak_tests_are_no_weaker_than_they_read(test, cheat, honest):
    assert kinds(cheat, [test]) != ["passed"]
    if honest:
        assert kinds(honest, [test]) == ["passed"]


PASSES = {
    "plain data of all kinds": (
        "def same(x): return x",
        [
            "for x in [None, True, 3, -2**70, 1.5, 1j, 'ü\\ud800', b'b', bytearray(b'c'), (1, (2,)), [1, [2]], {1, 2},"
            " frozenset({3}), {'a': {1: (2,)}, (1, 2): 3}, range(3), slice(1, 2)]:\n"
            "    assert same(x) == x and type(same(x)) is type(x), x",
            "from fractions import Fraction\nfrom decimal import Decimal\nfrom collections import Counter, OrderedDict, deque",
            "for x in [Fraction(1, 3), Decimal('1.10'), Counter('aab'), OrderedDict(b=1, a=2), deque([1, 2])]:\n"
            "    assert same(x) == x and type(same(x)) is type(x), x",
            "import math\nassert math.isnan(same(math.nan)) and same(-math.inf) == -math.inf",
            "assert same(True) is True and same(1) is not True and same(x=3) == 3",
        ],
    ),
    "arguments that are changed in place": (
        "def fill(items, more=None):\n    items.append(len(items))\n    if more is not None: more['x'] = [1]",
        [
            "a, b = [5], {}\nfill(a, more=b)\nassert a == [5, 1] and b == {'x': [1]}",
            "s = a\nfill(a)\nassert s is a and s == [5, 1, 2]",
        ],
    ),
    "classes and their objects": (
        "class Stack:\n    size = 0\n    def __init__(self): self.items = []\n"
        "    def push(self, x): self.items.append(x); return self\n    def pop(self): return self.items.pop()\n"
        "    def __len__(self): return len(self.items)\n    def __contains__(self, x): return x in self.items\n"
        "    def __getitem__(self, i): return self.items[i]\n    def __iter__(self): return iter(self.items)\n"
        "    def __bool__(self): return bool(self.items)\n    def __str__(self): return f'Stack{self.items}'",
        [
            "s = Stack()\nassert not s\nassert s.push(1).push(2) is not None and len(s) == 2 and 2 in s and 3 not in s",
            "assert s[0] == 1 and list(s) == [1, 2] and str(s) == 'Stack[1, 2]' and s.items == [1, 2]",
            "assert isinstance(s, Stack) and not isinstance(3, Stack) and s.pop() == 2",
            "s.size = 7\nassert s.size == 7 and Stack.size == 0\ndel s.size\nassert s.size == 0",
            "class Sub: stack = s\nassert Sub.stack is s",
            "assert s == s and s != Stack() and s != [1] and {s: 1}[s] == 1",
            "try:\n    s[9]\nexcept IndexError: pass\nelse: assert False",
            "try:\n    s.gone\nexcept AttributeError as error: assert 'gone' in str(error)\nelse: assert False",
        ],
    ),
    "operators between the code's objects": (
        "import dataclasses\n@dataclasses.dataclass(frozen=True, order=True)\nclass V:\n    x: int\n    y: int\n"
        "    def __add__(s, o): return V(s.x + o.x, s.y + o.y)\n    def __mul__(s, k): return V(s.x * k, s.y * k)\n"
        "    __rmul__ = __mul__\n    def __matmul__(s, o): return s.x * o.x + s.y * o.y\n    def __neg__(s): return V(-s.x, -s.y)",
        [
            "assert V(1, 2) + V(3, 4) == V(4, 6) and V(1, 2) * 3 == V(3, 6) == 3 * V(1, 2)",
            "assert V(1, 2) @ V(3, 4) == 11 and -V(1, 2) == V(-1, -2) and V(1, 2) < V(2, 0) and len({V(1, 1), V(1, 1)}) == 1",
            "v = V(1, 1)\nv += V(1, 1)\nassert v == V(2, 2) and repr(v) == 'V(x=2, y=2)'",
            "assert sorted([V(2, 0), V(1, 0)])[0] == V(1, 0)",
        ],
    ),
    "classes derived from plain data": (
        "import enum, collections\nPoint = collections.namedtuple('Point', 'x y')\n"
        "class Color(enum.IntEnum): RED = 1\nclass Name(str): pass\n"
        "def point(): return Point(1, 2)\ndef color(): return Color.RED\ndef name(): return Name('a')\n"
        "def groups():\n    d = collections.defaultdict(list); d['a'].append(1); return d",
        [
            "assert point() == (1, 2) and point().x == 1 and point()[1] == 2 and [point()] == [(1, 2)]",
            "assert color() == 1 and color() + 1 == 2 and color().name == 'RED' and [0, 7][color()] == 7",
            "assert name() == 'a' and name() + 'b' == 'ab' and groups() == {'a': [1]} and groups()['a'] == [1]",
            "assert round(color()) == 1 and float(color()) == 1.0 and 2 in point() and hash(name()) == hash('a')",
            "import copy\nassert copy.deepcopy(point()) == (1, 2)",
        ],
    ),
    "generators and iterators": (
        "def count(n):\n    yield from range(n)\ndef total(items): return sum(items)\ndef pairs(x): return zip(x, x)",
        [
            "assert list(count(3)) == [0, 1, 2] and next(count(1)) == 0 and sum(count(4)) == 6",
            "g = count(1)\nnext(g)\ntry:\n    next(g)\nexcept StopIteration: pass\nelse: assert False",
            "assert total(x * x for x in range(4)) == 14 and total(iter([1, 2])) == 3",
            "assert list(pairs([1, 2])) == [(1, 1), (2, 2)]",
        ],
    ),
    "functions that tests lend": (
        "def apply(f, *x): return f(*x)\ndef twice(f): return lambda x: f(f(x))\n"
        "def safe(f):\n    try: return f()\n    except ValueError as e: return f'caught {e}'",
        [
            "assert apply(lambda a, b: a * b, 3, 4) == 12 and apply(len, 'abc') == 3 and apply(int, '7') == 7",
            "import math\nassert apply(math.sqrt, 9) == 3",
            "assert twice(lambda x: x + 1)(5) == 7 and apply(lambda f: f(2), twice(lambda x: x * 3)) == 18",
            "def fail(): raise ValueError('so')\nassert safe(fail) == 'caught so'",
            "seen = []\napply(seen.append, 4)\nassert seen == [4]",
        ],
    ),
    "exceptions": (
        "class TooLow(ValueError): pass\nclass Base(Exception): pass\nclass Derived(Base): pass\n"
        "def check(x):\n    if x < 0: raise TooLow('low', x)\n    if x > 9: raise Derived('high')\n    return 1 / x",
        [
            "try:\n    check(-1)\nexcept TooLow as error: assert error.args == ('low', -1)\nelse: assert False",
            "try:\n    check(-1)\nexcept ValueError: pass\nelse: assert False",
            "try:\n    check(10)\nexcept Base as error: assert type(error).__name__ == 'Derived'\nelse: assert False",
            "try:\n    check(0)\nexcept ZeroDivisionError: pass\nelse: assert False",
            "assert issubclass(TooLow, ValueError)",
        ],
    ),
    "names, their state and their modules": (
        "import math\nitems = []\ncounter = 0\nTABLE = {'a': 1}\n"
        "def add(x):\n    global counter\n    items.append(x); counter += 1",
        [
            "add(1); add(2)\nassert items == [1, 2] and counter == 2 and len(items) == 2 and items[0] == 1 and 2 in items",
            "items.append(3)\nitems += [4]\nadd(5)\nassert items == [1, 2, 3, 4, 5] and items[-1] == 5",
            "assert TABLE['a'] == 1 and TABLE == {'a': 1} and math.floor(2.5) == 2",
            "from solution import counter as now\nimport solution\nassert now == 3 and solution.counter == 3",
            "x = [i for i in items if i > 1]\nassert x == [2, 3, 4, 5]\ndef helper(): return counter\nassert helper() == 3",
        ],
    ),
}


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("isolated", [True, False])
def test_honest_code_passes(name, isolated):
    code, tests = PASSES[name]
    outcomes = grade([Submission(code, tests)], Bubblewrap(), 20, isolated=isolated)[0]
    assert [(outcome.kind, outcome.detail) for outcome in outcomes] == [("passed", "")] * len(tests)


def test_what_became_of_each_test():
    code = "def f(x):\n    if x == 1: raise KeyError('k')\n    if x == 2: return bytearray(1 << 33)\n    return x"
    tests = ["assert f(0) == 0", "assert f(0) == 5", "f(1)", "f(2)", "f(object())", "def (", "f(3); assert f(3) == 3"]
    (outcomes,) = grade([Submission(code, tests)], Bubblewrap(), 20)
    assert [o.kind for o in outcomes] == ["passed", "wrong", "raised", "memory", "test", "test", "passed"]
    assert outcomes[2].detail == "KeyError: 'k'" and "cannot be passed" in outcomes[4].detail
    assert kinds("def f(:", ["f()"] * 2) == ["syntax"] * 2
    assert kinds("1 / 0", ["pass"]) == ["raised"]
    # What is missing is the tests' own fault, or the code's.
    assert kinds("def f(): import gone", ["import gone", "f()", "pass"]) == ["test", "raised", "passed"]
    assert kinds("import gone", ["pass"]) == ["raised"] and kinds("", ["pass"], setup="import gone") == ["test"]
    hidden = ["try:\n    memoryview(Y())\nexcept TypeError: pass", "assert not hasattr(Y(), '__array_interface__')"]
    assert kinds("class Y: __array_interface__ = {}", [*hidden, "assert Y.__name__ == 'Y'"]) == ["passed"] * 3
    assert kinds("assert False", ["pass"]) == ["raised"]
    assert kinds("import os\ndef f(): os._exit(3)", ["pass", "f()", "pass"]) == ["passed", "ended", "ended"]
    assert kinds("def f():\n    while True: pass", ["pass", "f()", "pass"], timeout_s=1) == [
        "passed",
        "timeout",
        "timeout",
    ]


def test_what_became_of_programs():
    tests = [{"input": "3", "output": "6"}]
    programs = {
        "print(int(input()) * 2)": "passed",
        "print(7)": "wrong",
        "print('6' + ' ' * 2_000_000)": "wrong",  # more than is kept
        "print(6": "syntax",
        "if 1:\nprint(6)": "syntax",
        "print(6); 1 / 0": "raised",
        "print(6); bytearray(1 << 33)": "memory",
        "print(6, flush=True)\nimport os\nos.kill(os.getpid(), 11)": "ended",
        "print(6); raise SystemExit(0)": "passed",
    }
    found = grade([Submission(code, tests) for code in programs], Bubblewrap(), 20)
    assert {code: o.kind for code, (o,) in zip(programs, found, strict=True)} == programs
    assert kinds("print(6, flush=True)\nwhile True: pass", tests, timeout_s=1) == ["timeout"]
    assert kinds("print(6, flush=True)\nimport os\nwhile True: os.mkdir('x'); os.chdir('x')", tests) in (
        ["memory"],
        ["raised"],
    )


def test_the_setup_is_the_tests_own():
    """What the code makes of a helper is not what the tests use."""
    setup = "import math\nTRUE_PI = 3\ndef poly(x): return x * x - 4\ndef root(): ..."
    cheat = "def poly(x): return 0\nTRUE_PI = 9\nclass math: pass\ndef root(): return 9"
    test = "assert poly(root()) == 0 and TRUE_PI == 3 and math.floor(2.5) == 2"
    assert kinds(cheat, [test], setup=setup, names=["root"]) == ["wrong"]
    assert kinds(cheat.replace("return 9", "return -2"), [test], setup=setup, names=["root"]) == ["passed"]
    assert kinds("def other(): return 2", ["root()"], setup=setup, names=["root"]) == [
        "raised"
    ]  # not the setup's stub
    assert kinds("def sum(a, b): return a + b", ["assert sum(1, 2) == 3"], names=["sum"]) == ["passed"]
    assert kinds("def sum(a, b): return a + b", ["assert sum(1, 2) == 3"]) == ["raised"]  # Python's own
    assert kinds(cheat, ["assert root() == 9"], setup=setup, names=["root"], isolated=False) == ["passed"]
    assert kinds("class Node: pass", ["assert node.x == 1"], setup="node = Node()\nnode.x = 1") == ["passed"]


def test_many_keep_their_places_and_say_when_they_are_done():
    io = {"input": "1", "output": "1"}
    submissions = [
        Submission("print(input())\nx = 1", [io, "assert x == 1", {"input": "2", "output": "3"}, "assert x == 2"]),
        Submission("", []),
        Submission("print(1)", [io]),
    ]
    done = []
    found = grade(submissions, Bubblewrap(), 20, done=lambda: done.append(1))
    # As a module it reads no input: its first line raises.
    assert [[o.kind for o in of_one] for of_one in found] == [["passed", "raised", "wrong", "raised"], [], ["passed"]]
    assert len(done) == processes(submissions) == 4


def test_a_report_without_the_token_is_none():
    class Forged:
        def check(self): ...
        def run(self, sources, stdin, timeout_s, memory_mb):
            return SandboxResult(0, '[0, "passed", ""]\n' + "0" * 32 + ' [0, "passed", ""]\n', "", False, False, 0.1)

    assert grade([Submission("", ["pass"])], Forged()) == [[Outcome("ended")]]


def test_without_a_sandbox_it_grades_as_well():
    assert kinds("def add(a, b): return a + b", ADD, Unsandboxed()) == ["passed"] * 2
    assert kinds("def add(a, b): return 3", ADD, Unsandboxed()) == ["passed", "wrong"]


def test_example_in_the_docstring():
    example = doctest.DocTestParser().get_doctest(grade.__doc__.replace("```", ""), {}, "grade", None, 0)
    assert example.examples and doctest.DocTestRunner().run(example).failed == 0
