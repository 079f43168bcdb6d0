"""Where programs run: this machine's sandbox, none, or the service that the documentation shows."""

import re
import shutil
import threading
from pathlib import Path

import pytest

from rlhf_ext.rewards.functions import CodeTests
from rlhf_ext.sandbox import (
    Bubblewrap,
    SandboxUnavailable,
    Submission,
    Unsandboxed,
    available_runner,
    check_sandbox,
    grade,
)

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
DOCS = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")
ADD = "def add(a, b):\n    return a + b"
TESTS = ["assert add(1, 2) == 3", "assert add(2, 2) == 4"]


@pytest.fixture(scope="module")
def remote():
    """The runner and the service of the documentation, as they stand there."""
    client, service = (code for code in re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL) if "\nclass " in code)
    names, served = {}, {}
    exec(client, names)
    exec(service.replace("8100", "0"), served)
    server = served["server"]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield names["RemoteRunner"](f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_service_runs_what_the_sandbox_would(remote):
    remote.check()
    result = remote.run({"main.py": "import part; print(part.x, input())", "part.py": "x = 'ü'"}, "in\n", 20.0, 128)
    assert (result.stdout, result.ok) == ("ü in\n", True)
    assert remote.run({"main.py": "while True: pass"}, "", 0.5, 128).timed_out


def test_code_is_graded_there_as_here(remote):
    submissions = [
        Submission(ADD, TESTS),
        Submission("def add(a, b):\n    return 3", TESTS),
        Submission("import os; os._exit(0)", TESTS),
        Submission("print(input())", [{"input": "x", "output": "x"}]),
    ]
    here, there = (grade(submissions, runner, 20) for runner in (Bubblewrap(), remote))
    assert here == there
    assert [[outcome.passed for outcome in of_one] for of_one in there] == [
        [True] * 2,
        [True, False],
        [False] * 2,
        [True],
    ]
    reward = CodeTests(runner=remote, timeout_s=20)
    assert reward(prompts=["?"], completions=[f"```python\n{ADD}\n```"], tests=[TESTS]) == [1.0]


def test_a_service_that_is_gone_is_no_score(remote):
    gone = type(remote)("http://127.0.0.1:9/")
    with pytest.raises(SandboxUnavailable, match="http://127.0.0.1:9/ failed"):
        CodeTests(runner=gone)
    reward = CodeTests(runner=remote)
    reward.runner = gone
    with pytest.raises(SandboxUnavailable, match="failed"):
        reward(prompts=["?"], completions=[f"```python\n{ADD}\n```"], tests=[TESTS])


def test_without_a_sandbox_there_is_one_way_and_it_warns(monkeypatch, tmp_path):
    assert isinstance(available_runner(), Bubblewrap)
    assert isinstance(available_runner(allow_unsandboxed=True), Bubblewrap)
    check_sandbox.cache_clear()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(SandboxUnavailable, match="is not run"):
            available_runner()
        with pytest.warns(UserWarning, match="runs with your rights, uncontained: .* is not installed"):
            assert isinstance(available_runner(allow_unsandboxed=True), Unsandboxed)
    check_sandbox.cache_clear()
