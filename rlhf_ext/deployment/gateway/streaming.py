"""The parts of a stream on their way from a backend to the client."""

from __future__ import annotations

import json
from typing import Any

from .call import Call
from .errors import broken
from .events import DONE, event
from .filtering import FilteredStream
from .transcript import Renamed, Transcript


class Stream:
    """One stream.

    Without filters what comes is passed on byte for byte, under the gateway's id; with filters, only what they have let go.

    Args:
        call ([`Call`]): Whose it is.
        filtered ([`FilteredStream`], *optional*): The filters.
    """

    def __init__(self, call: Call, filtered: FilteredStream | None):
        self.call, self.done = call, False
        self.early = False
        """Whether filters ended it before the backend did."""
        self._filtered = filtered
        self._source = call.transcript if filtered is None else Transcript(call.transcript.backend, keep_text=False)
        self._renamed = Renamed(call.id, call.model)
        self._last: dict[str, Any] = {}
        self._usage_passed = False

    async def pass_on(self, batch: list[bytes]) -> bytes:
        """What goes on to the client; `done` is set with the last of it.

        Raises:
            ApiError: If a part is none.
        """
        out: list[bytes] = []
        for data in batch:
            if data == DONE:
                return b"".join([*out, self.finish(said=True)])
            part = self._last = self._source.part(data)
            if part.get("usage") and not part.get("choices"):
                if not self.call.wants_usage:
                    continue
                self._usage_passed = True
            if self._filtered is None:
                out.append(event(self._renamed(data, part)))
                continue
            out.append(await self._checked(part, self._filtered))
            if self._filtered.over and not self._source.finish_reasons:
                self.early = True
                return b"".join([*out, self.finish()])
        return b"".join(out)

    def finish(self, said: bool = False) -> bytes:
        """The end: what this model server leaves out, and `[DONE]`.

        Args:
            said (`bool`, *optional*, defaults to `False`): Whether the model server said so itself. Otherwise every choice that has begun
                must have ended.

        Raises:
            ApiError: If nothing says that the answer is whole.
        """
        ended = self._source.finish_reasons.keys()
        if not self.early and (not ended or (not said and self._source.begun - ended)):
            raise broken(self._source.backend, "broke off before its answer was whole")
        self.done = True
        self.call.transcript.usage = usage = self._source.usage
        out: list[bytes] = []
        if self.call.wants_usage and usage and not self._usage_passed:
            shown = {"id": self.call.id, "model": self.call.model, "choices": [], "usage": usage}
            last = {**shown, **{name: self._last.get(name) for name in ("object", "created")}}
            out.append(event(json.dumps(last).encode()))
        return b"".join([*out, event(DONE)])

    async def _checked(self, part: dict[str, Any], filtered: FilteredStream) -> bytes:
        kept = await filtered.part(part)
        if kept is None:
            return b""
        shown = {name: kept[name] for name in ("object", "created", "choices", "usage") if name in kept}
        data = json.dumps({"id": self.call.id, "model": self.call.model, **shown}).encode()
        self.call.transcript.part(data)
        return event(data)
