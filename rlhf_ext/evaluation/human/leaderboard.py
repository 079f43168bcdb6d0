"""Models ranked by what people, or judges, said of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ...stats import BradleyTerry, Estimate, NotConnected, bradley_terry
from .agreement import Agreement, agreement_of, agreement_with_judges, labels_of
from .answers import Answers, Rating, Vote
from .figures import Clusters, Pair, Wins, by_pair, first_shown, means, won

ClusterBy = Literal["item", "annotator", "both"]


@dataclass(frozen=True)
class Leaderboard:
    """Models by what was said of their answers, with how sure that is.

    Args:
        models (`list[str]`):
            The strongest first; where there are no strengths, by name.
        bradley_terry ([`~rlhf_ext.stats.BradleyTerry`], *optional*):
            Strengths and ranks; `None` where there are no comparisons, or none that join all models (`notes` say so).
        win_rates (`dict[tuple[str, str], Estimate]`):
            How often the one is preferred to the other, ties counted half, for both orders of each pair that was compared.
        at_equal_length (`dict[tuple[str, str], Estimate]`):
            The same as it would be at equal length, where that can be told.
        ties (`dict[tuple[str, str], Estimate]`):
            The share of ties.
        ratings (`dict[str, dict[str, Estimate]]`):
            Means of ratings by scale and model, in the scale's units.
        first_shown (`Estimate`, *optional*):
            How often the answer that was shown first won, ties left out: 0.5 without a bias.
        agreement (`list[Agreement]`):
            Of people among themselves, and with each judge.
        counts (`dict[str, int]`):
            Votes, ratings, items and annotators that the figures rest on.
        left_out (`dict[str, int]`):
            What was not counted, by reason.
        notes (`list[str]`):
            What must be known before the figures are trusted.
        settings (`dict[str, str]`):
            How they were made.
    """

    models: list[str]
    bradley_terry: BradleyTerry | None
    win_rates: dict[Pair, Estimate]
    at_equal_length: dict[Pair, Estimate]
    ties: dict[Pair, Estimate]
    ratings: dict[str, dict[str, Estimate]]
    first_shown: Estimate | None
    agreement: list[Agreement]
    counts: dict[str, int]
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)

    def to_report(self, title: str = "Models, as people see them", subtitle: str = "") -> Any:
        """A [`~rlhf_ext.evaluation.report.Report`] to be shown or written."""
        from .page import make_page

        return make_page(self, title, subtitle)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: a pair of models is `"a > b"`, an infinite end is `None`."""

        def plain(found: dict[Pair, Estimate]) -> dict[str, Any]:
            return {f"{a} > {b}": estimate.to_dict() for (a, b), estimate in found.items()}

        strengths = self.bradley_terry
        return {
            "models": self.models,
            "elo": {} if strengths is None else {name: one.to_dict() for name, one in strengths.elo().items()},
            "ranks": {} if strengths is None else {name: list(rank) for name, rank in strengths.ranks().items()},
            "win_rates": plain(self.win_rates),
            "at_equal_length": plain(self.at_equal_length),
            "ties": plain(self.ties),
            "ratings": {
                scale: {name: one.to_dict() for name, one in found.items()} for scale, found in self.ratings.items()
            },
            "first_shown": self.first_shown and self.first_shown.to_dict(),
            "agreement": [
                {"what": one.what, "measure": one.measure, "estimate": one.estimate and one.estimate.to_dict()}
                for one in self.agreement
            ],
            "counts": self.counts,
            "left_out": self.left_out,
            "notes": self.notes,
            "settings": self.settings,
        }

    def __str__(self) -> str:
        from ..report import render_table

        return render_table(self.to_report())


