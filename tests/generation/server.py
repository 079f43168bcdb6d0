"""An endpoint that answers as a test tells it to."""

import json
import math
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """Speaks /v1/chat/completions; `answer(body, n)` gives (status, JSON, and perhaps headers) for the n-th request, n from 0."""

    def __init__(self, answer: Callable[[dict[str, Any], int], tuple[Any, ...]]):
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.open = self.most_open = 0
        server, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    n = len(server.bodies)
                    server.bodies.append({"path": self.path, **body})
                    server.keys.append(self.headers["Authorization"])
                    server.open += 1
                    server.most_open = max(server.most_open, server.open)
                status, content, *more = answer(body, n)
                with lock:
                    server.open -= 1
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for header, value in (more[0] if more else {"retry-after-ms": "5"}).items():
                    self.send_header(header, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"


def reply(content: str | None, finish_reason: str = "stop", **choice: Any) -> tuple[int, dict[str, Any]]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content},
        "finish_reason": finish_reason,
        **choice,
    }
    return 200, {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


def echo(body: dict[str, Any], n: int) -> tuple[int, dict[str, Any]]:
    return reply("re: " + body["messages"][-1]["content"])


def first_token(**shares: float) -> dict[str, Any]:
    tops = [
        {"token": token.replace("_", " "), "logprob": math.log(share), "bytes": None}
        for token, share in shares.items()
    ]
    return {"content": [{**tops[0], "top_logprobs": tops}], "refusal": None}
