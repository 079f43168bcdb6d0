"""`rlhf-ext feedback`: a page on which people compare, rate and rank answers."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .feedback_items import read_items
from .feedback_links import address, say_added, say_links, say_where
from .parsing import existing, load, parse
from .unread import refuse_unread
from .writers import WriterArguments, generator_of

_HELP = """\
usage: rlhf-ext feedback [serve] [--items FILE] [--database FILE] [--invite NAME ...] ...
       rlhf-ext feedback add     --items FILE [--database FILE]
       rlhf-ext feedback invite  --invite NAME ... [--database FILE]
       rlhf-ext feedback export  --output FILE.jsonl|FILE.parquet [--what preferences|ratings|demonstrations|thumbs|records|outcomes]
       rlhf-ext feedback ranking --output FOLDER [--database FILE | --rows FILE ...]

People compare, rate and rank answers in a browser. `serve` is what runs without a word: it adds the items, prints an
invitation link for each name and the admin's address, and serves until Ctrl-C. The admin's pages open with the password in
the environment variable RLHF_EXT_ADMIN_PASSWORD; without it they stay closed.

A row of --items has `prompt` and `responses`; and if wanted `kind` (comparison, rating, ranking), `models`, `category`,
`scales` (of a rating: {"helpfulness": [1, 5]}), `gold` (the right answer of an attention check), `wanted`, `priority`.
What `rlhf-ext select` writes is read as it is.

What people said of the responses of `rlhf-ext serve` is exported likewise, with --database gateway.sqlite; outcomes are what
`rlhf-ext ab report --outcomes` reads.

