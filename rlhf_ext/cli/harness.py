"""`rlhf-ext harness`: suites as tasks of lm-eval, and lm-eval's results as reports."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .parsing import parse
from .writers import needed

_HELP = """\
usage: rlhf-ext harness export --suite NAME [--output FOLDER]
       rlhf-ext harness read   --results FILE|FOLDER [--baseline FILE|FOLDER] [--output FOLDER]

`export` writes a suite as a task that lm_eval runs with --include_path; `read` makes a report of what lm_eval --output_path wrote.

"""


@dataclass(kw_only=True)
class ExportArguments:
    """Arguments of `rlhf-ext harness export`."""

    suite: str = field(default="", metadata={"help": "A suite such as safety, or your own as module:function."})
    settings: str | None = field(
        default=None, metadata={"help": "Its settings as JSON, such as '{\"jailbreaks_per_category\": 1}'."}
    )
    task: str | None = field(default=None, metadata={"help": "The task's name; by default rlhf_ext_SUITE."})
    output: str = field(default="tasks", metadata={"help": "Folder of the task."})


@dataclass(kw_only=True)
class ReadArguments:
    """Arguments of `rlhf-ext harness read`."""

    results: str = field(default="", metadata={"help": "lm-eval's results_*.json, or the folder that it is in."})
    baseline: str | None = field(default=None, metadata={"help": "Results to compare with, likewise."})
    output: str = field(default="harness", metadata={"help": "Folder for report.html and report.json."})


def harness(arguments: list[str]) -> None:
    """Exports a suite, or reads results."""
    actions = {"export": _export, "read": _read}
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_HELP)
        return
    if arguments[0] not in actions:
        raise ValueError(f"unknown action {arguments[0]!r}; there are {', '.join(actions)}.")
    actions[arguments[0]](arguments[1:])


def _export(arguments: list[str]) -> None:
    (options,) = parse("harness export", [ExportArguments], arguments)
    needed("harness export", "suite", options.suite)
    from ..evaluation.harness import export_suite
    from ..evaluation.harness.exporting import command

    path = export_suite(options.suite, options.output, _settings(options.settings), task=options.task)
    sys.stdout.write(f"task  {path}\n\n{command(path)}\nrlhf-ext harness read --results results --output report\n")


def _settings(text: str | None) -> dict[str, Any]:
    import json

    if text is None:
        return {}
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--settings should be a JSON object, got {text!r} ({error}).") from error
    if not isinstance(found, dict):
        raise ValueError(f"--settings should be a JSON object, got {text!r}.")
    return found


def _read(arguments: list[str]) -> None:
    (options,) = parse("harness read", [ReadArguments], arguments)
    needed("harness read", "results", options.results)
    from ..evaluation.answers_shown import write_answers
    from ..evaluation.harness import harness_report, read_results
    from ..evaluation.report import render_table, write_report

    folder = Path(options.output)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"--output {options.output} is a file; give a folder.")
    after = read_results(options.results)
    before = None if options.baseline is None else read_results(options.baseline)
    report = harness_report(after, before)
    path = write_report(report, folder)
    for result in after.results:
        write_answers(folder / f"{result.suite}.jsonl", result)
    notes = "\n".join(f"- {note}" for note in report.notes)
    sys.stdout.write(f"\n{render_table(report)}\n\n{notes}\n\nreport  {path}\n")
