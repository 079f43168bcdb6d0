"""Running Python programs: arguments, files, many at a time, and trusted code."""

import doctest
import os
import shutil
import sys
import time

import pytest

from rlhf_ext.sandbox import SandboxResult, run_many, run_python

MODES = [
    pytest.param(False, marks=pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")),
    True,
]


@pytest.mark.parametrize("trusted", MODES)
class TestBoth:
    def test_it_reads_its_input_and_writes_its_output(self, trusted):
        result = run_python(
            "import sys; print(input() + '!'); print('aside', file=sys.stderr)", stdin="grüße\n", trusted=trusted
        )
        assert (result.stdout, result.stderr, result.returncode) == ("grüße!\n", "aside\n", 0)
        assert result.ok and not result.timed_out and not result.truncated and 0 < result.seconds < 10

    def test_it_finds_its_files(self, trusted):
        files = {"data.txt": "ü", "package/__init__.py": "", "package/part.py": "value = 7"}
        code = "from package.part import value; print(value, open('data.txt').read())"
        assert run_python(code, files=files, trusted=trusted).stdout == "7 ü\n"

    def test_output_that_is_no_text_is_replaced(self, trusted):
        assert run_python(r"import os; os.write(1, b'a\xffb')", trusted=trusted).stdout == "a\ufffdb"

    def test_code_that_is_no_text_fails_by_itself(self, trusted):
        result = run_python("print('\ud800')", trusted=trusted)
        assert result.returncode == 1 and "SyntaxError" in result.stderr

    def test_it_is_the_main_program(self, trusted):
        assert run_python("print(__name__)", trusted=trusted).stdout == "__main__\n"

    def test_a_large_input_and_output_do_not_block_each_other(self, trusted):
        code = "import sys\nfor line in sys.stdin: sys.stdout.write(line)"
        text = ("x" * 99 + "\n") * 9000
        assert run_python(code, stdin=text, trusted=trusted).stdout == text

    def test_an_endless_program_is_killed(self, trusted):
        result = run_python("while True: pass", timeout_s=0.5, trusted=trusted)
        assert (result.timed_out, result.returncode) == (True, -9)

    @pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "main.py", "./main.py", ".", "", "a\0b"])
    def test_a_file_elsewhere_is_refused(self, name, trusted):
        with pytest.raises(ValueError, match="`files` takes relative names"):
            run_python("", files={name: ""}, trusted=trusted)

    @pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
    def test_the_time_is_checked(self, timeout_s, trusted):
        with pytest.raises(ValueError, match="`timeout_s` must be above 0"):
            run_python("", timeout_s=timeout_s, trusted=trusted)

    def test_the_memory_is_checked(self, trusted):
        with pytest.raises(ValueError, match="`memory_mb` must be at least 64.*got 8"):
            run_python("", memory_mb=8, trusted=trusted)

    def test_many_keep_their_order(self, trusted):
        codes = [f"import time; time.sleep({0.3 - n / 10}); print(input(), {n})" for n in range(4)]
        results = run_many(codes[:3], stdin=["a", "b", "c"], max_workers=3, trusted=trusted)
        assert [result.stdout for result in results] == ["a 0\n", "b 1\n", "c 2\n"]

    def test_many_run_at_the_same_time(self, trusted):
        start = time.monotonic()
        results = run_many(["import time; time.sleep(2)"] * 4, max_workers=4, trusted=trusted)
        assert all(result.ok for result in results)
        assert time.monotonic() - start < 7  # one after the other: 8

    def test_one_input_is_for_all(self, trusted):
        assert [r.stdout for r in run_many(["print(input())"] * 2, stdin="x", trusted=trusted)] == ["x\n"] * 2

    def test_many_check_their_arguments_before_they_run(self, trusted, tmp_path):
        mark = tmp_path / "ran"
        code = f"open({str(mark)!r}, 'w')"
        with pytest.raises(ValueError, match="1 programs but 2 texts"):
            run_many([code], stdin=["a", "b"], trusted=trusted)
        with pytest.raises(ValueError, match="`max_workers` must be at least 1, got 0"):
            run_many([code], max_workers=0, trusted=trusted)
        with pytest.raises(ValueError, match="timeout_s"):
            run_many([code], timeout_s=-1, trusted=trusted)
        with pytest.raises(ValueError, match="timeout_s"):
            run_many([], timeout_s=-1, trusted=trusted)
        assert not mark.exists()


def test_trusted_code_has_this_python_and_its_packages():
    assert run_python("import sys, pytest; print(sys.executable)", trusted=True).stdout.strip() == sys.executable


def test_trusted_code_leaves_no_files():
    folder = run_python("import os; print(os.getcwd())", trusted=True).stdout.strip()
    assert folder and not os.path.exists(folder)


def test_what_trusted_code_leaves_running_does_not_hold_up_its_result():
    """The child has the output open for a minute; in the program's group it is killed as well."""
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid)"
    result = run_python(code, timeout_s=20, trusted=True)
    assert result.ok and result.seconds < 10
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{int(result.stdout)}/exe") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{int(result.stdout)}/exe")


def test_a_result_is_ok_only_with_status_0_in_time():
    assert SandboxResult(0, "", "", False, False, 0.1).ok
    assert not SandboxResult(1, "", "", False, False, 0.1).ok
    assert not SandboxResult(0, "", "", True, False, 0.1).ok


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
@pytest.mark.parametrize("thing", [run_python, run_many])
def test_examples_in_the_docstrings(thing):
    example = doctest.DocTestParser().get_doctest(thing.__doc__.replace("```", ""), {}, thing.__name__, None, 0)
    assert example.examples and doctest.DocTestRunner().run(example).failed == 0
