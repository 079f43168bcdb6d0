"""What the work queue hands out, and why it does not take an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .items import FeedbackItem


class NotAssigned(LookupError):
    """There is no such assignment of this annotator's, or it is no longer open."""


class AlreadyAnswered(NotAssigned):
    """The assignment has another answer already: take it back first ([`WorkQueue.undo`])."""


class LeaseExpired(NotAssigned):
    """The lease ran out, and others have answered the item since."""


@dataclass(frozen=True)
class Assignment:
    """An item that an annotator has now.

    Args:
        id (`str`): What an answer names.
        item ([`FeedbackItem`]): The question. `item.gold`, `item.models` and `item.priority` are not for the annotator's eyes.
        annotator (`str`): Whose it is.
        shown_order (`tuple[int, ...]`): The item's responses in the order in which they are to be shown: at random, and the
            same whenever this annotator sees this item.
        until (`datetime`): When the lease runs out.
        previous (`dict`, *optional*): The answer that was taken back, if this is one to give anew.
    """

    id: str
    item: FeedbackItem
    annotator: str
    shown_order: tuple[int, ...]
    until: datetime
    previous: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Progress:
    """How far an annotator is.

    Args:
        answered (`int`), skipped (`int`): Items.
        remaining (`int`): Items that could still be asked of this annotator, those others hold now left out.
    """

    answered: int
    skipped: int
    remaining: int
