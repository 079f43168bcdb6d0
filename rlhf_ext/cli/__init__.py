"""The command line: `rlhf-ext COMMAND`; without one it lists what there is.

Arguments are TRL's: every field of a configuration is a flag, and `--config FILE` reads them from YAML. A user's
mistake ends in one line on stderr and exit code 2; `RLHF_EXT_TRACEBACK=1` shows where it came from.
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from collections.abc import Sequence

_HELP = """\
usage: rlhf-ext COMMAND [--config FILE.yaml] [--FIELD VALUE ...]

What RLHF needs and TRL does not have.

commands:
  demo     the whole job on SmolLM2-135M-Instruct, on two cores in minutes (--algorithm ppo|dpo, --tiny)
  run      preferences in, an aligned and measured model out (--model_name, --preferences, --algorithm, ...)
  sample   answers to prompts from one or more models, for label to choose among
  label    preferences from a language model that compares answers, or grades them
  revise   answers criticised and revised by a constitution, as data sets
  select   comparisons worth asking people about, chosen by active selection
  feedback a page on which people compare, rate and rank answers (--items, --invite, --model, ...); `ranking` ranks models by it
  reward   train a reward model
  validate measure a reward model on held-out preferences; with --thresholds, exit code 1 where it fails them
  dpo      DPO with graded preferences
  ppo      PPO against a reward model
  harness  suites as tasks of lm-eval (export), and its results as a report (read)
  evaluate suites put to a model, and to a baseline; with --thresholds, exit code 1 where a release gate fails
  serve    an OpenAI-compatible gateway in front of models: keys, limits, A/B tests, filters, feedback
  ab       report: what an A/B test has shown so far, to be looked at as often as you like

`rlhf-ext COMMAND --help` lists a command's fields.
"""

# Modules are imported when their command is called: `--help` should answer at once.
_COMMANDS = {
    "demo": "jobs",
    "run": "jobs",
    "sample": "sampling",
    "label": "labeling",
    "revise": "labeling",
    "select": "selection",
    "feedback": "feedback",
    "reward": "training",
    "validate": "validation",
    "dpo": "training",
    "ppo": "training",
    "evaluate": "evaluation",
    "harness": "harness",
    "serve": "serving",
    "ab": "experiments",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv (`Sequence[str]`, *optional*):
            Arguments after the program's name; `sys.argv` by default.

    Returns:
        `int`: 0, or 1 where a gate fails, or 2 after a user's mistake, or 130 after an interrupt.
    """
    command, *arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help"):
        sys.stdout.write(_HELP)
        return 0
    if command == "--version":
        from .. import __version__

        sys.stdout.write(f"rlhf_ext {__version__}\n")
        return 0
    if command not in _COMMANDS:
        return _complain(f"unknown command {command!r}; there are {', '.join(_COMMANDS)}.")
    # `--config=FILE` as well as `--config FILE`; TRL reads the latter alone.
    arguments = [part for a in arguments for part in (a.split("=", 1) if a.startswith("--config=") else [a])]
    for flag, name in itertools.pairwise(arguments):
        if flag == "--config" and not os.path.isfile(name):
            return _complain(f"No such file: {name}. --config takes a YAML file of the command's fields.")
    import warnings

    import yaml

    from ..sandbox import SandboxUnavailable

    # Notes of libraries to their developers, and bars for what takes no time, would bury what the user should see.
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        return getattr(importlib.import_module(f".{_COMMANDS[command]}", __name__), command)(arguments) or 0
    except (
        *(ValueError, TypeError, OSError, ImportError, FloatingPointError),
        *(NotImplementedError, yaml.YAMLError, SandboxUnavailable),
    ) as error:
        if os.environ.get("RLHF_EXT_TRACEBACK"):
            raise
        return _complain(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("\nrlhf-ext: interrupted. The same command goes on where it stopped.\n")
        return 130


def _complain(message: str) -> int:
    sys.stderr.write(f"rlhf-ext: {' '.join(message.split())}\n")
    return 2
