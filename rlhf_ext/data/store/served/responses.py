"""Responses and what was said of them."""

from __future__ import annotations

import hmac
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ..database import Database, sa
from ..records import to_json
from ..served_tables import FEEDBACK, RESPONSES, SETTINGS
from .feedback import ServedFeedback, UnknownResponse

_PART = 500
"""Rows a deleting transaction: others get their turn in between."""


@dataclass(frozen=True)
class Response:
    """A request and what became of it.

    Args:
        id (`str`): The gateway's own, random.
        created (`float`): When it came in, in seconds since 1970.
        kind (`str`): `"chat"` or `"completion"`.
        model (`str`): What the client asked for.
        status (`int`): HTTP status that the client got (or would have got, had the stream not begun).
        seconds (`float`): From the request to the last byte.
        prompt_hash (`str`): Of [`ServedStore.hash`]: the same for the same prompt.
        experiment (`str`, *optional*), variant (`str`, *optional*), why (`str`, *optional*): Where an experiment put it, and
            whether by `"hash"`, `"override"`, `"holdout"` or `"header"`.
        shadow_of (`str`, *optional*): Id of the response that this one is a copy of, which nobody has seen.
        key (`str`, *optional*): Id of the API key.
        user_hash (`str`, *optional*): Of [`ServedStore.hash`].
        prompt (`str` or `list`, *optional*), texts (`list[str]`, *optional*): The prompt, and a text a choice; only where texts are kept.
        error (`str`, *optional*): Code of the error.
        finish_reason (`str`, *optional*): Of the first choice.
        ttft (`float`, *optional*): Seconds to the first token; of streams.
        prompt_tokens (`int`, *optional*), completion_tokens (`int`, *optional*): As the model counts.
        filter_hits (`list[dict]`, *optional*): What filters found.
    """

    id: str
    created: float
    kind: str
    model: str
    status: int
    seconds: float
    prompt_hash: str
    experiment: str | None = None
    variant: str | None = None
    why: str | None = None
    shadow_of: str | None = None
    key: str | None = None
    user_hash: str | None = None
    prompt: Any = None
    texts: list[str] | None = None
    error: str | None = None
    finish_reason: str | None = None
    ttft: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    filter_hits: list[dict[str, Any]] | None = None


_JSON = ("prompt", "texts", "filter_hits")
_NAMES = [one.name for one in fields(Response)]
_SORTED = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_SQLITE_INSERT = f"INSERT INTO served_responses ({', '.join(_NAMES)}) VALUES ({', '.join('?' * len(_NAMES))}) ON CONFLICT (id) DO NOTHING"


