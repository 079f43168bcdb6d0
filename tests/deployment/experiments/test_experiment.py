"""Who gets which variant."""

import doctest
import importlib
import subprocess
import sys
from collections import Counter

import pytest

from rlhf_ext.deployment.experiments import Assignment, Experiment, Experiments
from rlhf_ext.stats import sample_ratio_test

USERS = [f"user {index}" for index in range(20_000)]
THREE = Experiment("three", {"a": 0.5, "b": 0.3, "c": 0.2}, salt="s")


def variants(experiment, users=USERS):
    return [experiment.assign(user).variant for user in users]


@pytest.mark.parametrize("module", ["experiment", "layers", "guards", "canary", "report"])
def test_the_examples_run(module):
    assert doctest.testmod(importlib.import_module(f"rlhf_ext.deployment.experiments.{module}")).failed == 0


def test_users_are_dealt_by_the_weights():
    counts = Counter(variants(THREE))
    assert sample_ratio_test([counts["a"], counts["b"], counts["c"]], [0.5, 0.3, 0.2]) > 0.01


def test_the_same_user_gets_the_same_in_every_process():
    code = (
        "from rlhf_ext.deployment.experiments import Experiment\n"
        "e = Experiment('three', {'c': 0.2, 'a': 0.5, 'b': 0.3}, salt='s')\n"  # in whatever order
        "print(''.join(e.assign(f'user {i}').variant for i in range(200)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "".join(variants(THREE, USERS[:200]))
    # Pinned: a release that dealt anew would end every experiment that is on.
    assert found.startswith("".join(variants(THREE, USERS[:40])))
    assert [THREE.assign(user).variant for user in ("ada", "ben", "cy", "dora", "\ud83d")] == PINNED


PINNED = ["b", "b", "a", "a", "a"]


def test_a_ramp_moves_users_to_the_canary_only():
    shares = [0.01, 0.05, 0.2, 0.5, 1.0]
    before = variants(THREE.with_weights({"a": 0.6, "b": 0.4, "c": 0.0}))
    for share in shares:
        now = variants(THREE.with_weights({"a": 0.6 * (1 - share), "b": 0.4 * (1 - share), "c": share}))
        assert all(new == old or new == "c" for old, new in zip(before, now, strict=True))
        before = now
    assert set(before) == {"c"}


def test_few_users_move_when_weights_change():
    moved = sum(
        old != new
        for old, new in zip(variants(THREE), variants(THREE.with_weights({"a": 0.6, "b": 0.3, "c": 0.1})), strict=True)
    )
    # 0.1 of them must; no rule that knows only the weights of now can do with it for all changes, and this one is near.
    assert 0.1 <= moved / len(USERS) < 0.2


def test_salt_and_name_deal_anew_and_independently():
    for other in (Experiment("three", THREE.variants, salt="t"), Experiment("four", THREE.variants, salt="s")):
        both = Counter(zip(variants(THREE), variants(other), strict=True))
        pairs = [(a, b) for a in "abc" for b in "abc"]
        expected = [THREE.variants[a] * THREE.variants[b] for a, b in pairs]
        assert sample_ratio_test([both[pair] for pair in pairs], expected) > 0.01


def test_holdouts_get_the_control_grow_and_are_independent_of_the_variant():
    small, large = (
        Experiment("e", {"a": 0.5, "b": 0.5}, salt="s", holdout=share, overrides={"ada": "b"}) for share in (0.1, 0.3)
    )
    held = {user for user in USERS if small.assign(user).why == "holdout"}
    assert 0.09 < len(held) / len(USERS) < 0.11
    assert all(large.assign(user) == Assignment("e", "a", "holdout") for user in held)
    rest = Counter(small.assign(user).variant for user in USERS if user not in held)
    assert sample_ratio_test([rest["a"], rest["b"]], [0.5, 0.5]) > 0.01
    assert small.assign("ada") == Assignment("e", "b", "override")


def test_shadows_are_drawn_by_request_at_their_rate():
    experiment = Experiment("e", {"a": 1.0}, salt="s", shadow={"x": 0.25, "y": 1.0, "z": 0.0})
    drawn = Counter(variant for index in range(4_000) for variant in experiment.shadows(f"request {index}"))
    assert drawn["y"] == 4_000 and drawn["z"] == 0 and 900 < drawn["x"] < 1_100


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"variants": {"a": 0.5, "b": 0.4}}, "must sum to 1.*sum to 0.9"),
        ({"variants": {}}, "must sum to 1"),
        ({"variants": {"a": 1.5, "b": -0.5}}, "'a' must be a number in"),
        ({"variants": {"a": True}}, "must be a number"),
        ({"variants": {"": 1.0}}, "name is a text"),
        ({"variants": [1]}, "must be a mapping"),
        ({"salt": ""}, "`salt`"),
        ({"name": 3}, "`name`"),
        ({"holdout": 1.0}, "nobody would be"),
        ({"holdout": float("nan")}, "`holdout`"),
        ({"overrides": {"ada": "z"}}, "'ada' is to get 'z', and there are a"),
        ({"shadow": {"x": 2}}, "`shadow`"),
    ],
)
def test_experiments_that_make_no_sense_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        Experiment(**{"name": "e", "variants": {"a": 1.0}, "salt": "s", **fields})


def test_requests_without_a_user_are_no_ones():
    for user in ("", None):
        with pytest.raises(ValueError, match="A user is a text"):
            THREE.assign(user)


def test_two_experiments_on_the_same_traffic_need_layers():
    one, other = Experiment("one", {"a": 1.0}, salt="s", traffic="m"), Experiment("two", {"a": 1.0}, salt="s")
    with pytest.raises(ValueError, match="'one' and 'two' are on the same traffic"):
        Experiments([one, other])
    with pytest.raises(ValueError, match="have the name 'one'"):
        Experiments([one, one])
    apart = Experiments([one, Experiment("two", {"a": 1.0}, salt="s", traffic="n")])
    assert [e.name for e in apart.on("m")] == ["one"] and apart.on("o") == ()
    layered = Experiments([one, Experiment("two", {"a": 1.0}, salt="s", layer="prompt")])
    assert [e.name for e in layered.on("m")] == ["one", "two"] and len(layered) == 2
    with pytest.raises(KeyError, match="no experiment 'three'"):
        layered["three"]
