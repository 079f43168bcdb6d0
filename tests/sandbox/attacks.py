"""Attacks on the sandbox, as code under test: each is a function body that gets something done, or raises.

`{canary}` is a file of this machine, `{port}` a server on it, `{unix}` and `{abstract}` its sockets, `{pid}` the process that
grades, `{mark}` a word by which what is left behind is found.
"""

import textwrap
from dataclasses import dataclass

HELD = ("passed",)
"""What became of the test that the attack was held: an error told the code so."""


@dataclass(frozen=True)
class Attack:
    """An attack, and what may become of the tests of code that carries it out.

    Args:
        name (`str`): What it is.
        body (`str`): Of a function; it raises where it is held.
        kinds (`tuple[str, ...]`): What may become of a test that is true only where it was held.
        real (`bool`): Whether it is harmless enough to be shown to work where there is no sandbox.
    """

    name: str
    body: str
    kinds: tuple[str, ...] = HELD
    real: bool = False

    def code(self, **names):
        """A wrong `add`, and `outcome`, which attacks."""
        body = textwrap.dedent(self.body).strip()
        for name, value in names.items():
            body = body.replace(f"{{{name}}}", str(value))
        return f"{_BEFORE}def attack():\n{textwrap.indent(body, '    ')}\n{_AFTER}"


_BEFORE = """\
import ctypes, os, resource, signal, socket, subprocess, sys, threading, time, urllib.request

libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

"""
_AFTER = """
def outcome():
    try:
        attack()
    except BaseException as error:
        return f"held: {type(error).__name__}"
    return "broke out"

def add(a, b):
    return a - b
"""

KILLED, OUT_OF_TIME, OUT_OF_MEMORY = ("ended",), ("timeout",), ("memory",)

