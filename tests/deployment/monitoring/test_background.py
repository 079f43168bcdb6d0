"""Work in the background: bounded, and its errors are its own, counted and logged once of each kind."""

import threading
import time

import pytest

from rlhf_ext.deployment.monitoring import Failures
from rlhf_ext.deployment.monitoring.background import Background
from rlhf_ext.deployment.monitoring.sampling import drawn, load_scores, score_all
from rlhf_ext.deployment.monitoring.settings import SampleSettings, ScoreSettings

from .traffic import Clock


def test_errors_are_counted_and_logged_once_of_each_kind(caplog):
    counted, clock = [], Clock(0.0)
    failures = Failures(lambda *what: counted.append(what), clock)
    for number in range(6):
        clock.now = number
        with failures.within("part"):
            raise (ValueError if number % 2 else KeyError)("the text")
    with failures.within("other") as other:
        pass
    assert not other.failed
    assert counted == [("part", "KeyError"), ("part", "ValueError")] * 3
    assert len(caplog.records) == 2 and "the text" not in caplog.text
    assert "part failed (KeyError at " in caplog.text and f"{__file__}:" in caplog.text
    assert failures.count(3.0) == 3 and failures.count(0.0, "other") == 0


def test_interrupts_go_their_way():
    with pytest.raises(KeyboardInterrupt), Failures().within("part"):
        raise KeyboardInterrupt


def test_what_has_no_room_is_dropped_at_once_and_the_rest_is_handled():
    free, handled, dropped = threading.Event(), [], []

    def handle(things):
        free.wait(5)
        handled.extend(things)

    work = Background("w", handle, Failures(), 3, lambda: dropped.append(1), batch=2)
    work.start()
    assert work.put(0)
    while work.waiting:
        time.sleep(0.001)
    started = time.monotonic()
    assert [work.put(number) for number in range(1, 9)] == [True] * 3 + [False] * 5
    assert time.monotonic() - started < 0.2 and len(dropped) == 5
    free.set()
    assert work.settle(5) and handled == [0, 1, 2, 3]
    work.stop(1)
    assert not work._thread.is_alive()


def test_an_error_ends_neither_the_thread_nor_what_comes_next():
    failures, handled = Failures(), []

    def handle(things):
        if things[0] == 1:
            raise ValueError("one")
        handled.extend(things)

    work = Background("w", handle, failures, 10, lambda: None)
    work.start()
    for number in range(3):
        work.put(number)
    assert work.settle(5) and handled == [0, 2] and failures.count(0) == 1
    work.stop(1)


def test_stopping_handles_what_is_left_or_leaves_it():
    handled = []
    work = Background("w", handled.extend, Failures(), 10, lambda: None, batch=100)
    for number in range(5):
        work.put(number)
    work.start()
    work.stop(2)
    assert handled == [0, 1, 2, 3, 4]
    stuck = Background("w", lambda things: time.sleep(1), Failures(), 10, lambda: None)
    stuck.start()
    stuck.put(1)
    while stuck.waiting:
        time.sleep(0.001)
    started = time.monotonic()
    stuck.stop(0.1)
    assert time.monotonic() - started < 0.8


def test_the_draw_is_the_share_the_same_everywhere_and_another_with_another_seed():
    ids = [f"chatcmpl-{number}" for number in range(20_000)]
    first = {one for one in ids if drawn(one, 0.1, 0)}
    assert len(first) == pytest.approx(2000, abs=150)
    assert first < {one for one in ids if drawn(one, 0.2, 0)}  # a larger share draws more, not others
    second = {one for one in ids if drawn(one, 0.1, 1)}
    assert len(first & second) == pytest.approx(200, abs=60)
    assert all(drawn(one, 1.0, 0) for one in ids[:100]) and not any(drawn(one, 0.0, 0) for one in ids[:100])


def bad(prompts, completions, **columns):
    raise RuntimeError("no")


def none(prompts, completions, **columns):
    return [None] * len(prompts)


def lengths(prompts, completions, **columns):
    assert all(isinstance(one, list) for one in completions)  # messages, as the prompt
    return [float(len(one[0]["content"])) for one in completions]


def test_one_score_that_fails_leaves_the_others_theirs():
    failures, found = Failures(), []
    prompts = [[{"role": "user", "content": "q"}]] * 2
    functions = {"bad": bad, "none": none, "length": lengths, "nan": lambda prompts, completions: [float("nan")] * 2}
    score_all(functions, prompts, ["ab", "abc"], failures.within, lambda *told: found.append(told))
    assert found == [("none", 0, None), ("none", 1, None), ("length", 0, 2.0), ("length", 1, 3.0)]
    assert [(part, kind) for _, part, kind in failures.recent] == [
        ("score bad", "RuntimeError"),
        ("score nan", "ValueError"),
    ]


def test_reward_functions_are_loaded_by_name_or_refused_by_it():
    def load(**score):
        return load_scores(SampleSettings(scores={"s": ScoreSettings(**score)}))["s"]

    assert load(reward=f"{__name__}:none") is none
    refusal = load(reward="rlhf_ext.rewards.refusal:Refusal", arguments={"window": 5})
    assert refusal.window == 5 and load(reward="rlhf_ext.rewards.refusal:Refusal").window == 200
    for wrong, words in (
        ({"reward": "rlhf_ext.nowhere:X"}, "cannot be found"),
        ({"reward": "rlhf_ext.rewards.refusal:Nothing"}, "cannot be found"),
        ({"reward": "rlhf_ext.rewards.refusal:Refusal", "arguments": {"window": 0}}, "cannot be made: `window` must"),
        ({"reward": "rlhf_ext.rewards.refusal:Refusal", "arguments": {"wide": 1}}, "cannot be made"),
        ({"reward": "rlhf_ext.rewards.refusal:_PHRASES"}, "is no reward function"),
    ):
        with pytest.raises(ValueError, match=rf"monitoring.sample.scores.s: .*{words}"):
            load(**wrong)
    with pytest.raises(ValueError, match="`reward` should be `module:name`"):
        ScoreSettings(reward="Refusal")
