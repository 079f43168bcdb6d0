"""A leaderboard as a page: who is ahead and how surely, each pair, each scale, and whether people agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ... import __version__
from ...stats import Estimate
from ..report import Curve, Intervals, Matrix, Measure, Report
from .figures import Pair
from .leaderboard import Leaderboard


def make_page(board: Leaderboard, title: str, subtitle: str = "") -> Report:
    """See [`Leaderboard.to_report`]."""
    counts = ", ".join(f"{count:,} {what}" for what, count in board.counts.items() if count)
    return Report(
        title=title,
        subtitle=f"{subtitle}: {counts}" if subtitle else counts,
        measures=[*_strengths(board), *_ratings(board), *_asking(board), *_agreement(board)],
        matrices=_matrices(board),
        plots=_plots(board),
        notes=[*board.notes, *_not_counted(board)],
        settings={**board.settings, "rlhf_ext": __version__},
    )


def _strengths(board: Leaderboard) -> list[Measure]:
    if board.bradley_terry is None:
        return []
    ranks, elo = board.bradley_terry.ranks(), board.bradley_terry.elo()
    return [
        Measure(f"elo.{name}", name, elo[name], note=f"Rank {_rank(*ranks[name])}", group="Strength (Elo)")
        for name in board.bradley_terry.models
    ]


def _rank(best: int, worst: int) -> str:
    return str(best) if best == worst else f"{best} to {worst}"


def _ratings(board: Leaderboard) -> list[Measure]:
    return [
        Measure(f"rating.{scale}.{name}", name, estimate, group=f"Mean rating: {scale}")
        for scale, found in board.ratings.items()
        for name, estimate in found.items()
    ]


def _asking(board: Leaderboard) -> list[Measure]:
    found = []
    for (a, b), estimate in board.ties.items():
        if a < b:
            found.append(Measure(f"ties.{a}.{b}", f"Ties of {a} and {b}", estimate, "%", group="Votes"))
    if board.first_shown is not None:
        note = "50 % without a bias; ties are left out"
        found.append(
            Measure("first_shown", "Prefers the answer shown first", board.first_shown, "%", note, group="Votes")
        )
    return found


def _agreement(board: Leaderboard) -> list[Measure]:
    return [
        Measure(
            f"agreement.{one.what}.{one.measure}",
            f"{one.what}: {one.measure}",
            one.estimate,
            note=one.note,
            group="Agreement",
        )
        for one in board.agreement
    ]


def _matrices(board: Leaderboard) -> list[Matrix]:
    asked = {
        "How often the model of the row is preferred to that of the column": board.win_rates,
        "The same at equal length": board.at_equal_length,
    }
    return [_matrix(title, board.models, found) for title, found in asked.items() if found]


def _matrix(title: str, models: Sequence[str], found: Mapping[Pair, Estimate]) -> Matrix:
    names = [name for name in models if any(name in pair for pair in found)]
    return Matrix(title, names, names, [[found.get((row, column)) for column in names] for row in names], "%")


def _plots(board: Leaderboard) -> list[Curve | Intervals]:
    plots: list[Curve | Intervals] = []
    if board.bradley_terry is not None:
        plots.append(Intervals("Strength", "Elo", board.bradley_terry.elo(), reference=1000.0))
    return [*plots, *(Intervals(f"Mean rating: {scale}", scale, found) for scale, found in board.ratings.items())]


def _not_counted(board: Leaderboard) -> list[str]:
    if not board.left_out:
        return []
    return [f"Not counted: {', '.join(f'{count:,} {reason}' for reason, count in board.left_out.items())}."]
