"""Server-sent events as OpenAI's API uses them."""

from __future__ import annotations

DONE = b"[DONE]"
LONGEST = 8 << 20
"""Bytes of an event beyond which it is none: a model server that sends no line ends would fill the memory."""


class EventReader:
    """Takes bytes as they come; gives the data of events as they are whole.

    Raises:
        ValueError: From [`push`], if an event does not end.

    Example:

    ```python
    >>> from rlhf_ext.deployment.gateway.events import EventReader
    >>> reader = EventReader()
    >>> reader.push(b'data: {"a"'), reader.push(b': 1}\\r\\n\\r\\n: ping\\n\\ndata: [DONE]\\n\\n')
    ([], [b'{"a": 1}', b'[DONE]'])

    ```
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def push(self, chunk: bytes) -> list[bytes]:
        """The data of the events that end within `chunk`."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) + sum(map(len, self._data)) > LONGEST:
            raise ValueError("an event does not end")
        found = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line and self._data:
                found.append(b"\n".join(self._data) if len(self._data) > 1 else self._data[0])
                self._data = []
        return found

    def finish(self) -> list[bytes]:
        """What is left at the end of the stream: the last event of servers that leave out its empty line."""
        return self.push(b"\n\n")


def event(data: bytes) -> bytes:
    """An event."""
    return b"data: " + data + b"\n\n"
