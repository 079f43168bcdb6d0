"""Components for the tests of mixed rewards: they say of each row what its columns tell them to."""

import asyncio
import math
import threading


def column(name):
    """A reward function that reads its scores from a column."""

    def reward(**columns):
        return columns[name]

    reward.__name__ = name
    return reward


class Length:
    """Characters of the completion; a class, so that it pickles."""

    def __call__(self, *, completions, **_):
        return [float(len(text)) for text in completions]


class SlowLength(Length):
    """The same, a tenth of a second later."""

    async def __call__(self, **columns):
        await asyncio.sleep(0.1)
        return Length.__call__(self, **columns)


class Meeting:
    """Async reward functions that give lengths once all of them have been called; alone, one waits in vain."""

    def __init__(self, size):
        self.size, self.here = size, 0
        self.complete = threading.Event()

    async def __call__(self, **columns):
        self.here += 1
        for _ in range(2000):
            if self.here == self.size:
                self.complete.set()
                return Length()(**columns)
            await asyncio.sleep(0.005)
        raise TimeoutError(f"{self.here} of {self.size} were called")


class Log:
    """What TRL's `log_metric` and `log_extra` collect."""

    def __init__(self):
        self.metrics, self.table = {}, {}

    def columns(self):
        return {"log_metric": self.metrics.__setitem__, "log_extra": self.table.__setitem__}


def score(reward, prompts=None, completions=None, **columns):
    """Calls a reward function on columns of scores."""
    n = len(next(iter(columns.values()))) if columns else len(completions)
    prompts = prompts or [f"p{i}" for i in range(n)]
    return reward(prompts=prompts, completions=completions or [f"c{i}" for i in range(n)], **columns)


def is_none(values):
    return [value is None or math.isnan(value) for value in values]
