"""Where there is no sandbox, or it fails: untrusted code is not run, and nothing looks like the program's own failure."""

import os
import shutil

import pytest

from rlhf_ext.sandbox import SandboxUnavailable, check_sandbox, run_python

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")


@pytest.fixture
def fresh():
    check_sandbox.cache_clear()
    yield
    check_sandbox.cache_clear()


def test_without_its_tools_it_refuses(monkeypatch, tmp_path, fresh):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SandboxUnavailable, match=r"(bwrap|setpriv) is not installed.*apt-get install bubblewrap.*trusted=True"
    ):
        run_python("print(1)")
    assert run_python("print(1)", trusted=True).stdout == "1\n"


@pytest.mark.parametrize(("what", "value"), [("system", "Darwin"), ("machine", "riscv64")])
def test_on_another_kind_of_machine_it_refuses(monkeypatch, fresh, what, value):
    monkeypatch.setattr(f"platform.{what}", lambda: value)
    with pytest.raises(SandboxUnavailable, match="needs Linux on x86_64 or aarch64"):
        run_python("print(1)")


def broken_tool(folder, name):
    """A tool that fails at once, as bubblewrap does where namespaces are turned off."""
    folder.chmod(0o755)
    tool = folder / name
    tool.write_text(f"#!/bin/sh\necho '{name}: no namespaces here' >&2\nexit 1\n")
    tool.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_a_sandbox_that_cannot_start_refuses(monkeypatch, tmp_path, fresh):
    monkeypatch.setenv("PATH", broken_tool(tmp_path, "bwrap"))
    with pytest.raises(SandboxUnavailable, match="sandbox failed before or while.*user namespaces"):
        check_sandbox()


@pytest.mark.parametrize("tool", ["bwrap", *(["setpriv"] if os.geteuid() == 0 else [])])
def test_a_sandbox_that_fails_later_is_no_failed_program(monkeypatch, tmp_path, tool):
    check_sandbox()
    monkeypatch.setenv("PATH", broken_tool(tmp_path, tool))
    with pytest.raises(SandboxUnavailable, match="sandbox failed before or while"):
        run_python("print(1)")