"""


_PATIENCE = 5.0
"""Seconds that the page waits for a locked database before it gives the answer back: somebody looks at it."""


@dataclass(kw_only=True)
class StoreArguments:
    """Where feedback is kept."""

    database: str = field(
        default="feedback.sqlite",
        metadata={"help": "SQLite file, or a URL such as postgresql+psycopg://user@host/name."},
    )


@dataclass(kw_only=True)
class ItemArguments(StoreArguments):
    """What people are asked."""

    items: str | None = field(
        default=None,
        metadata={"help": "Rows with prompt and responses: .jsonl, .json, .parquet, a folder, a hub name."},
    )
    annotators_per_item: int = field(default=1, metadata={"help": "People who answer each item that does not say."})


@dataclass(kw_only=True)
class InviteArguments(StoreArguments):
    """Whom to invite."""

    invite: list[str] = field(default_factory=list, metadata={"help": "Names of people; each gets a link."})
    public_url: str | None = field(
        default=None, metadata={"help": "How people reach the page, such as https://feedback.example.org."}
    )
    days: float = field(default=14.0, metadata={"help": "How long an invitation link works."})


@dataclass(kw_only=True)
class ServeArguments(ItemArguments, InviteArguments):
    """Arguments of `rlhf-ext feedback`."""

    host: str = field(default="127.0.0.1", metadata={"help": "Where to listen: by default this machine only."})
    port: int = field(default=8421, metadata={"help": "Port; 0 takes a free one."})
    allowed_hosts: list[str] = field(
        default_factory=list,
        metadata={"help": "Other names that the page goes by, beside loopback's and --public_url's."},
    )
    behind_proxy: bool = field(
        default=False, metadata={"help": "Whether a proxy on this machine passes on who asks (X-Forwarded-For)."}
    )
    title: str = field(default="Feedback", metadata={"help": "Stands on every page."})
    guidelines: str | None = field(default=None, metadata={"help": "Markdown file: what people should judge by."})
    lease_minutes: float = field(default=15.0, metadata={"help": "How long a question is held for one person."})
    gold_rate: float = field(
        default=0.1, metadata={"help": "Share of a person's questions that are gold, if there are."}
    )
    seed: int = field(default=0, metadata={"help": "Of sides, gold questions, and samples of --model."})


@dataclass(kw_only=True)
class LiveArguments(WriterArguments):
    """A model that writes fresh candidates while people answer."""

    model: str | None = field(  # type: ignore[assignment]
        default=None,
        metadata={"help": "Folder or hub name of a model that writes candidates; with --base_url, its name there."},
    )
    prompts: str | None = field(default=None, metadata={"help": "Rows with a prompt, for --model; or 'assistant'."})
    reward: str | None = field(default=None, metadata={"help": "Reward model by which --strategy chooses."})
    strategy: str | None = field(
        default=None,
        metadata={"help": "Of `rlhf-ext select`. By default d_optimal with --reward, else response_diversity."},
    )
    n: int = field(default=4, metadata={"help": "Answers sampled for each prompt."})
    max_new_tokens: int = field(default=256, metadata={"help": "Longest answer, in tokens."})
    temperature: float = field(default=1.0, metadata={"help": "Of the samples."})


def feedback(arguments: list[str]) -> None:
    """Serves the page, or adds items, invites people, exports, ranks the models."""
    from .ranking import ranking

    actions = {"serve": _serve, "add": _add, "invite": _invite, "export": _export, "ranking": ranking}
    action, rest = (arguments[0], arguments[1:]) if arguments[:1] and arguments[0] in actions else ("serve", arguments)
    if rest[:1] and not rest[0].startswith("-"):
        raise ValueError(f"unknown action {rest[0]!r}; there are {', '.join(actions)}.")
    if rest and rest[0] in ("-h", "--help"):
        sys.stdout.write(_HELP)
    actions[action](rest)


def _serve(arguments: list[str]) -> None:
    options, live = parse("feedback serve", [ServeArguments, LiveArguments], arguments)
    from ..data.store import Annotators, FeedbackStore, WorkQueue
    from ..deployment import feedback_ui as ui

    rows = read_items(options.items, options.annotators_per_item)
    if live.model is None:
        of_writer = ("prompts", "reward", "strategy", "n", "max_new_tokens", "temperature", "base_url")
        refuse_unread(live, of_writer, "is for --model, which is not given")
    elif live.prompts is None:
        raise ValueError("--model writes answers to prompts: give them with --prompts.")
    with ui.listen(options.host, options.port) as at:
        public_url = options.public_url or address(options.host, at.getsockname()[1])
        settings = _settings(options, public_url)
        store = FeedbackStore(options.database, wait=_PATIENCE)
        queue = WorkQueue(store, options.lease_minutes * 60, options.gold_rate, options.seed)
        say_added(options.items, queue.add(rows), len(rows))
        source = None if live.model is None else ui.LiveItems(_fresh(live, live.model, options))
        annotators = Annotators(store)
        names = options.invite or ([] if annotators.list() else ["annotator 1"])
        say_links(annotators, names, public_url, options.days)
        say_where(settings, public_url, options, ui.is_loopback(options.host))
        ui.serve(ui.create_feedback_app(queue, settings, source), at, options.behind_proxy)
        store.close()


def _add(arguments: list[str]) -> None:
    (options,) = parse("feedback add", [ItemArguments], arguments)
    from ..data.store import FeedbackStore, WorkQueue

    if options.items is None:
        raise ValueError("--items is needed: a file of rows with prompt and responses.")
    rows = read_items(options.items, options.annotators_per_item)
    say_added(options.items, WorkQueue(FeedbackStore(options.database)).add(rows), len(rows))


def _invite(arguments: list[str]) -> None:
    (options,) = parse("feedback invite", [InviteArguments], arguments)
    from ..data.store import Annotators, FeedbackStore

    if not options.invite:
        raise ValueError("--invite is needed: one or more names.")
    store = FeedbackStore(options.database)
    say_links(
        Annotators(store), options.invite, options.public_url or address("127.0.0.1", 8421), options.days, anew=True
    )


@dataclass(kw_only=True)
class ExportArguments(StoreArguments):
    """Arguments of `rlhf-ext feedback export`."""

    output: str = field(default="", metadata={"help": "File to write, .jsonl or .parquet."})
    what: str = field(
        default="preferences",
        metadata={
            "help": "What to export.",
            "choices": ["preferences", "ratings", "demonstrations", "thumbs", "records", "outcomes"],
        },
    )
    min_annotators: int = field(default=1, metadata={"help": "Items with fewer people are left out."})
    min_gold_right: float = field(
        default=0.0, metadata={"help": "Who answered less of at least 5 gold questions rightly is left out."}
    )
    strength: str = field(
        default="mean",
        metadata={"help": "Strength of a preference: of the sliders, or of votes.", "choices": ["mean", "votes"]},
    )
    ties: str = field(default="drop", metadata={"help": "What becomes of ties.", "choices": ["drop", "keep"]})
    as_messages: bool = field(default=False, metadata={"help": "Plain texts as messages too."})
    experiment: str | None = field(default=None, metadata={"help": "Of `outcomes`: this experiment only."})


_ANSWERS = ("preferences", "ratings", "demonstrations", "thumbs")
_OF_EXPORTS = {
    **dict.fromkeys(("min_annotators", "min_gold_right", "as_messages"), _ANSWERS),
    **dict.fromkeys(("strength", "ties"), ("preferences",)),
    "experiment": ("outcomes",),
}
"""The flags that are not for every export, with those that they are for."""


def _export(arguments: list[str]) -> None:
    (options,) = parse("feedback export", [ExportArguments], arguments)
    unread = [flag for flag, kinds in _OF_EXPORTS.items() if options.what not in kinds]
    refuse_unread(options, unread, f"is not for --what {options.what}")
    from ..data.store import FeedbackStore, WorkQueue, export, failed_annotators

    if not options.output:
        raise ValueError("--output is needed: a file ending in .jsonl or .parquet.")
    store = FeedbackStore(existing(options.database))
    settings: dict[str, Any] = {}
    if options.what == "outcomes":
        settings = {"experiment": options.experiment}
    elif options.what != "records":
        failed = failed_annotators(WorkQueue(store).overview(), options.min_gold_right)
        settings = {"min_annotators": options.min_annotators, "exclude": failed, "as_messages": options.as_messages}
    if options.what == "preferences":
        settings |= {"strength": options.strength, "ties": options.ties}
    written = export(store, options.output, options.what, **settings)
    for reason, count in sorted(written.left_out.items()):
        sys.stdout.write(f"  {count:>6}  left out: {reason}\n")
    sys.stdout.write(f"{options.what}  {written.rows} rows  {written.path}\n")


def _settings(options: ServeArguments, public_url: str) -> Any:
    from ..deployment import feedback_ui as ui

    return ui.FeedbackSettings(
        title=options.title,
        guidelines="" if options.guidelines is None else Path(options.guidelines).read_text(encoding="utf-8"),
        admin_password=os.environ.get("RLHF_EXT_ADMIN_PASSWORD") or None,
        secret_key=ui.secret_key(options.database),
        public_url=public_url,
        allowed_hosts=tuple(options.allowed_hosts),
    )


def _fresh(live: LiveArguments, model: str, options: ServeArguments) -> Any:
    """Batches of fresh comparisons. What was sampled is kept in the database, so that a restart does not sample it again."""
    from ..data.store import JudgementStore
    from ..deployment.feedback_ui import fresh_comparisons

    prompts = list(load(live.prompts, "train")["prompt"])
    reward = None
    if live.reward is not None:
        from ..rewards import RewardModel

        reward = RewardModel(live.reward)
    return fresh_comparisons(
        generator_of(live, model, live.base_url),
        prompts,
        reward=reward,
        strategy=live.strategy,
        n=live.n,
        wanted=options.annotators_per_item,
        seed=options.seed,
        store=JudgementStore(options.database),
        max_new_tokens=live.max_new_tokens,
        temperature=live.temperature,
    )
