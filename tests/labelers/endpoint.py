"""A real endpoint on loopback that judges rightly and answers badly: for `test_faults.py` and `test_kill.py`."""

from __future__ import annotations

import json
import math
import random
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("429", "500", "hang", "cut", "malformed", "truncated", "refusal", "empty", "choices")
TEMPORARY = ("429", "500", "hang", "cut", "malformed", "truncated")
"""Faults without an answer that could be read."""


def verdict(content: str) -> str:
    """The truth: the better answer contains the word `good`."""
    return "1" if "good" in content.split("Answer 1:")[1].split("Answer 2:")[0] else "2"


class Endpoint:
    """Speaks /v1/chat/completions over HTTP.

    Args:
        faults: Share of answers that go wrong, and which ways there are.
        logprobs: Whether the first token comes with log-probabilities.
        hang: Seconds that a hanging answer takes.
        delay: Seconds that every answer takes.
    """

    def __init__(self, share=0.0, faults=FAULTS, logprobs=False, hang=1.0, delay=0.0, seed=0):
        self.answered: Counter[str] = Counter()  # whole answers by question: what a provider bills
        self.requests = 0
        self.given: Counter[str] = Counter()
        self._share, self._faults, self._logprobs, self._hang, self._delay = share, faults, logprobs, hang, delay
        self._random, self._lock = random.Random(seed), threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.serve(self, body)

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 64
            daemon_threads = True

            def handle_error(self, request, client_address) -> None:
                pass  # a client that was killed

        self.http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Endpoint:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()

    def serve(self, handler: Any, body: dict[str, Any]) -> None:
        content = body["messages"][0]["content"]
        with self._lock:
            self.requests += 1
            number = self.requests
            fault = self._random.choice(self._faults) if self._random.random() < self._share else "none"
            self.given[fault] += 1
        time.sleep(5.0 if content == "slow" else self._delay)
        meant = text = verdict(content) if "Answer 1:" in content else f"word {number}"
        text = {"refusal": "I cannot compare these answers.", "empty": ""}.get(fault, text)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if body.get("logprobs") and self._logprobs:
            shares = {"1": 0.9, "2": 0.1} if meant == "1" else {"1": 0.1, "2": 0.9}
            if fault == "refusal":  # and, had it to choose, the wrong one
                shares = {"I": 0.99, **{token: 1e-6 / p for token, p in shares.items()}}
            tops = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in shares.items()]
            choice["logprobs"] = {"content": [{**tops[0], "top_logprobs": tops}], "refusal": None}
        reply = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
        reply["choices"] = [choice] * (2 if fault == "choices" else body.get("n") or 1)
        reply["usage"] = {"prompt_tokens": len(content.split()), "completion_tokens": 1, "total_tokens": 0}
        data, status = json.dumps(reply).encode(), 200
        if fault in ("429", "500"):
            data, status = json.dumps({"error": {"message": "busy"}}).encode(), int(fault)
        elif fault == "hang":
            time.sleep(self._hang)
        elif fault == "malformed":
            data = data.replace(b"{", b"<", 1)
        elif fault == "truncated":
            data = data[: len(data) // 2]
        if status == 200 and fault not in TEMPORARY:
            with self._lock:
                self.answered[content] += 1
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        if fault == "429":
            handler.send_header("Retry-After", "0.02")
        handler.end_headers()
        if fault == "cut":
            handler.wfile.write(data[:20])
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        handler.wfile.write(data)


def rows(count: int) -> list[dict[str, Any]]:
    """Rows whose better answer is known, at random the first or second."""
    order = random.Random(1)
    found = []
    for index in range(count):
        answers = [f"A good answer to {index}.", f"A poor answer to {index}."]
        order.shuffle(answers)
        found.append({"prompt": f"Question {index}?", "responses": answers, "id": index})
    return found
