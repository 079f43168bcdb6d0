"""`rlhf-ext feedback ranking`: models ranked by what people, or judges, said of their answers."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .parsing import existing, load, parse


@dataclass(kw_only=True)
class RankingArguments:
    """Arguments of `rlhf-ext feedback ranking`."""

    database: str = field(
        default="feedback.sqlite",
        metadata={"help": "SQLite file, or a URL such as postgresql+psycopg://user@host/name."},
    )
    rows: list[str] = field(
        default_factory=list,
        metadata={
            "help": "In place of a database: preferences with chosen_model and rejected_model, such as `label` writes (and its "
            "left_out.jsonl): files, folders or hub names."
        },
    )
    output: str = field(default="ranking", metadata={"help": "Folder for report.html, report.json, leaderboard.json."})
    source: str | None = field(
        default=None,
        metadata={
            "help": "Whose votes rank the models; people's where there are any by default.",
            "choices": ["human", "ai"],
        },
    )
    wins: str = field(
        default="votes",
        metadata={"help": "Count won, lost, even; or the strengths as given.", "choices": ["votes", "strengths"]},
    )
    cluster_by: str = field(
        default="item",
        metadata={"help": "What intervals resample together.", "choices": ["item", "annotator", "both"]},
    )
    anchor: str | None = field(
        default=None, metadata={"help": "The model that Elo counts from; by default the middle."}
    )
    unknown: str = field(
        default="refuse",
        metadata={"help": "What becomes of answers of unknown models.", "choices": ["refuse", "leave_out"]},
    )
    min_gold_right: float = field(
        default=0.0, metadata={"help": "Who answered less of at least 5 gold questions rightly is left out."}
    )
    gold: bool = field(default=False, metadata={"help": "Whether gold items count."})
    flagged: bool = field(default=False, metadata={"help": "Whether answers count whose author flagged the item."})
    seed: int = field(default=0, metadata={"help": "Of the intervals."})


def ranking(arguments: list[str]) -> None:
    """Ranks models; writes the report."""
    (options,) = parse("feedback ranking", [RankingArguments], arguments)
    from ..evaluation.human import rank_models
    from ..evaluation.report import render_table, replace_file, write_report

    folder = Path(options.output)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"--output {options.output} is a file; give a folder.")
    answers = _answers(options)
    settings = {name: getattr(options, name) for name in ("source", "wins", "cluster_by", "anchor", "seed")}
    board = rank_models(answers, **settings)
    report = board.to_report(subtitle=", ".join(options.rows) or options.database)
    path = write_report(report, folder)
    replace_file(folder / "leaderboard.json", json.dumps(board.to_dict(), indent=2, allow_nan=False) + "\n")
    notes = "\n".join(f"- {note}" for note in report.notes)
    sys.stdout.write(f"\n{render_table(report)}\n\n{notes}\n\nreport  {path}\n")


def _answers(options: RankingArguments) -> Any:
    from ..evaluation.human import answers_from_rows, answers_from_store

    unknown: Any = options.unknown
    if options.rows:
        for name, default in (("min_gold_right", 0.0), ("gold", False), ("flagged", False)):
            if getattr(options, name) != default:
                raise ValueError(f"--{name} is for a --database: rows do not say.")
        return answers_from_rows((row for name in options.rows for row in _rows(name)), unknown)
    existing(options.database, ", or --rows")
    from ..data.store import FeedbackStore, WorkQueue, failed_annotators

    store = FeedbackStore(options.database)
    failed = failed_annotators(WorkQueue(store).overview(), options.min_gold_right)
    return answers_from_store(store, exclude=failed, gold=options.gold, flagged=options.flagged, unknown=unknown)


def _rows(name: str) -> Any:
    # A labeler's file of what was left out may be empty, which no data set can be.
    if name.endswith(".jsonl") and Path(name).is_file() and not Path(name).read_text(encoding="utf-8").strip():
        return []
    return load(name, "train")