def rank_models(
    answers: Answers,
    source: Literal["human", "ai"] | None = None,
    wins: Wins = "votes",
    cluster_by: ClusterBy = "item",
    anchor: str | None = None,
    resamples: int = 1_000,
    seed: int = 0,
) -> Leaderboard:
    """Strengths, win rates, ratings and agreement.

    Args:
        answers ([`Answers`]):
            Votes and ratings, from [`answers_from_store`] or [`answers_from_rows`].
        source (`str`, *optional*):
            Whose votes rank the models: `"human"` or `"ai"`; people's where there are any by default. Never both at once: they
            are compared under `agreement`.
        wins (`str`, *optional*, defaults to `"votes"`):
            `"votes"`: won, lost or even. `"strengths"`: the slider, or the judge's probability, as it is.
        cluster_by (`str`, *optional*, defaults to `"item"`):
            What intervals resample together: votes on one item, those of one `"annotator"`, or `"both"` (Owen 2007, see
            [`~rlhf_ext.stats.two_way_mean`]). By items they say how the figures would vary over prompts like these with these
            people; by both, with others as well, which takes ten people or more to say.
        anchor (`str`, *optional*):
            The model that Elo counts from; by default the middle of all, at 1000.
        resamples (`int`, *optional*, defaults to `1_000`), seed (`int`, *optional*, defaults to `0`):
            Of the intervals.

    Returns:
        [`Leaderboard`].

    Raises:
        ValueError: If a setting is unknown, the anchor is none of the models, or there is neither a vote nor a rating of the
            source.

    Example:
    ```python
    >>> from rlhf_ext.evaluation.human import Answers, Vote, rank_models

    >>> votes = [Vote(f"item {i}", "ann", "ppo", "sft", float(i % 4 > 0)) for i in range(40)]
    >>> board = rank_models(Answers(votes))
    >>> board.models, board.win_rates["ppo", "sft"].value
    (['ppo', 'sft'], 0.75)

    ```
    """
    for name, value, allowed in (
        ("source", source, (None, "human", "ai")),
        ("wins", wins, get_args(Wins)),
        ("cluster_by", cluster_by, get_args(ClusterBy)),
    ):
        if value not in allowed:
            raise ValueError(f"`{name}` must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
    votes, source = _of_source(answers, source)
    ratings = answers.ratings if source == "human" else []
    clusters = Clusters(cluster_by, seed)
    strengths, notes = _strengths(votes, wins, clusters, anchor, resamples)
    names = {name for vote in votes for name in (vote.first, vote.second)} | {one.model for one in ratings}
    models = sorted(names) if strengths is None else [*strengths.models, *sorted(names - set(strengths.models))]
    win_rates, at_equal_length, ties = by_pair(votes, wins, clusters, notes)
    return Leaderboard(
        models,
        strengths,
        win_rates,
        at_equal_length,
        ties,
        means(ratings, clusters),
        first_shown(votes, clusters),
        [*agreement_of(labels_of(answers.votes, answers.ratings)), *agreement_with_judges(answers.votes)],
        _counts(votes, ratings),
        dict(answers.left_out.most_common()),
        [*notes, *_cautions(votes, ratings, cluster_by, source)],
        {
            "votes of": "people" if source == "human" else "judges",
            "wins": wins,
            "intervals": f"bootstrap by {'item and annotator' if cluster_by == 'both' else cluster_by}, seed {seed}",
            "scale": f"Elo, {anchor or 'the middle of all models'} at 1000",
        },
    )


def _of_source(answers: Answers, source: Any) -> tuple[list[Vote], Any]:
    people = [vote for vote in answers.votes if vote.source == "human"]
    if source is None:
        source = "human" if people or answers.ratings else "ai"
    votes = people if source == "human" else [vote for vote in answers.votes if vote.source == "ai"]
    if not votes and not (source == "human" and answers.ratings):
        who = "people" if source == "human" else "judges"
        raise ValueError(
            f"There is no vote of {who} to rank models by; not counted: {dict(answers.left_out) or 'nothing'}."
        )
    return votes, source


def _strengths(
    votes: Sequence[Vote], wins: Wins, clusters: Clusters, anchor: str | None, resamples: int
) -> tuple[BradleyTerry | None, list[str]]:
    if not votes:
        return None, []
    first, second = [vote.first for vote in votes], [vote.second for vote in votes]
    taken = [won(vote, wins) for vote in votes]
    items, people = [*clusters.labels(votes), None][:2]
    if anchor is not None and anchor not in {*first, *second}:
        raise ValueError(
            f"`anchor` is {anchor!r}, which is none of the models: {', '.join(sorted({*first, *second}))}."
        )
    try:
        found = bradley_terry(first, second, taken, items, people, anchor, resamples=resamples, seed=clusters.seed)
    except NotConnected as error:
        return None, [f"There is no ranking of all: {error}"]
    notes = []
    for names, what, end in ((found.unbeaten, "lost", "upper"), (found.winless, "won", "lower")):
        notes += [
            f"{name} never {what}, not even half a vote: the data set no {end} end to its strength, and its number is a "
            "convention. Its win rates say what is known."
            for name in names
        ]
    return found, notes


def _counts(votes: Sequence[Vote], ratings: Sequence[Rating]) -> dict[str, int]:
    said: list[Vote | Rating] = [*votes, *ratings]
    return {
        "votes": len(votes),
        "ratings": len(ratings),
        "items": len({one.item for one in said}),
        "annotators": len({one.annotator for one in said}),
    }


def _cautions(votes: Sequence[Vote], ratings: Sequence[Rating], cluster_by: ClusterBy, source: str) -> list[str]:
    people = len({vote.annotator for vote in votes} | {rating.annotator for rating in ratings})
    who = "annotator" if source == "human" else "judge"
    if cluster_by == "item":
        many = f"these {people} {who}s alone" if people > 1 else f"this one {who} alone"
        return [f"The intervals say how the figures would vary over prompts like these; they are of {many}."]
    few = f" {people} are few for that: take the intervals as a hint." if people < 10 else ""
    return [f"The intervals say how the figures would vary with other {who}s.{few}"]