ATTACKS = [
    # Taking the machine's means.
    Attack("fork bomb", "while True:\n    if os.fork() == 0:\n        time.sleep(5)\n        os._exit(0)"),
    Attack(
        "fork bomb of all generations",
        "while True:\n    os.fork()",
        ("passed", "timeout", "ended", "memory", "raised"),
    ),
    Attack("thread bomb", "while True:\n    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()"),
    Attack("zombie herd", "while True:\n    if os.fork() == 0:\n        os._exit(0)"),
    Attack("memory, at once", "bytearray(1 << 32)"),
    Attack("memory, bit by bit", "blocks = []\nwhile True:\n    blocks.append(bytearray(1 << 20))"),
    Attack(
        "memory, by many processes",
        """
        for _ in range(10):
            if os.fork() == 0:
                block = bytearray(100 << 20)
                time.sleep(5)
                os._exit(0)
        time.sleep(5)
        """,
        OUT_OF_MEMORY,
    ),
    Attack("memory that no limit counts", "call(319, b'{mark}', 0)", real=True),
    Attack("memory locked", "if libc.mlockall(3):\n    raise OSError"),
    Attack("disk, /tmp", "with open('/tmp/big', 'wb') as file:\n    while True:\n        file.write(bytes(1 << 20))"),
    Attack(
        "disk, /dev/shm",
        "with open('/dev/shm/big', 'wb') as file:\n    while True:\n        file.write(bytes(1 << 20))",
    ),
    Attack("a million files", "for n in range(1_000_000):\n    os.mknod(f'/tmp/{n}')\ntime.sleep(5)", OUT_OF_MEMORY),
    Attack(
        "a million folders", "for n in range(1_000_000):\n    os.mkdir(f'/dev/shm/{n}')\ntime.sleep(5)", OUT_OF_MEMORY
    ),
    Attack("thousands of open files", "files = [open('/dev/null') for _ in range(5_000)]"),
    Attack("flood of stdout", "for _ in range(200):\n    os.write(1, bytes(1 << 20))\nraise OSError"),
    Attack("flood of stderr", "for _ in range(200):\n    os.write(2, bytes(1 << 20))\nraise OSError"),
    Attack(
        "flood of the tests", "for _ in range(100):\n    print('{mark}' * 99_999)\nraise OSError('x' * 10_000_000)"
    ),
    Attack("sleeping forever", "time.sleep(1e6)", OUT_OF_TIME),
    Attack(
        "sleeping on whatever signal",
        "for number in set(signal.valid_signals()) - {9, 19}:\n    signal.signal(number, signal.SIG_IGN)\ntime.sleep(1e6)",
        OUT_OF_TIME,
    ),
    Attack("burning in a loop", "while True: pass", OUT_OF_TIME),
    Attack("burning in a regular expression", "import re\nre.match('(a+)+$', 'a' * 64 + 'b')", OUT_OF_TIME),
    Attack("burning in one large number", "3 ** 10 ** 9", OUT_OF_TIME),
    Attack("raising its limits", "resource.setrlimit(resource.RLIMIT_NPROC, (9999, 9999))"),
    Attack("raising its priority", "os.nice(-5)"),
    # The network.
    Attack("network, TCP", "socket.create_connection(('127.0.0.1', {port}), timeout=2)", real=True),
    Attack("network, HTTP", "urllib.request.urlopen('http://127.0.0.1:{port}/', timeout=2)"),
    Attack("network, an address outside", "socket.create_connection(('192.0.2.1', 80), timeout=2)"),
    Attack("network, UDP outside", "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))", real=True),
    Attack("network, DNS", "socket.getaddrinfo('example.com', 80)"),
    Attack("network, raw", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
    Attack("network, packets", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    Attack("the host of a virtual machine", "socket.socket(40, socket.SOCK_STREAM)"),
    Attack("ciphers of the kernel", "socket.socket(38, socket.SOCK_SEQPACKET)"),
    Attack("a socket in the file system", "socket.socket(socket.AF_UNIX).connect('{unix}')", real=True),
    Attack("an abstract socket", "socket.socket(socket.AF_UNIX).connect('\\0{abstract}')", real=True),
    # Reading.
    Attack("reading /etc/shadow", "open('/etc/shadow').read()"),
    Attack("reading /etc/passwd", "open('/etc/passwd').read()", real=True),
    Attack("reading a home", "os.listdir('{home}')", real=True),
    Attack("reading the project", "open('{project}').read()", real=True),
    Attack("reading a secret", "open('{canary}').read()", real=True),
    Attack("reading it by a symbolic link", "os.symlink('{canary}', 'a')\nopen('a').read()", real=True),
    Attack("reading it by a hard link", "os.link('{canary}', 'b')\nopen('b').read()"),
    Attack("reading it by going up", "open('../' * 40 + '{canary}').read()", real=True),
    Attack("environment", "os.environ['API_KEY']", real=True),
    Attack("environment of the grader", "open('/proc/{pid}/environ').read()", real=True),
    Attack("files of the parent", "os.listdir(f'/proc/{os.getppid()}/fd')", real=True),
    Attack("the machine's root by process 1", "os.listdir('/proc/1/root')"),
    Attack(
        "writing to whatever is open",
        """
        for fd in range(3, 256):
            try:
                os.write(fd, b"x" * 99)
            except OSError:
                pass
        raise OSError
        """,
        KILLED,
    ),
    Attack("log of the kernel", "call(103, 3, ctypes.create_string_buffer(64), 64)"),
    Attack("devices", "os.mknod('/tmp/disk', 0o60666, os.makedev(8, 0))"),
    Attack("memory of the machine", "open('/dev/mem', 'rb').read(1)"),
    # Writing.
    Attack("writing outside", "open('{canary}', 'w').write('{mark}')"),
    Attack("deleting outside", "os.unlink('{canary}')"),
    Attack("writing to the system", "open('/usr/bin/{mark}', 'w')"),
    Attack("rights of the system", "os.chmod('/usr/bin/python3', 0o777)"),
    Attack("owner of the system", "os.chown('/usr', os.getuid(), os.getgid())"),
    Attack("settings of the kernel", "open('/proc/sys/kernel/hostname', 'w').write('{mark}')"),
    Attack("control groups", "os.mkdir('/sys/fs/cgroup/{mark}')"),
    Attack("the terminal", "open('/dev/tty', 'w').write('{mark}')"),
    # Rights.
    Attack("becoming root", "os.setuid(0)"),
    Attack("becoming root by a program", "subprocess.run(['su', '-c', 'id'], check=True, stdin=subprocess.DEVNULL)"),
    Attack("a user namespace", "call(272, 0x10000000)"),
    Attack("a user namespace by clone", "call(56, 0x10000000 | 17, 0, 0, 0, 0)"),
    Attack("joining a namespace", "call(308, 0, 0)"),
    Attack("mounting", "if libc.mount(b'none', b'/tmp', b'tmpfs', 0, None):\n    raise OSError"),
    Attack("another root", "os.chroot('/tmp')"),
    Attack("the machine's name", "socket.sethostname('{mark}')"),
    Attack("the machine's clock", "time.clock_settime(time.CLOCK_REALTIME, 0)"),
    Attack("switching off", "call(169, 0xFEE1DEAD, 672274793, 0x4321FEDC, 0)"),
    Attack("programs in the kernel", "call(321, 0, 0, 0)"),
    Attack("counters of the kernel", "call(298, ctypes.create_string_buffer(128), 0, -1, -1, 0)"),
    Attack("rings of the kernel", "call(425, 8, ctypes.create_string_buffer(120))"),
    Attack("keys of the kernel", "call(248, b'user', b'{mark}', b'x', 1, -4)"),
    Attack("faults of its own", "call(323, 0)"),
    # Other processes.
    Attack("a signal to the grader", "os.kill({pid}, 0)", real=True),
    Attack("a signal to everybody", "os.kill(-1, signal.SIGKILL)\ntime.sleep(5)", KILLED),
    Attack("a signal to the tests", "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(5)", KILLED),
    Attack("stopping the tests", "os.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(1e6)", OUT_OF_TIME),
    Attack("tracing the tests", "call(101, 16, os.getppid(), 0, 0)"),
    Attack("memory of the tests", "call(310, os.getppid(), 0, 0, 0, 0, 0)"),
    Attack("open files of the tests", "call(438, os.pidfd_open(os.getppid()), 3, 0)"),
    Attack(
        "limits of the tests",
        "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))\ntime.sleep(1)",
        ("wrong", "ended"),
    ),
    # Outliving.
    Attack(
        "a daemon that outlives",
        """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)", "{mark}"])
            os._exit(0)
        os.wait()
        raise OSError
        """,
    ),
    Attack("shared memory left behind", "open('/dev/shm/{mark}', 'w')\nraise OSError"),
    Attack("shared memory of System V", "call(29, 4711, 4096, 0o1666)"),
    Attack("a message queue", "if libc.mq_open(b'/{mark}', 0o102, 0o600, None) < 0:\n    raise OSError"),
    Attack("a core dump", "os.abort()", KILLED),
    Attack("a core dump of deep recursion", "sys.setrecursionlimit(10**9)\ndef f(): f()\nf()", (*KILLED, *HELD)),
]
