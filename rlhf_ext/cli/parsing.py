"""What all commands share: their arguments are TRL's, their data comes from one place."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn


@dataclass
class DataArguments:
    """The data of a command."""

    preferences: str = field(
        metadata={"help": "Preferences: .jsonl, .json, .parquet, a saved folder, a hub name, or 'assistant'."}
    )
    heldout: str | None = field(default=None, metadata={"help": "Held-out preferences, likewise."})


def parse(command: str, dataclasses: list[type], arguments: list[str], **defaults: Any) -> tuple[Any, ...]:
    """One object a dataclass, from flags and `--config FILE`.

    Raises:
        ValueError: If a flag is unknown or has a wrong value.
    """
    import torch
    from transformers.utils import logging
    from trl import TrlParser

    from .._allocator import keep_freed_memory
    from .._processes import leave_group_at_exit

    leave_group_at_exit()
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # for functions of one's own by dotted path, as with `python -m`
    logging.disable_progress_bar()  # of weights being loaded; stages have bars of their own
    if not torch.accelerator.is_available():
        keep_freed_memory()

    class Parser(TrlParser):
        def error(self, message: str) -> NoReturn:
            raise ValueError(f"{message}. See rlhf-ext {command} --help")

    parser = Parser(dataclasses, prog=f"rlhf-ext {command}")
    known = {action.dest for action in parser._actions}
    parser.set_defaults(**{name: value for name, value in defaults.items() if name in known})
    if "--config" in arguments and arguments.index("--config") + 1 == len(arguments):
        parser.error("--config needs a file")
    return parser.parse_args_and_config(arguments)


def existing(database: str, otherwise: str = "") -> str:
    """A database that is only read from: a mistyped name would make a new one, in which there is nothing.

    Raises:
        FileNotFoundError: If it is a file, and there is none.
    """
    if "://" not in database and not Path(database).is_file():
        raise FileNotFoundError(f"There is no database {database!r}: give --database{otherwise}.")
    return database


def load(name: str | None, split: str) -> Any:
    """Preferences by file, folder or name; None stays None."""
    from ..data.preferences import assistant_preferences, load_preferences

    if name is None:
        return None
    return assistant_preferences(split) if name == "assistant" else load_preferences(name)  # type: ignore[arg-type]
