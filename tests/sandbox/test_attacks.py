"""Every attack is held, leaves nothing on the machine, and gets wrong code past no test."""

import os
import platform
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

from rlhf_ext.sandbox import Bubblewrap, Submission, Unsandboxed, grade

from .attacks import ATTACKS
from .processes import processes_with

pytestmark = pytest.mark.skipif(
    shutil.which("bwrap") is None or platform.machine() != "x86_64",
    reason="needs bubblewrap, and the numbers of x86-64",
)
TESTS = ["assert outcome().startswith('held')", "assert add(1, 2) == 3"]
MARK = f"left-behind-by-{os.getpid()}"


class Machine:
    """What attacks are after, and whether they got at it."""

    def __init__(self, folder):
        self.canary = folder / "canary"
        self.canary.write_text("alive")
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.unix, self.abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self.unix.bind(str(folder / "unix"))
        self.abstract.bind(f"\0{MARK}")
        for server in (self.unix, self.abstract):
            server.listen()
        self.names = {
            "canary": self.canary,
            "home": Path.home(),
            "project": Path(__file__).parents[2] / "setup.py",
            "port": self.tcp.getsockname()[1],
            "unix": folder / "unix",
            "abstract": MARK,
            "pid": os.getpid(),
            "mark": MARK,
        }
        self.before = self.state()

    def state(self):
        """What an attack could have changed on this machine, as far as it can be seen."""
        return {
            "canary": self.canary.read_text(),
            "connections": [self.heard(server) for server in (self.tcp, self.unix, self.abstract)],
            "name": socket.gethostname(),
            "python": os.stat("/usr/bin/python3").st_mode,
            "System V": len(Path("/proc/sysvipc/shm").read_text().splitlines()),
            "marks": [
                path.name
                for folder in ("/tmp", "/dev/shm", "/usr/bin", os.getcwd())
                for path in Path(folder).iterdir()
                if path.name == MARK or path.name.startswith("core")
            ],
        }

    @staticmethod
    def heard(server):
        server.setblocking(False)
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def close(self):
        for server in (self.tcp, self.unix, self.abstract):
            server.close()


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machine")
    os.environ["API_KEY"] = "the key"
    found = Machine(folder)
    yield found
    found.close()
    del os.environ["API_KEY"]


def test_there_are_enough_of_them():
    assert len(ATTACKS) >= 80 and len({attack.name for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_it_is_held_and_wrong_code_stays_wrong(attack, machine):
    submission = Submission(attack.code(**machine.names), TESTS)
    waits = attack.kinds == ("timeout",)
    ((held, wrong),) = grade([submission], Bubblewrap(), timeout_s=1.5 if waits else 20)
    assert held.kind in attack.kinds, held
    assert not wrong.passed
    if held.passed:
        assert wrong.kind in ("wrong", "ended", "raised")
    assert machine.state() == machine.before
    deadline = time.monotonic() + 10
    while processes_with(MARK):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack.real], ids=lambda attack: attack.name)
def test_it_is_an_attack(attack, machine):
    """Without the sandbox it gets done what the sandbox held."""
    ((held, wrong),) = grade([Submission(attack.code(**machine.names), TESTS)], Unsandboxed(), timeout_s=20)
    machine.state()  # takes the connections that it made
    assert held.kind == "wrong", held
    assert not wrong.passed


def test_one_beside_the_others_is_graded_right(machine):
    """Right code is right while the machine is under attack."""
    bombs = [attack.code(**machine.names) for attack in ATTACKS if "bomb" in attack.name or "files" in attack.name]
    right = Submission("def add(a, b):\n    return a + b", ["assert add(1, 2) == 3"])
    found = []
    thread = threading.Thread(target=lambda: found.extend(grade([right] * 5, Bubblewrap(), timeout_s=60)))
    thread.start()
    outcomes = grade([Submission(code, TESTS) for code in bombs], Bubblewrap(), timeout_s=20)
    thread.join()
    assert not any(wrong.passed for _, wrong in outcomes)
    assert [outcome.kind for (outcome,) in found] == ["passed"] * 5
