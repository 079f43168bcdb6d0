"""A text that is being written: what of it may be shown, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .sampling import cut


class Writing:
    """Turns ids into text as they come.

    Half a character waits for its other half, and what may be the beginning of a stop string waits until it is one or not.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Knows the ids.
        stop (`list[str]`): Strings that the text ends before.

    Example:

    ```python
    >>> from rlhf_ext.generation.writing import held_back
    >>> held_back("It ends. EN", ["END", "."])
    2

    ```
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str]):
        self._tokenizer, self._stop = tokenizer, list(stop)
        self._ids: list[int] = []
        self._text = ""
        self._shown = 0
        # Ids up to `_read` are in the text; those from `_before` on are decoded anew with each new one, since some tokenizers write
        # an id another way at the beginning of a text.
        self._before = self._read = 0
        self.stopped = False

    def push(self, token: int) -> str:
        """Takes an id; gives the text that may be shown now. `stopped` is set where a stop string has come."""
        if self.stopped:
            return ""
        self._ids.append(token)
        before = self._decode(self._ids[self._before : self._read])
        now = self._decode(self._ids[self._before :])
        if now.endswith("\ufffd") or len(now) <= len(before):
            return ""
        self._before, self._read = self._read, len(self._ids)
        return self._add(now[len(before) :])

    def finish(self) -> str:
        """What is left to show at the end."""
        if self.stopped:
            return ""
        whole = self._decode(self._ids)
        more = whole[len(self._text) :] if whole.startswith(self._text) else ""
        shown = self._add(more) if more else ""
        rest = "" if self.stopped else self._text[self._shown :]
        self._shown += len(rest)
        return shown + rest

    def _add(self, text: str) -> str:
        self._text += text
        short = cut(self._text, self._stop)
        if len(short) < len(self._text):
            self.stopped, self._text = True, short
            end = len(short)
        else:
            end = len(self._text) - held_back(self._text, self._stop)
        shown = self._text[self._shown : end]
        self._shown = max(self._shown, end)
        return shown

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


def held_back(text: str, stop: Sequence[str]) -> int:
    """How many characters at the end of a text may be the beginning of a stop string."""
    longest = max((len(one) for one in stop), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(one.startswith(text[-length:]) for one in stop if len(one) > length):
            return length
    return 0
