"""Canaries: ramps, guards, workers that share a store, and stores that fail."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from rlhf_ext.data.store.database import Database
from rlhf_ext.deployment.experiments import Canary, Experiment, Guard, Observation, Step, StoredCanaries, Transition
from rlhf_ext.stats import Moments, wilson

BASE = Experiment("models", {"old": 0.6, "other": 0.4, "new": 0.0}, salt="s")
STEPS = [Step(0.05, seconds=60, users=20), Step(0.5, users=50)]
ERRORS = Guard("error", at_most=0.05)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def make(store, guards=(ERRORS,), steps=STEPS, **settings):
    return Canary(BASE, "new", steps, guards, store, clock=settings.pop("clock", Clock()), **settings)


def serve(canary, seed, users, error, variant="new", prefix="user"):
    rng = np.random.default_rng(seed)
    for user in range(users):
        canary.observe(variant, "error", float(rng.random() < error), f"{prefix} {user}")


def test_a_good_canary_waits_for_time_and_users_and_goes_on(store):
    clock = Clock()
    canary = make(store, clock=clock)
    assert canary.share() == 0.05 and canary.step().reason == "waits for 60 seconds, 20 users, a value of error"
    serve(canary, 0, 20, 0.0)
    assert canary.step().reason == "waits for 60 seconds" and canary.share() == 0.05
    clock.now += 61
    assert canary.step().stage == 1 and canary.share() == 0.5
    assert canary.step().reason == "waits for 50 users, a value of error"  # each step counts for itself
    serve(canary, 0, 50, 0.0)
    assert canary.step().state == "complete" and canary.share() == 0.5
    serve(canary, 0, 80, 1.0, prefix="later")
    assert canary.step().state == "rolled_back"  # the guards still hold


def test_a_planted_regression_is_rolled_back_for_good_and_says_why(store):
    canary = make(store)
    for turn in range(60):
        serve(canary, turn, 1, 0.5, prefix=f"turn {turn}")
        if canary.step().state == "rolled_back":
            break
    standing = canary.standing()
    assert standing.state == "rolled_back" and standing.share == canary.share() == 0 and 5 < turn < 50
    assert standing.reason.startswith("error is 0.") and "above 0.05" in standing.reason
    serve(canary, 0, 500, 0.0)
    assert canary.step() == standing == make(store).step()  # after a restart, too
    assert [one.kind for one in store.transitions("models/new")] == ["started", "rolled_back"]
    assert all(canary.experiment().assign(f"user {u}").variant != "new" for u in range(200))


def test_weights_of_now_keep_the_proportion_of_the_others(store):
    weights = make(store).experiment().variants
    assert weights == pytest.approx({"old": 0.57, "other": 0.38, "new": 0.05})
    alone = Canary(Experiment("two", {"old": 0.0, "new": 1.0}, salt="s"), "new", STEPS, [ERRORS], store)
    assert alone.experiment().variants == pytest.approx({"old": 0.95, "new": 0.05})


def test_a_canary_at_its_bound_is_rarely_rolled_back_though_one_looks_after_every_third_user():
    """200 runs of 300 users, at the bound exactly; beside it the interval for one look."""
    rng, rolled_back, naive = np.random.default_rng(3), 0, 0
    looks = range(1, 301, 3)
    for _ in range(200):
        errors = [int(count) for count in np.cumsum(rng.random(300) < 0.05)]
        always = (
            ERRORS.estimate(Moments(n, errors[n - 1] / n, 0.0), Moments(), 0.95, 30)
            for n in looks
            if errors[n - 1] > 0.05 * n
        )
        rolled_back += any(ERRORS.broken(estimate) for estimate in always)
        naive += any(wilson(errors[n - 1], n).low > 0.05 for n in looks)
    assert rolled_back <= 10 < naive


def test_the_probability_of_a_false_alarm_is_shared_by_guards_and_steps(store):
    def broken(n, confidence):
        return bool(ERRORS.broken(ERRORS.estimate(Moments(n, 1.0), Moments(), confidence, 30)))

    enough = next(n for n in range(1, 50) if broken(n, 0.95))
    many = [Step(0.05 * (step + 1)) for step in range(12)]
    assert not broken(enough, 1 - 0.05 / len(many))
    for steps, state in ((many[:1], "rolled_back"), (many, "ramping")):
        canary = make(store, steps=steps, name=state)
        serve(canary, 0, enough, 1.0)
        assert canary.step().state == state
        assert canary.standing().stage == (state == "ramping")


@pytest.mark.parametrize(
    ("guard", "good", "bad"),
    [
        (
            Guard("m", at_most=4.0, quantile=0.95, rate=False),
            lambda rng: rng.exponential(1.0),
            lambda rng: rng.exponential(3.0),
        ),
        (Guard("m", at_least=0.5), lambda rng: rng.random() < 0.6, lambda rng: rng.random() < 0.2),
        (Guard("m", at_most=2.0, rate=False), lambda rng: rng.exponential(1.5), lambda rng: rng.exponential(5.0)),
        (
            Guard("m", at_most=0.1, against_control=True),
            lambda rng: rng.random() < 0.3,
            lambda rng: rng.random() < 0.9,
        ),
        (Guard("m", at_most=0.05, per="request"), lambda rng: 0.0, lambda rng: 1.0),
    ],
    ids=["quantile", "at least", "mean", "against the control", "by request"],
)
def test_every_kind_of_guard_lets_the_good_pass_and_stops_the_bad(store, guard, good, bad):
    for name, draw, stopped in (("good", good, False), ("bad", bad, True)):
        rng, canary = np.random.default_rng(1), make(store, [guard], [Step(0.2, users=10_000)], name=name)
        for user in range(150):
            canary.observe("new", "m", float(draw(rng)), "one" if guard.per == "request" else f"user {user}")
            for other in range(4):
                canary.observe("old", "m", float(good(rng)), f"old {user} {other}")
        assert (canary.step().state == "rolled_back") is stopped


def test_one_user_with_many_failures_is_one_user(store):
    canary = make(store)
    for _ in range(500):
        canary.observe("new", "error", 1.0, "ada")
    assert canary.step().state == "ramping"
    assert store.figures("models/new", 0)[("new", "0 error")] == Moments(1, 1.0, 0.0)
    by_request = make(store, [replace(ERRORS, per="request")], name="by request")
    for _ in range(20):
        by_request.observe("new", "error", 1.0, "ada")
    assert by_request.step().state == "rolled_back"


def test_users_means_are_those_of_all_their_values_over_all_workers(store):
    workers = [make(store), make(store)]
    rng, values = np.random.default_rng(0), {}
    for turn in range(200):
        user, value = f"user {rng.integers(30)}", float(rng.random() < 0.02)
        values.setdefault(user, []).append(value)
        workers[turn % 2].observe("new", "error", value, user)
        if turn % 7 == 0:
            workers[turn % 2].step()
    for worker in workers:
        worker.step()
    expected = Moments.of(float(np.mean(v)) for v in values.values())
    found = store.figures("models/new", 0)[("new", "0 error")]
    assert (found.n, found.mean, found.squares) == pytest.approx((expected.n, expected.mean, expected.squares))
    assert store.figures("models/new", 0)[("new", "users")].n == len(values)


def test_workers_agree_though_all_decide_at_once(store, url):
    clock = Clock()
    stores = [store, *(StoredCanaries(Database(url)) for _ in range(5))]
    workers = [make(one, clock=clock) for one in stores]
    for index, worker in enumerate(workers):
        serve(worker, index, 10, 0.0, prefix=f"worker {index}")
        worker._send()
    clock.now += 100
    threads = [threading.Thread(target=worker.step) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.kind for one in store.transitions("models/new")] == ["started", "advanced"]
    assert {worker.share() for worker in workers} == {0.5}
    assert store.figures("models/new", 0)[("new", "users")].n == 60
    for one in stores[1:]:
        one.database.close()


def test_who_wants_to_roll_back_does_so_though_another_has_gone_a_step_on(store):
    clock = Clock()
    slow = make(store, clock=clock)
    serve(slow, 0, 40, 0.9)
    slow._send()
    # Meanwhile another worker advances; it could not know.
    assert store.append("models/new", Transition(1, "advanced", 1, 0.5, clock.now, "no guard is broken"))
    slow._decide()
    assert slow.share() == 0
    assert [one.kind for one in store.transitions("models/new")] == ["started", "advanced", "rolled_back"]


def test_transitions_are_compared_and_set(store):
    first = Transition(0, "started", 0, 0.1, 0.0, "x")
    assert store.append("c", first) and not store.append("c", first)
    assert not store.append("c", replace(first, number=2))
    assert store.append("c", replace(first, number=1)) and len(store.transitions("c")) == 2


def test_a_batch_that_is_sent_again_counts_once(store):
    some = [Observation("new", "k", "ada", 1.0), Observation("new", "k", None, 0.0)]
    for _ in range(3):
        store.add("c", 0, some, "worker", 1)
    assert store.figures("c", 0)[("new", "k")].n == 2
    store.add("c", 0, [Observation("new", "k", "ada", 0.0)], "worker", 2)
    assert store.figures("c", 0)[("new", "k")].mean == 0.25  # ada's mean is 0.5 now


def test_what_was_observed_while_the_store_was_out_of_reach_is_not_lost(store, monkeypatch):
    canary = make(store)
    canary.observe("new", "error", 0.0, "ada")

    def away(*args):
        raise ConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "add", away)
        with pytest.raises(ConnectionError):
            canary.step()
    canary.observe("new", "error", 0.0, "ben")
    canary.step()
    canary.step()
    assert store.figures("models/new", 0)[("new", "0 error")].n == 2


def test_people_can_roll_back(store):
    canary = make(store)
    assert canary.roll_back("the tone is off").reason == "the tone is off"
    assert canary.roll_back("again").reason == canary.step().reason == "the tone is off"


def test_users_are_kept_as_hashes(tmp_path):
    store = StoredCanaries(Database(tmp_path / "store.sqlite"))
    canary = make(store)
    canary.observe("new", "error", 0.0, "ada@example.org")
    canary.step()
    store.database.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"0 error" in stored and b"ada@example.org" not in stored


def test_what_does_not_concern_the_guards_is_passed_over_and_wrong_values_are_named(store):
    canary = make(store)
    canary.observe("other", "error", 1.0, "ada")
    canary.observe("new", "taste", 1.0, "ada")
    canary.observe("new", "error", None, "ada")
    canary.step()
    assert set(store.figures("models/new", 0)) == {("new", "users")}
    for value, said in ((2.0, r"'error' must be in \[0, 1\]"), (float("nan"), "finite")):
        with pytest.raises(ValueError, match=said):
            canary.observe("new", "error", value, "ada")


def test_canaries_and_guards_that_make_no_sense_are_refused(store):
    make(store)
    for build, said in (
        (lambda: make(store, [Guard("error", at_most=0.5)]), "another `name`"),
        (lambda: make(store, []), "without guards"),
        (lambda: make(store, steps=[Step(0.5), Step(0.1)], name="x"), "growing shares"),
        (lambda: make(store, alpha=0.0, name="x"), "`alpha`"),
        (lambda: Canary(BASE, "old", STEPS, [ERRORS], store), "other than its control"),
        (lambda: Step(0.0), "`share`"),
        (lambda: Step(0.1, users=-1), "negative"),
        (lambda: Guard("m"), "at_most"),
        (lambda: Guard("m", at_most=1, at_least=0), "at_most"),
        (lambda: Guard("m", at_most=5), "rate"),
        (lambda: Guard("m", at_most=float("inf")), "finite"),
        (lambda: Guard("m", at_least=0.5, quantile=0.9), "quantile"),
        (lambda: Guard("m", at_most=0.5, per="key"), "`per`"),
        (lambda: Guard("", at_most=0.5), "`metric`"),
    ):
        with pytest.raises(ValueError, match=said):
            build()
