"""A suite as a task of lm-eval: a folder with YAML, the prompts, and a few lines of Python, for `--include_path`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ... import __version__
from ...generation import check_sampling
from ...types import is_messages, text_of
from ..report import replace_file
from ..suite import EMPTY, Column, Suite, check_suite
from ..suites import load_suite

SUITE = "suite"
"""Aggregation of figures that are reduced over the answers to several prompts: the suite measures all answers at once."""


def export_suite(
    source: str,
    folder: str | Path,
    settings: Mapping[str, Any] | None = None,
    suite: Suite | None = None,
    task: str | None = None,
) -> Path:
    """Writes a suite as a task that `lm_eval --tasks TASK --include_path FOLDER` runs, with no hub.

    The prompts lie in the folder, which can be moved. The measures are the suite's own: lm-eval's process makes it again from
    `source` and `settings`, so rlhf_ext has to be installed there, in a version whose suite is the same (that is checked).
    Figures of single answers are means with lm-eval's standard errors; those over the answers to several prompts (any of
    the variants of a prompt) are measured at the end, and have none. Several samples of a prompt are documents of their own.

    Args:
        source (`str`):
            Where the suite comes from, as for [`~rlhf_ext.evaluation.suites.load_suite`]: `"safety"`, or `"module:function"`.
        folder (`str` or `Path`):
            Where it goes; made if missing.
        settings (`dict`, *optional*):
            Arguments of the function, plain values.
        suite ([`~rlhf_ext.evaluation.suite.Suite`], *optional*):
            The suite as it is used here, if it was made otherwise: refused where it measures what the exported one cannot.
        task (`str`, *optional*):
            The task's name; by default `rlhf_ext_` and the suite's.

    Returns:
        `Path`: the task's YAML.

    Raises:
        ValueError: If settings are no plain values, `suite` has figures that need something which cannot be written down (a
            judge, a model: the figures are named) or differs in its prompts, chats are mixed with plain prompts, or the
            task's name is no name. Nothing is written then.

    Example:
    ```python
    >>> import tempfile
    >>> from rlhf_ext.evaluation.harness import export_suite

    >>> path = export_suite("safety", tempfile.mkdtemp())
    >>> sorted(file.name for file in path.parent.iterdir())
    ['README.md', 'rlhf_ext_safety.jsonl', 'rlhf_ext_safety.py', 'rlhf_ext_safety.yaml']

    ```
    """
    settings = dict(settings or {})
    try:
        json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The settings of {source!r} cannot be written into a task ({error}): a judge or a model cannot go along. Export "
            "the suite without them; it then measures what needs neither."
        ) from error
    exported = load_suite(source, **settings)
    if suite is not None:
        _check_same(suite, exported, source)
    task = f"rlhf_ext_{exported.name}" if task is None else task
    if not re.fullmatch(r"[A-Za-z_]\w*", task, re.ASCII):
        raise ValueError(f"The task's name {task!r} should be letters, digits and underscores.")
    chats = _all_chats(exported)
    config = _config(task, exported, source, settings)
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file; give a folder.")
    target.mkdir(parents=True, exist_ok=True)
    replace_file(target / f"{task}.jsonl", "".join(json.dumps(row) + "\n" for row in _rows(exported)))
    replace_file(target / f"{task}.py", _PYTHON.format(name=exported.name, version=__version__))
    replace_file(target / "README.md", _README.format(task=task, name=exported.name, chat=_CHAT * chats))
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    replace_file(target / f"{task}.yaml", f"class: !function {task}.Task\n{text}")
    return target / f"{task}.yaml"


def command(path: Path) -> str:
    """How the task at a path is run."""
    with path.with_suffix(".jsonl").open(encoding="utf-8") as file:
        chats = bool(json.loads(file.readline())["messages"])
    return (
        f"lm_eval --model hf --model_args pretrained=MODEL --tasks {path.stem} --include_path {path.parent}"
        f"{' --apply_chat_template' * chats} --log_samples --output_path results"
    )


def _check_same(suite: Suite, exported: Suite, source: str) -> None:
    check_suite(suite)
    if missing := [name for name in suite.figures if name not in exported.figures]:
        raise ValueError(
            f"{', '.join(missing)} of the suite {suite.name!r} cannot be exported: what {source!r} makes of plain settings does "
            "not measure them. They need a judge or a model, which lm-eval's process does not have. Export without `suite`, and "
            "measure them with `rlhf-ext evaluate`."
        )
    if [case.id for case in suite.cases] != [case.id for case in exported.cases]:
        raise ValueError(f"The suite {suite.name!r} has other prompts than {source!r} with these settings.")


def _all_chats(suite: Suite) -> bool:
    """Whether the prompts are chats: lm-eval applies the chat template to all of a run or to none."""
    chats = [case for case in suite.cases if is_messages(case.prompt)]
    if chats and len(chats) < len(suite.cases):
        plain = next(case.id for case in suite.cases if not is_messages(case.prompt))
        raise ValueError(
            f"The suite {suite.name!r} mixes chats ({chats[0].id!r}) with plain prompts ({plain!r}): lm-eval applies the chat "
            "template to all or to none. Split it."
        )
    return bool(chats)


def _rows(suite: Suite) -> list[dict[str, Any]]:
    """A document for each sample of each case. Messages are text, since columns of a data set have one type."""
    return [
        {
            "case": case.id,
            "sample": sample,
            "category": case.category,
            "text": text_of(case.prompt),
            "messages": json.dumps(case.prompt) if is_messages(case.prompt) else "",
            "columns": json.dumps(case.columns),
        }
        for case in suite.cases
        for sample in range(suite.samples)
    ]


def _config(task: str, suite: Suite, source: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    # One answer is enough to know the columns: their names, and which way is better.
    try:
        known = {column.name: column for column in suite.measure(suite.cases[:1], ["-"])}
    except ValueError as error:
        raise ValueError(
            f"The suite {suite.name!r} cannot be exported: {error} What needs the model itself is measured by `rlhf-ext evaluate` "
            "alone; leave it out."
        ) from error
    empty = Column(EMPTY, "Empty answers", [], better="lower")
    metrics = [_metric(name, known.get(name)) for name in suite.figures] + [_metric(EMPTY, empty)]
    return {
        "task": task,
        "output_type": "generate_until",
        "test_split": "test",
        "doc_to_text": "text",
        "doc_to_target": "",
        "generation_kwargs": _generation(suite),
        "metric_list": metrics,
        "metadata": {
            "version": suite.version,
            "source": source,
            "settings": dict(settings),
            "rlhf_ext": __version__,
        },
    }


def _metric(name: str, column: Column | None) -> dict[str, Any]:
    alone = column is not None and column.per == "answer"
    better = None if column is None or column.better is None else column.better == "higher"
    return {"metric": name, "aggregation": "mean" if alone else SUITE, "higher_is_better": better}


def _generation(suite: Suite) -> dict[str, Any]:
    sampling = check_sampling(suite.sampling)
    asked = {"until": list(sampling.get("stop") or []), "max_gen_toks": sampling["max_new_tokens"]}
    if not sampling["temperature"]:
        return {**asked, "do_sample": False, "temperature": 0.0}
    nucleus = {name: sampling[name] for name, off in (("top_p", 1.0), ("top_k", 0)) if sampling.get(name, off) != off}
    return {**asked, "do_sample": True, "temperature": sampling["temperature"], **nucleus}


_PYTHON = '''\
"""The suite {name!r} of rlhf_ext {version} as a task of lm-eval."""

from pathlib import Path

from rlhf_ext.evaluation.harness.task import SuiteTask


class Task(SuiteTask):
    folder = Path(__file__).parent
'''

_CHAT = " --apply_chat_template"

_README = """\
# The suite "{name}" for lm-eval

    lm_eval --model hf --model_args pretrained=MODEL --tasks {task} --include_path . \\
       {chat} --log_samples --output_path results
    rlhf-ext harness read --results results --output report

Needs rlhf_ext beside lm-eval: the measures are the suite's own. Prompts that are longer than the model reads are cut by lm-eval on
the left; `rlhf-ext evaluate` counts them as failed.
"""
