"""What pages tell a reader to type: every command, flag and value that rlhf-ext is given there is one that it has."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from trl import TrlParser

from rlhf_ext import cli
from tests.docs.markdown import PAGES, ROOT, name_of, prose, shell_commands

COMMANDS = [(page, line) for page in PAGES for line in shell_commands(page)]
OURS = [(page, line) for page, line in COMMANDS if line.startswith("rlhf-ext ")]
# Flags that prose names and that belong to other programs.
FOREIGN = {
    "--tasks",
    "--include_path",
    "--output_path",
    "--log_samples",
    "--apply_chat_template",
    "--no-deps",
    "--dataset_name",
}


class Parsed(Exception):
    """Ends a command once its arguments are read."""

    def __init__(self, parser: argparse.ArgumentParser):
        self.parser = parser


def stop_after_parsing(monkeypatch: pytest.MonkeyPatch, complete: bool) -> None:
    """Has every command read its arguments with its own dataclasses and then stop; unless complete, none is needed."""

    def parse(command: str, dataclasses: list[type], arguments: list[str], **defaults: Any) -> None:
        parser = TrlParser(dataclasses, prog=f"rlhf-ext {command}", exit_on_error=False, allow_abbrev=False)
        for action in parser._actions:
            action.required = action.required and complete
        _, unknown = parser.parse_known_args(arguments)
        if unknown:
            raise ValueError(f"rlhf-ext {command} has no {unknown[0]}")
        raise Parsed(parser)

    for module in set(cli._COMMANDS.values()) | {"ranking"}:
        monkeypatch.setattr(importlib.import_module(f"rlhf_ext.cli.{module}"), "parse", parse)


def words_of(line: str) -> tuple[list[str], bool]:
    """A command's arguments, without notes and dots, and whether the page gives all that it needs."""
    words = shlex.split(line.split(" # ")[0].split("        #")[0].split(" -> ")[0].split(" > ")[0])[1:]
    whole = "..." not in words and "--config" not in words
    words = [word for word in words if word != "..."]
    if "--config" in words:  # a file of the reader's
        at = words.index("--config")
        del words[at : at + 2]
    return words, whole


def check(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words, whole = words_of(line)
    command, rest = words[0], words[1:]
    if command == "COMMAND" or rest in (["--help"],):
        return
    assert command in cli._COMMANDS, f"there is no rlhf-ext {command}"
    stop_after_parsing(monkeypatch, whole)
    try:
        getattr(importlib.import_module(f"rlhf_ext.cli.{cli._COMMANDS[command]}"), command)(rest)
    except Parsed:
        return
    except (argparse.ArgumentError, ValueError, SystemExit) as error:
        pytest.fail(f"{line}\n{error}")
    pytest.fail(f"{line}\nreads no arguments")


@pytest.mark.parametrize(("page", "line"), OURS, ids=[f"{name_of(page)}: {line[:60]}" for page, line in OURS])
def test_a_command_on_a_page_parses(page: Path, line: str, monkeypatch: pytest.MonkeyPatch):
    check(line, monkeypatch)


@pytest.mark.parametrize(
    "line",
    [
        "rlhf-ext run --preferences data.jsonl --modelname gpt2",
        "rlhf-ext run --preferences data.jsonl --algorithm grpo",
        "rlhf-ext validate --reward_model ./reward_model",
        "rlhf-ext feedback export --outputs x.jsonl",
        "rlhf-ext serve keys add --nam app",
        "rlhf-ext trian",
    ],
)
def test_a_wrong_command_flag_or_value_is_found(line: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(line, monkeypatch)


def all_flags(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every flag of every command, of the benchmarks and the examples."""
    stop_after_parsing(monkeypatch, complete=False)
    actions = {
        "feedback": ["serve", "add", "invite", "export", "ranking"],
        "harness": ["export", "read"],
        "ab": ["report"],
    }
    calls = [(name, [action]) for name, several in actions.items() for action in several]
    calls += [("serve", words) for words in (["keys", "add"], ["forget"])]
    calls += [(name, ["--port", "1"] if name == "serve" else []) for name in cli._COMMANDS if name not in actions]
    found: set[str] = {"--config", "--help", "--version"}
    for name, words in calls:
        with pytest.raises(Parsed) as parsed:
            getattr(importlib.import_module(f"rlhf_ext.cli.{cli._COMMANDS[name]}"), name)(words)
        found |= set(parsed.value.parser._option_string_actions)
    for script in (ROOT / "benchmarks").glob("*.py"):
        found |= set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', script.read_text(encoding="utf-8")))
    for script in (ROOT / "examples").rglob("*.py"):  # fields of their dataclasses
        found |= {
            f"--{name}" for name in re.findall(r"^    (\w+): [^=\n]+ = ", script.read_text(encoding="utf-8"), re.M)
        }
    return found


def test_flags_that_prose_names_are_there(monkeypatch: pytest.MonkeyPatch):
    known = all_flags(monkeypatch) | FOREIGN
    named = [(name_of(page), flag) for page in PAGES for flag in re.findall(r"`[^`\n]*?(--[a-z][\w-]*)", prose(page))]
    assert len(named) > 30
    assert [(page, flag) for page, flag in named if flag not in known] == []


def test_what_pages_have_make_and_python_do_is_there():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for page, line in COMMANDS:
        if found := re.match(r"make (\w+)", line):
            assert found[1] in targets, f"{name_of(page)}: {line}"
        for script in re.findall(r"python ((?:benchmarks|examples|tests)/[\w/]+\.py)", line):
            assert (ROOT / script).is_file(), f"{name_of(page)}: {line}"
    for page in PAGES:
        for script in re.findall(r"\b((?:benchmarks|examples|tests)/[\w/]+\.py)\b", prose(page)):
            assert (ROOT / script).is_file(), f"{name_of(page)}: {script}"
