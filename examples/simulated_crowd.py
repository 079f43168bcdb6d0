"""A crowd for trying things out: people of known reliability who answer on the feedback page, as a browser would.

Each sees how much better an answer is through a noise of their own, and says so with the page's slider. They know nothing but the
pages: no store, no queue, no models' names.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

Truth = Callable[[str, str], float]
"""(prompt, answer) -> how good the answer is, in nats of preference."""

STOPS = 7
"""Places of the slider, from "A much better" to "B much better"."""


class Page(HTMLParser):
    """What a person sees of a page: the hidden fields of its forms, the prompt and the answers."""

    def __init__(self, html: str):
        super().__init__()
        self.hidden: dict[str, str] = {}
        self.texts: list[str] = []
        self._depth = 0
        self.feed(html)

    @property
    def is_question(self) -> bool:
        """Whether something is asked."""
        return "assignment" in self.hidden

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and given.get("type") == "hidden":
            self.hidden.setdefault(str(given["name"]), given.get("value") or "")
        if self._depth and tag == "div":
            self._depth += 1
        elif tag == "div" and "as-written" in (given.get("class") or "").split():
            self._depth = 1
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._depth and tag == "div":
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        if self._depth:
            self.texts[-1] += data


@dataclass
class Worker:
    """A person with an invitation.

    Args:
        link (`str`): The invitation.
        noise (`float`): Deviation, in nats, of what this person sees from the truth; 0 is never wrong.
        truth (`Callable`): [`Truth`].
        seed (`int`): Of the noise.
    """

    link: str
    noise: float
    truth: Truth
    seed: int
    answered: int = 0
    right: int = 0
    _browser: OpenerDirector = field(default_factory=lambda: build_opener(HTTPCookieProcessor(CookieJar())))
    _joined: bool = False

    def work(self) -> int:
        """Answers until there is nothing left to answer; gives how many answers that were."""
        page = self._get("/") if self._joined else self._join()
        before = self.answered
        while page.is_question:
            prompt, left, right = page.texts[-3:]
            truth = self.truth(prompt, left) - self.truth(prompt, right)
            seen = truth + random.Random(f"{self.seed} {prompt} {left} {right}").gauss(0, self.noise)
            stop = round((STOPS - 1) / (1 + math.exp(seen)))  # the left end is "A much better"
            page = self._post("/answer", {**page.hidden, "view": "written", "strength": str(stop)})
            self.answered += 1
            self.right += (seen > 0) == (truth > 0)
        return self.answered - before

    def _join(self) -> Page:
        invitation = self._get(self.link)
        self._post("/join", invitation.hidden)
        self._joined = True
        return self._get("/")

    def _get(self, path: str) -> Page:
        with self._browser.open(urljoin(self.link, path), timeout=60) as response:
            return Page(response.read().decode())

    def _post(self, path: str, fields: dict[str, str]) -> Page:
        with self._browser.open(urljoin(self.link, path), urlencode(fields).encode(), timeout=60) as response:
            return Page(response.read().decode())


def work_together(crowd: Sequence[Worker]) -> int:
    """All of them at the same time, until nobody has anything left to answer."""
    total = 0
    with ThreadPoolExecutor(len(crowd)) as pool:
        while done := sum(pool.map(Worker.work, crowd)):
            total += done
    return total
