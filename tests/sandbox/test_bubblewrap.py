"""The sandbox under attack. Where it is harmless, each attack runs as trusted code too, to see that it is one."""

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from rlhf_ext.sandbox import run_python

from .processes import processes_with

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")


def run(code, **options):
    return run_python(textwrap.dedent(code), **{"timeout_s": 20.0, **options})


def both(code, **options):
    """What an attack prints contained, and what it prints as trusted code."""
    results = [run(code, trusted=trusted, **options) for trusted in (False, True)]
    assert not any(result.timed_out for result in results)
    return [result.stdout.strip() for result in results]


ATTEMPT = """
    import os
    try:
        {attempt}
        print("broke out")
    except OSError as error:
        print("held:", type(error).__name__)
"""


def test_it_reads_no_file_outside(tmp_path):
    (tmp_path / "secret").write_text("the key")
    contained, trusted = both(ATTEMPT.format(attempt=f"print(open({str(tmp_path / 'secret')!r}).read())"))
    assert trusted == "the key\nbroke out"
    assert contained == "held: FileNotFoundError"


def test_a_symbolic_link_leads_nowhere_new(tmp_path):
    (tmp_path / "secret").write_text("the key")
    attempt = f"os.symlink({str(tmp_path / 'secret')!r}, 'link'); print(open('link').read())"
    contained, trusted = both(ATTEMPT.format(attempt=attempt))
    assert trusted == "the key\nbroke out"
    assert contained == "held: FileNotFoundError"


@pytest.mark.parametrize("target", ["/etc/passwd", "/proc/1/root", "/root", "/home", "/sys", "/var", str(Path.cwd())])
def test_this_machine_is_not_there(target):
    contained, trusted = both(f"import os; print(os.path.lexists({target!r}))")
    assert (contained, trusted) == ("False", "True")


def test_it_writes_nothing_outside(tmp_path):
    target = tmp_path / "mark"
    contained, _ = both(ATTEMPT.format(attempt=f"open({str(target)!r}, 'w').close()"))
    assert target.exists()  # the trusted one's
    assert contained == "held: FileNotFoundError"
    target.unlink()
    run(ATTEMPT.format(attempt=f"open({str(target)!r}, 'w').close()"))
    assert not target.exists()


@pytest.mark.parametrize("folder", ["/", "/dev", "/usr", "/usr/bin", "/etc"])
def test_it_writes_only_to_its_own_folder(folder):
    code = ATTEMPT.format(attempt=f"open({folder!r} + '/mark', 'w').close()")
    assert run(code).stdout.strip() == "held: OSError"  # read-only file system, where nobody's rights alone would do
    assert run(ATTEMPT.format(attempt="open('/tmp/mark', 'w').close()")).stdout.strip() == "broke out"


def test_nothing_of_one_run_is_there_in_the_next():
    run("open('/tmp/mark', 'w').close()")
    assert run("import os; print(os.listdir('/tmp'), os.listdir('/dev/shm'))").stdout.strip() == "['main.py'] []"


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_its_disk_is_small(folder):
    code = f"""
        block, n = b"0" * (1 << 20), 0
        try:
            with open({folder + "/big"!r}, "wb", buffering=0) as file:
                for n in range(100):
                    file.write(block)
        except OSError as error:
            print(error.errno)
        print(n)
    """
    assert run(code).stdout.split() == ["28", "64"]  # ENOSPC
    assert run(code.replace(folder, "."), trusted=True).stdout.split() == ["99"]


def test_it_has_no_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = f"__import__('socket').create_connection(('127.0.0.1', {port}), timeout=2)"
        contained, trusted = both(ATTEMPT.format(attempt=connect))
    assert trusted == "broke out"
    assert contained == "held: ConnectionRefusedError"
    assert run("import socket; print(socket.if_nameindex())").stdout.strip() == "[(1, 'lo')]"


def test_it_sees_no_environment_variable(monkeypatch):
    monkeypatch.setenv("API_KEY", "the key")
    contained, trusted = both("import os; print(os.environ.get('API_KEY'))")
    assert (contained, trusted) == ("None", "the key")


def test_it_inherits_no_open_file(tmp_path):
    with open(tmp_path / "secret", "w") as file:
        os.set_inheritable(file.fileno(), True)
        code = """
            import os
            for fd in range(3, 256):
                try:
                    os.fstat(fd)
                except OSError:
                    continue
                print(fd)
        """
        assert run(code).stdout == ""
        assert run("import os; print(os.fstat(0).st_size)").stdout.strip() == "0"  # the count works on what is open


def test_its_standard_input_is_no_memory_to_write_to():
    code = ATTEMPT.format(attempt="os.ftruncate(0, 1 << 20)")
    assert run(code).stdout.strip() == "held: PermissionError"


def test_it_sees_and_ends_no_process_of_this_machine():
    code = f"""
        import os
        try:
            os.kill({os.getpid()}, 0)
            print("seen")
        except ProcessLookupError:
            print("not there")
    """
    assert both(code) == ["not there", "seen"]


