"""A model server that answers as OpenAI's API does, and misbehaves on demand: what it does is the last word of the prompt.

In a process of its own: `python stub.py PORT`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

WORDS = ["Well", ",", " it", " is", " 4", "."]
"""What it always says."""


@dataclass
class Stub:
    """The server, and what it has seen.

    `requests` are (path, headers, body); `broken_off` counts answers whose reader went away before their end.
    """

    words: list[str] = field(default_factory=lambda: list(WORDS))
    gap: float = 0.0
    name: str = "stub"
    done: bool = True
    """Whether streams end with `[DONE]`."""
    usage_alone: bool = True
    """Whether the token counts come in a part of their own, and only if asked for; otherwise always in the last part."""
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    broken_off: int = 0
    at_once: int = 0
    most_at_once: int = 0
    port: int = 0
    hung: threading.Event = field(default_factory=threading.Event)

    async def serve(self, port: int = 0) -> asyncio.Server:
        server = await asyncio.start_server(self._connection, "127.0.0.1", port, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        return server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                answering = asyncio.ensure_future(self._answer(method, path, headers, raw, writer))
                gone = asyncio.ensure_future(reader.read(1))
                await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
                self.at_once -= 1
                if not answering.done():
                    answering.cancel()
                    self.broken_off += 1
                    return
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)
                if not answering.result():
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, method: str, path: str, headers: dict[str, str], raw: bytes, writer: Any) -> bool:
        """Gives whether the connection may be used again."""
        if path == "/v1/models":
            models = {
                "object": "list",
                "data": [{"id": self.name, "object": "model", "created": 1, "owned_by": "stub"}],
            }
            return await self._json(writer, models)
        body = json.loads(raw)
        self.requests.append((path, headers, body))
        if body["model"] != self.name:
            words = f"The model `{body['model']}` does not exist."
            error = {"message": words, "type": "NotFoundError", "param": "model", "code": 404}
            return await self._json(writer, {"object": "error", **error}, 404)
        prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        command, *values = prompt.split()[-1].split(":") if isinstance(prompt, str) else [""]
        fault = getattr(self, f"_{command}", None)
        if fault is not None:
            return await fault(writer, *values)
        if body.get("stream"):
            return await self._stream(writer, body, path)
        await asyncio.sleep(self.gap * len(self.words))
        return await self._json(writer, self._whole(body, path))

    def _whole(self, body: dict[str, Any], path: str) -> dict[str, Any]:
        text = "".join(self.words)
        chat = "chat" in path
        inner = {"message": {"role": "assistant", "content": text}} if chat else {"text": text, "logprobs": None}
        choices = [{"index": n, **inner, "finish_reason": "stop"} for n in range(body.get("n") or 1)]
        kind = "chat.completion" if chat else "text_completion"
        return {
            "id": "up-1",
            "object": kind,
            "created": 1,
            "model": self.name,
            "choices": choices,
            "usage": self._usage,
        }

    @property
    def _usage(self) -> dict[str, int]:
        return {"prompt_tokens": 3, "completion_tokens": len(self.words), "total_tokens": 3 + len(self.words)}

    async def _stream(self, writer: Any, body: dict[str, Any], path: str, until: int | None = None) -> bool:
        writer.write(_head(200, "text/event-stream", "transfer-encoding: chunked"))
        for part in self._parts(body, path)[:until]:
            writer.write(_chunk(part if isinstance(part, bytes) else f"data: {json.dumps(part)}\n\n".encode()))
            await writer.drain()
            if self.gap:
                await asyncio.sleep(self.gap)
        if until is not None:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _parts(self, body: dict[str, Any], path: str) -> list[Any]:
        chat = "chat" in path
        shown = {"id": "up-1", "object": "chat.completion.chunk" if chat else "text_completion", "created": 1}
        shown["model"] = self.name
        parts = []
        for n in range(body.get("n") or 1):
            if chat:
                role = {"role": "assistant", "content": ""}
                parts.append({**shown, "choices": [{"index": n, "delta": role, "finish_reason": None}]})
            for word in self.words:
                inner = {"delta": {"content": word}} if chat else {"text": word}
                parts.append({**shown, "choices": [{"index": n, **inner, "finish_reason": None}]})
            inner = {"delta": {}} if chat else {"text": ""}
            parts.append({**shown, "choices": [{"index": n, **inner, "finish_reason": "stop"}]})
        if not self.usage_alone:
            parts[-1]["usage"] = self._usage
        elif (body.get("stream_options") or {}).get("include_usage"):
            parts.append({**shown, "choices": [], "usage": self._usage})
        return [*parts, b"data: [DONE]\n\n"] if self.done else parts

    async def _json(self, writer: Any, value: Any, status: int = 200, *headers: str) -> bool:
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        writer.write(_head(status, "application/json", f"content-length: {len(raw)}", *headers) + raw)
        await writer.drain()
        return True

    # Faults, by their name in the prompt.

    async def _hang(self, writer: Any) -> bool:
        self.hung.set()
        await asyncio.sleep(3600)
        return False

    async def _hanghalf(self, writer: Any) -> bool:
        await self._stream(writer, {"stream": True}, "chat", until=3)
        self.hung.set()
        await asyncio.sleep(3600)
        return False

    async def _endless(self, writer: Any) -> bool:
        writer.write(_head(200, "text/event-stream", "transfer-encoding: chunked"))
        part = self._parts({}, "chat")[1]
        while True:
            writer.write(_chunk(f"data: {json.dumps(part)}\n\n".encode()))
            await writer.drain()
            self.hung.set()
            await asyncio.sleep(0.01)

    async def _half(self, writer: Any) -> bool:
        return await self._stream(writer, {"stream": True}, "chat", until=4)

    async def _halfclean(self, writer: Any) -> bool:
        await self._stream(writer, {"stream": True}, "chat", until=4)
        writer.write(b"0\r\n\r\n")
        return True

    async def _halfbody(self, writer: Any) -> bool:
        writer.write(_head(200, "application/json", "content-length: 400") + b'{"id": "up-1", "cho')
        await writer.drain()
        return False

    async def _drop(self, writer: Any) -> bool:
        return False

    async def _garbage(self, writer: Any) -> bool:
        return await self._json(writer, b"<html>It works!</html>")

    async def _garbagehead(self, writer: Any) -> bool:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await writer.drain()
        return False

    async def _list(self, writer: Any) -> bool:
        return await self._json(writer, [1, 2])

    async def _garbagestream(self, writer: Any) -> bool:
        first = f"data: {json.dumps(self._parts({}, 'chat')[1])}\n\n".encode()
        raw = _head(200, "text/event-stream", "transfer-encoding: chunked") + _chunk(first)
        writer.write(raw + _chunk(b"data: {not json\n\n") + b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _errorstream(self, writer: Any) -> bool:
        first = f"data: {json.dumps(self._parts({}, 'chat')[1])}\n\n".encode()
        error = {"error": {"message": "CUDA out of memory at /home/secret/model.py", "code": 500}}
        raw = _head(200, "text/event-stream", "transfer-encoding: chunked") + _chunk(first)
        writer.write(raw + _chunk(f"data: {json.dumps(error)}\n\n".encode()) + b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _status(self, writer: Any, status: str) -> bool:
        error = {"error": {"message": "secret path /home/me", "type": "BadRequestError", "param": None, "code": "x"}}
        return await self._json(writer, error, int(status), "retry-after: 7")

    async def _detail(self, writer: Any) -> bool:
        return await self._json(writer, {"detail": "`messages` are too long"}, 422)


def _head(status: int, content_type: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} X", f"content-type: {content_type}", *headers, "", ""]).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@contextlib.contextmanager
def running(**settings: Any) -> Iterator[Stub]:
    """A stub in a thread of its own, ended afterwards."""
    stub, loop, ready = Stub(**settings), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        server = await stub.serve()
        ready.set()
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve_forever()

    def run() -> None:
        asyncio.set_event_loop(loop)
        task.append(loop.create_task(serve()))
        loop.run_until_complete(task[0])
        for one in asyncio.all_tasks(loop):
            one.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    task: list[Any] = []
    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    yield stub
    loop.call_soon_threadsafe(task[0].cancel)
    thread.join(timeout=10)


if __name__ == "__main__":

    async def main() -> None:
        server = await Stub(gap=0.005).serve(int(sys.argv[1]))
        await server.serve_forever()

    asyncio.run(main())