class ServedStore:
    """What gateways served, in SQLite or PostgreSQL; it may share a database with a [`~rlhf_ext.data.store.FeedbackStore`].

    Args:
        url (`str` or `Path`): A file for SQLite (made if it is missing), or a SQLAlchemy URL.
        wait (`float`, *optional*, defaults to `60.0`): Seconds for which a writer waits for others before it gives up.

    Raises:
        ValueError, ConnectionError: As [`~rlhf_ext.data.store.database.Database`] does.

    Example:

    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store.served import Response, ServedFeedback, ServedStore
    >>> store = ServedStore(tempfile.mkdtemp() + "/gateway.sqlite")
    >>> row = Response("resp-1", 0.0, "chat", "assistant", 200, 0.5, store.hash("2+2?"), user_hash=store.hash("ann"))
    >>> store.record([row, row])
    1
    >>> store.add_feedback(ServedFeedback("resp-1", "thumb", {"up": True}))
    True
    >>> store.forget_user("ann")
    (1, 1)

    ```
    """

    def __init__(self, url: str | Path, wait: float = 60.0):
        self.database = Database(url, wait)

    @cached_property
    def _salt(self) -> bytes:
        with self.database.writing("served settings") as connection:
            insert = self.database.insert(SETTINGS).values(name="salt", value=secrets.token_hex(32))
            connection.execute(insert.on_conflict_do_nothing(index_elements=["name"]))
            found = connection.scalars(sa.select(SETTINGS.c.value).where(SETTINGS.c.name == "salt")).one()
        return bytes.fromhex(found)

    def hash(self, value: Any) -> str:
        """A hash, with the store's own salt, of a user's id or a prompt (text or messages): alike in all gateways of a store."""
        text = value if isinstance(value, str) else _SORTED.encode(value)
        return hmac.digest(self._salt, text.encode(errors="surrogatepass"), "sha256").hex()

    def record(self, responses: Sequence[Response]) -> int:
        """Stores responses, all or none; one whose id is there is not stored again. Gives how many were new."""
        if not responses:
            return 0
        rows = [_row(response) for response in responses]
        if self.database.kind == "sqlite":
            values = [tuple(row.values()) for row in rows]
            with self.database.writing() as connection:
                driver: Any = connection.connection.driver_connection  # three times as quick as through SQLAlchemy
                return int(driver.executemany(_SQLITE_INSERT, values).rowcount)
        insert = self.database.insert(RESPONSES).on_conflict_do_nothing(index_elements=["id"])
        with self.database.writing() as connection:
            return len(connection.scalars(insert.returning(RESPONSES.c.id), rows).all())

    def responses(self, ids: Sequence[str] | None = None, since: float | None = None) -> Iterator[Response]:
        """Streams responses in the order in which they were stored: all, those of `ids`, or those created at `since` or later."""
        query = sa.select(RESPONSES).order_by(RESPONSES.c.number)
        if ids is not None:
            query = query.where(RESPONSES.c.id.in_(list(ids)))
        if since is not None:
            query = query.where(RESPONSES.c.created >= since)
        with self.database.reading() as connection:
            for row in connection.execution_options(yield_per=1000).execute(query):
                yield from_row(row)

    def add_feedback(self, said: ServedFeedback, check_key: bool = False) -> bool:
        """Stores feedback; when this returns it is stored, whatever happens to the process then.

        Args:
            said ([`ServedFeedback`]): What was said.
            check_key (`bool`, *optional*, defaults to `False`): Whether only the key that got a response may speak of it. To
                others there is no such response.

        Returns:
            `bool`: whether it is new; False where the same id is stored already, with the same contents.

        Raises:
            UnknownResponse: If a response is not there; the argument is its id.
            ValueError: If the id is stored with other contents, a choice is not there, or a preference is of two prompts.
        """
        row = {
            "id": said.id,
            "response": said.response,
            "kind": said.kind,
            "value": to_json(dict(said.value), said.kind),
            "key": said.key,
            "user_hash": None if said.user is None else self.hash(said.user),
            "created": time.time(),
        }
        insert = self.database.insert(FEEDBACK).on_conflict_do_nothing(index_elements=["id"])
        with self.database.writing() as connection:
            self._check(connection, said, check_key)
            new = connection.execute(insert.values(**row).returning(FEEDBACK.c.number)).first() is not None
            if not new:
                old = connection.execute(sa.select(FEEDBACK).where(FEEDBACK.c.id == said.id)).one()._mapping
                if any(old[name] != row[name] for name in ("response", "kind", "value", "key", "user_hash")):
                    raise ValueError(f"id: {said.id!r} is stored already, with other contents.")
        return new

    def feedback(self, response: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Streams what was said, in the order in which it was stored: columns by name, `value` as a dict."""
        query = sa.select(FEEDBACK).order_by(FEEDBACK.c.number)
        if response is not None:
            query = query.where(FEEDBACK.c.response == response)
        with self.database.reading() as connection:
            for row in connection.execution_options(yield_per=1000).execute(query):
                yield {**row._mapping, "value": json.loads(row.value)}

    def forget_user(self, user: str) -> tuple[int, int]:
        """Deletes what a user got and said, and what others said of it; gives how many responses and how much feedback."""
        mine = self.hash(user)
        of_user = sa.select(RESPONSES.c.id).where(RESPONSES.c.user_hash == mine)
        said = sa.or_(FEEDBACK.c.user_hash == mine, FEEDBACK.c.response.in_(of_user))
        with self.database.writing() as connection:
            feedback = connection.execute(sa.delete(FEEDBACK).where(said)).rowcount
            responses = connection.execute(sa.delete(RESPONSES).where(RESPONSES.c.user_hash == mine)).rowcount
        return responses, feedback

    def forget_before(self, when: float) -> tuple[int, int]:
        """Deletes responses created before `when` (seconds since 1970), and what was said of them; gives how many of each."""
        responses = feedback = 0
        old = sa.select(RESPONSES.c.id).where(RESPONSES.c.created < when).order_by(RESPONSES.c.number).limit(_PART)
        while True:
            with self.database.writing() as connection:
                ids = list(connection.scalars(old))
                feedback += connection.execute(sa.delete(FEEDBACK).where(FEEDBACK.c.response.in_(ids))).rowcount
                responses += connection.execute(sa.delete(RESPONSES).where(RESPONSES.c.id.in_(ids))).rowcount
            if len(ids) < _PART:
                return responses, feedback

    def close(self) -> None:
        """Closes its connections."""
        self.database.close()

    def _check(self, connection: sa.Connection, said: ServedFeedback, check_key: bool) -> None:
        sides = [(said.response, said.choice), *([said.over] if said.over else [])]
        query = sa.select(RESPONSES.c.id, RESPONSES.c.key, RESPONSES.c.prompt_hash, RESPONSES.c.texts).where(
            RESPONSES.c.id.in_([one for one, _ in sides]), RESPONSES.c.shadow_of.is_(None)
        )
        found = {row.id: row for row in connection.execute(query) if not check_key or row.key == said.key}
        for response, choice in sides:
            if response not in found:
                raise UnknownResponse(response)
            texts = found[response].texts
            if texts is not None and choice >= len(json.loads(texts)):
                raise ValueError(
                    f"choice: {response!r} has {len(json.loads(texts))} choices; {choice} is none of them."
                )
        if len({found[response].prompt_hash for response, _ in sides}) > 1:
            raise ValueError(
                "over: the two responses are to different prompts; a preference is between answers to one."
            )


def _row(response: Response) -> dict[str, Any]:
    row = {name: getattr(response, name) for name in _NAMES}
    for name in _JSON:
        if row[name] is not None:
            row[name] = to_json(row[name], name)
    return row


def from_row(row: Any) -> Response:
    """A response of its columns."""
    values = {name: row._mapping[name] for name in _NAMES}
    for name in _JSON:
        if values[name] is not None:
            values[name] = json.loads(values[name])
    return Response(**values)