def test_it_has_no_rights():
    assert run("import os; print(os.getuid() == 0, os.getgid() == 0)").stdout.strip() == "False False"
    assert run(ATTEMPT.format(attempt="os.setuid(0)")).stdout.strip() == "held: OSError"


def test_root_takes_its_groups_off():
    if os.geteuid() == 0:  # a user cannot, and has no groups that are not the user's anyway
        code = "import os; from rlhf_ext.sandbox import run_python; os.setgroups([4]); print(os.getgroups(), end=' '); {run}"
        run_it = "print(run_python('import os; print(os.getgroups())').stdout)"
        result = subprocess.run([sys.executable, "-c", code.format(run=run_it)], capture_output=True, text=True)
        assert result.stdout.strip() == "[4] []"


def test_a_fork_bomb_ends_early():
    code = """
        import os, time
        started = 0
        try:
            for started in range(1, 41):
                if os.fork() == 0:
                    time.sleep(1)
                    os._exit(0)
        except BlockingIOError:
            started -= 1
        print(started)
    """
    contained, trusted = both(code)
    assert trusted == "40"
    assert 4 <= int(contained) < 16


def test_threads_are_processes_too():
    code = """
        import threading, time
        started = 0
        try:
            for started in range(1, 41):
                threading.Thread(target=time.sleep, args=(0.5,)).start()
        except RuntimeError:
            started -= 1
        print(started)
    """
    contained, trusted = both(code)
    assert trusted == "40"
    assert 8 <= int(contained) < 16


def test_sandboxes_do_not_share_their_processes():
    """RLIMIT_NPROC counts by user: two at once must not starve each other."""
    code = """
        import os, time
        for _ in range(10):
            if os.fork() == 0:
                time.sleep(1)
                os._exit(0)
        time.sleep(0.5)
        print("ten")
    """
    results = []
    threads = [threading.Thread(target=lambda: results.append(run(code).stdout)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["ten\n"] * 3


def test_memory_is_limited():
    code = """
        try:
            print(len(bytearray(100 << 20)) >> 20)
        except MemoryError:
            print("no memory")
    """
    assert both(code, memory_mb=100) == ["no memory", "100"]
    assert run(code, memory_mb=256).stdout.strip() == "100"
    assert run("print(1)", memory_mb=64).ok


def test_a_limit_cannot_be_raised():
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))"
    assert "not allowed to raise maximum limit" in run(code).stderr


def test_endless_output_is_cut():
    result = run("import sys\nfor _ in range(3000): print('x' * 1023)\nprint('end', file=sys.stderr)")
    assert (len(result.stdout), result.truncated, result.ok, result.stderr) == (1 << 20, True, True, "end\n")
    assert not run("print('x' * 1000)").truncated


@pytest.mark.parametrize("code", ["while True: pass", "while True: print('x' * 9999)", "import time; time.sleep(60)"])
def test_an_endless_program_is_killed(code):
    result = run(code, timeout_s=0.7)
    assert (result.timed_out, result.returncode, result.ok) == (True, -9, False)
    assert 0.7 <= result.seconds < 10


def test_time_runs_out_for_a_program_that_hides_its_end():
    """Both streams closed: there is no more to read, and it still runs."""
    result = run("import os, time; os.close(1); os.close(2); time.sleep(60)", timeout_s=0.7)
    assert result.timed_out and result.seconds < 10


def wait_until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("ending", ["pass", "time.sleep(60)"])
def test_a_process_left_behind_ends_too(ending):
    """It has a session of its own, ignores signals and holds the output open; the program ends, or its time does."""
    mark = f"left-behind-{os.getpid()}"
    code = f"""
        import os, subprocess, sys, time
        child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
        subprocess.Popen([sys.executable, "-c", child, {mark!r}], start_new_session=True)
        print("started", flush=True)
        {ending}
    """
    result = run(code, timeout_s=2.0)
    assert result.stdout == "started\n"
    assert result.timed_out == (ending != "pass")
    wait_until(lambda: processes_with(mark) == [])


def test_a_process_left_behind_would_be_found():
    mark = f"found-{os.getpid()}"
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", mark])
    try:
        wait_until(lambda: child.pid in processes_with(mark))
    finally:
        child.kill()
        child.wait()


def test_ordinary_programs_run():
    code = """
        import asyncio, json, multiprocessing, random, sqlite3, subprocess, tempfile, threading
        if __name__ == "__main__":
            with multiprocessing.Pool(2) as pool, tempfile.TemporaryFile() as file:
                file.write(b"x")
                print(pool.map(abs, [-1, 2]), asyncio.run(asyncio.sleep(0, "slept")))
            print(subprocess.run(["ls", "/tmp"], capture_output=True, text=True).stdout, end="")
            print(sqlite3.connect(":memory:").execute("select 1").fetchone())
    """
    assert run(code).stdout == "[1, 2] slept\nmain.py\n(1,)\n"


@pytest.mark.parametrize(
    ("program", "returncode"),
    [("raise SystemExit(3)", 3), ("1 / 0", 1), ("import os; os.kill(os.getpid(), 11)", 128 + 11)],
)
def test_the_programs_own_failure_is_its_result(program, returncode):
    result = run(program)
    assert result.returncode == returncode and not result.ok and not result.timed_out
