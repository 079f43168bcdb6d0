"""A store's database in both kinds: a new SQLite file, or an emptied PostgreSQL of the test session's own."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest


@pytest.fixture(scope="session")
def postgres():
    """URL of a PostgreSQL server of its own on loopback, ended afterwards."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert folders, "PostgreSQL is not installed: apt-get install postgresql"
    data = Path(tempfile.mkdtemp(prefix="rlhf_ext-postgres-")) / "data"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_user: list[str] = []
    if os.getuid() == 0:  # the server refuses to run as root
        shutil.chown(data.parent, "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    user = "postgres" if as_user else getpass.getuser()
    made = [*as_user, folders[-1] / "initdb", "-D", data, "-A", "trust", "-U", user, "--no-sync"]
    subprocess.run(made, check=True, capture_output=True, cwd="/")
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", str(data), "-c", "fsync=off"]
    server = subprocess.Popen(
        [*as_user, folders[-1] / "postgres", "-D", data, *options], stderr=subprocess.DEVNULL, cwd="/"
    )
    address = f"postgresql://{user}@127.0.0.1:{port}/postgres"
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(address).close()
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline and server.poll() is None, "PostgreSQL did not start"
            time.sleep(0.05)
    yield address.replace("postgresql://", "postgresql+psycopg://")
    server.send_signal(signal.SIGINT)
    server.wait(timeout=30)
    shutil.rmtree(data.parent)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Where a new store goes: a file that is not there yet, or an empty PostgreSQL."""
    if request.param == "sqlite":
        return str(tmp_path / "folder" / "store.sqlite")
    found = request.getfixturevalue("postgres")
    with psycopg.connect(found.replace("+psycopg", "")) as connection:
        # Whoever an earlier test left connected would hold the tables.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'postgres'"
        )
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return found


@pytest.fixture
def pass_time(monkeypatch):
    """Lets time pass for leases and invitations of this process: `pass_time(30)` is 30 seconds on, however slow the machine is."""
    passed, now = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: now() + sum(passed))
    return passed.append
