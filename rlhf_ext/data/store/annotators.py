"""People who answer: invited by a token that works once, of which only a hash is kept."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from .database import sa
from .feedback import FeedbackStore
from .records import check_name
from .schema import ANNOTATORS, INVITATIONS


class InvitationError(ValueError):
    """A token that lets nobody in: one of the four below."""


class WrongToken(InvitationError):
    """There is no such invitation."""


class UsedToken(InvitationError):
    """The invitation has been used."""


class ExpiredToken(InvitationError):
    """The invitation has run out."""


class RevokedToken(InvitationError):
    """The invitation or the annotator has been revoked, or the invitation issued anew."""


@dataclass(frozen=True)
class Annotator:
    """A person who answers.

    Args:
        id (`str`): What records name: not the name, so that exports do not tell who it was.
        name (`str`): What the admin called the person.
        state (`str`): `"invited"`, `"active"` (has used an invitation), `"expired"` (did not in time) or `"revoked"`.
        created (`datetime`): When the person was first invited.
    """

    id: str
    name: str
    state: Literal["invited", "active", "expired", "revoked"]
    created: datetime


class Annotators:
    """Invitations: who may answer.

    Args:
        store ([`FeedbackStore`]): Where they are kept.

    Example:

    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store import Annotators, FeedbackStore
    >>> annotators = Annotators(FeedbackStore(tempfile.mkdtemp() + "/feedback.sqlite"))
    >>> token = annotators.invite("Ann")
    >>> ann = annotators.redeem(token)
    >>> [(one.name, one.state) for one in annotators.list() if one.id == ann]
    [('Ann', 'active')]

    ```
    """

    def __init__(self, store: FeedbackStore):
        self.store = store

    def invite(self, name: str, days: float = 14) -> str:
        """Invites a person; gives the token, which is not stored and cannot be shown again."""
        check_name(name, "`name`")
        now, number = time.time(), f"annotator-{secrets.token_hex(5)}"
        with self.store.database.writing("annotators") as connection:
            connection.execute(sa.insert(ANNOTATORS).values(id=number, name=name, created=now))
            return self._issue(connection, number, now, days)

    def redeem(self, token: str) -> str:
        """Lets in whoever brings a token; gives the annotator's id. A token works once.

        Raises:
            WrongToken, UsedToken, ExpiredToken, RevokedToken: All of them [`InvitationError`].
        """
        now = time.time()
        with self.store.database.writing("annotators") as connection:
            row = connection.execute(
                sa.select(INVITATIONS, ANNOTATORS.c.revoked.label("out"))
                .join(ANNOTATORS, ANNOTATORS.c.id == INVITATIONS.c.annotator)
                .where(INVITATIONS.c.token_hash == _hash(token))
            ).first()
            if row is None:
                raise WrongToken("There is no such invitation. Check that the link is whole.")
            if row.revoked is not None or row.out is not None:
                raise RevokedToken("This invitation has been revoked or replaced by a newer one.")
            if row.used is not None:
                raise UsedToken("This invitation has been used. Ask for a new one.")
            if row.expires < now:
                raise ExpiredToken("This invitation has run out. Ask for a new one.")
            mine = INVITATIONS.c.token_hash == row.token_hash
            connection.execute(sa.update(INVITATIONS).where(mine).values(used=now))
            return str(row.annotator)

    def revoke(self, annotator: str) -> None:
        """Lets an annotator in no more; what was answered stays.

        Raises:
            LookupError: If there is no such annotator.
        """
        now = time.time()
        with self.store.database.writing("annotators") as connection:
            self._known(connection, annotator)
            connection.execute(sa.update(ANNOTATORS).where(ANNOTATORS.c.id == annotator).values(revoked=now))
            self._revoke_unused(connection, annotator, now)

    def reissue(self, annotator: str, days: float = 14) -> str:
        """A new token for the same annotator, who may have lost the session or been revoked; older ones work no more.

        Raises:
            LookupError: If there is no such annotator.
        """
        now = time.time()
        with self.store.database.writing("annotators") as connection:
            self._known(connection, annotator)
            connection.execute(sa.update(ANNOTATORS).where(ANNOTATORS.c.id == annotator).values(revoked=None))
            self._revoke_unused(connection, annotator, now)
            return self._issue(connection, annotator, now, days)

    def is_active(self, annotator: str, joined: float | None = None) -> bool:
        """Whether an annotator is known and not revoked: to be asked at every request, sessions outlive a revocation.

        Args:
            annotator (`str`): Who.
            joined (`float`, *optional*): When this session began, in seconds since 1970: one that began before the latest
                invitation was issued has ended with it.
        """
        with self.store.database.reading() as connection:
            row = connection.execute(sa.select(ANNOTATORS).where(ANNOTATORS.c.id == annotator)).first()
            if row is None or row.revoked is not None:
                return False
            issued = sa.select(sa.func.max(INVITATIONS.c.created)).where(INVITATIONS.c.annotator == annotator)
            return joined is None or joined >= connection.scalar(issued)

    def list(self) -> list[Annotator]:
        """All annotators, in the order in which they were invited."""
        now = time.time()
        with self.store.database.reading() as connection:
            used = sa.func.count(INVITATIONS.c.used)
            latest = sa.func.max(INVITATIONS.c.expires)
            query = (
                sa.select(ANNOTATORS, used.label("used"), latest.label("expires"))
                .join(INVITATIONS, INVITATIONS.c.annotator == ANNOTATORS.c.id)
                .group_by(*ANNOTATORS.c)
                .order_by(ANNOTATORS.c.created, ANNOTATORS.c.id)
            )
            rows = connection.execute(query).all()
        return [
            Annotator(row.id, row.name, _state(row, now), datetime.fromtimestamp(row.created, UTC)) for row in rows
        ]

    def _issue(self, connection: sa.Connection, annotator: str, now: float, days: float) -> str:
        if not days > 0:
            raise ValueError(f"`days` should be positive, got {days}.")
        token = secrets.token_urlsafe(24)
        connection.execute(
            sa.insert(INVITATIONS).values(
                token_hash=_hash(token), annotator=annotator, created=now, expires=now + days * 86400
            )
        )
        return token

    def _known(self, connection: sa.Connection, annotator: str) -> None:
        if connection.execute(sa.select(ANNOTATORS.c.id).where(ANNOTATORS.c.id == annotator)).first() is None:
            raise LookupError(f"There is no annotator {annotator!r}.")

    def _revoke_unused(self, connection: sa.Connection, annotator: str, now: float) -> None:
        unused = sa.and_(INVITATIONS.c.annotator == annotator, INVITATIONS.c.used.is_(None))
        connection.execute(sa.update(INVITATIONS).where(unused, INVITATIONS.c.revoked.is_(None)).values(revoked=now))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()  # random enough to need no salt


def _state(row: Any, now: float) -> Any:
    if row.revoked is not None:
        return "revoked"
    if row.used:
        return "active"
    return "invited" if row.expires >= now else "expired"
