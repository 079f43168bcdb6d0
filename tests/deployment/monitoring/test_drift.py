"""Features of texts, drift of both sides, and how often there is a false alarm."""

import json
import math

import numpy as np
import pytest

from rlhf_ext.deployment.monitoring import DriftSettings, DriftWatch, SideWatch
from rlhf_ext.deployment.monitoring.drift import asked_last
from rlhf_ext.deployment.monitoring.features import characters, edges_of, embedding, language, length, words
from rlhf_ext.stats import wilson

VOCABULARY = [
    f"{a}{b}" for a in ("ba", "do", "ki", "lu", "me", "no", "pa", "ri") for b in ("ta", "ne", "sol", "mir", "x")
]
KEBAB = "Wie lange muss der Teig ruhen, bevor ich ihn backe?"


def texts(rng, count, topic=0, mean=20.0):
    """Texts whose words are drawn by rank: the topic says which words are common."""
    weights = np.roll(1 / np.arange(1, len(VOCABULARY) + 1), topic)
    sizes = rng.poisson(mean, count) + 1
    return [" ".join(rng.choice(VOCABULARY, size, p=weights / weights.sum())) for size in sizes]


def test_features_are_about_what_they_say():
    rng = np.random.default_rng(0)
    reference = texts(rng, 200)
    assert length(reference)("abc") == math.log1p(3)
    common = words(reference)
    assert np.mean([common(t) for t in texts(rng, 50, topic=20)]) > np.mean([common(t) for t in texts(rng, 50)]) + 0.3
    kinds = characters(reference)
    plain = max(kinds(text) for text in reference)
    assert all(kinds(text) > plain for text in ("Привет, как дела", "{x: [1, 2], y: 3}", "你好吗", "\x00\x01\x02"))


def test_features_are_finite_for_anything_that_comes():
    reference = ["a b c", "", "\ud800 lone", "x" * 5000, "\x00", "🙂"]
    for make in (length, characters, words, language):
        feature = make(reference)
        assert all(math.isfinite(feature(text)) for text in [*reference, "new 123", "שלום"])


def test_a_new_language_is_rare_in_the_reference():
    english = [
        "How long does the dough have to rest?",
        "What is the capital of France?",
        "Please write me a poem.",
    ] * 30
    rare = language(english)
    assert rare(KEBAB) > 4 > 0.1 > rare("Where can I buy bread around here?")


def test_embeddings_are_far_from_what_the_reference_has_not(tiny):
    from transformers import AutoModel, AutoTokenizer

    from rlhf_ext.rewards.functions.encoders import Encoder

    encoder = Encoder(AutoModel, AutoModel.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny))
    far = embedding(["one two three", "four five six"], encoder)
    assert far("one two three") == pytest.approx(0, abs=1e-5)
    assert far("zebra") > 1e-3 and math.isfinite(far(""))


@pytest.mark.parametrize("values", [[1.0] * 50, [0.0, 1.0] * 25, list(range(100)), [0.0] * 90 + list(range(10))])
def test_edges_rise_and_hold_what_lies_beyond(values):
    edges = edges_of(values)
    assert (np.diff(edges) > 0).all()
    at = np.searchsorted(edges, [-1e9, *values, 1e9], side="right")
    assert at.min() == 0 and at.max() == len(edges)


def watch_of(alpha=0.05, seed=0, **makers):
    return SideWatch("input", makers or {"length": length, "words": words}, alpha, reference=120, seed=seed)


def test_streams_without_drift_raise_no_more_alarms_than_nominal():
    rng = np.random.default_rng(7)
    alpha, streams = 0.1, 40
    alarms = 0
    for seed in range(streams):
        watch = watch_of(alpha, seed)
        alarms += bool([found for text in texts(rng, 400) if (found := watch.add(text))])
    rate = wilson(alarms, streams)
    assert rate.low <= alpha, rate
    assert alarms <= 4


@pytest.mark.parametrize(
    ("changed", "feature", "soon"), [({"mean": 40.0}, "length", 60), ({"topic": 20}, "words", 120)]
)
def test_planted_drift_is_found_where_it_is(changed, feature, soon):
    rng = np.random.default_rng(3)
    delays = []
    for seed in range(5):
        watch = watch_of(0.01, seed)
        assert not any(watch.add(text) for text in texts(rng, 420))
        for number, text in enumerate(texts(rng, 400, **changed), 1):
            found = watch.add(text)
            if found:
                assert found[0].feature == feature and found[0].after == 300 + number
                delays.append(number)
                break
    assert len(delays) == 5 and np.median(delays) <= soon


def test_after_a_change_a_new_reference_is_taken_and_alpha_is_spent():
    rng = np.random.default_rng(4)
    watch = watch_of(0.01)
    assert watch.standing()[0].reference == 0
    for text in texts(rng, 200):
        watch.add(text)
    first = watch.threshold
    assert first == pytest.approx(math.log(2 * 2 / 0.01))  # two features, and half of alpha for the first reference
    while not any(watch.add(text) for text in texts(rng, 1, mean=60)):
        pass
    standing = {one.feature: one for one in watch.standing()}
    assert standing["length"].changed is not None and standing["length"].reference == 0
    for text in texts(rng, 120, mean=60):
        watch.add(text)
    assert all(one.changed is None and one.reference == 120 and one.compared == 0 for one in watch.standing())
    assert watch.threshold == pytest.approx(math.log(2 * 6 / 0.01))


def test_both_sides_are_watched_and_only_so_many_texts(caplog):
    rng = np.random.default_rng(5)
    watch = DriftWatch(DriftSettings(reference=100, features=["length"], per_minute=100_000), clock=lambda: 50.0)
    for text in texts(rng, 300):
        assert watch.add([{"role": "system", "content": "x" * 999}, {"role": "user", "content": text}], text) == []
    found = []
    for text in texts(rng, 300, mean=60):
        found += watch.add("the same length", text)
        if {change.side for change in found} == {"input", "output"}:
            break
    assert {change.side for change in found} == {"input", "output"} and found[0].time == 50.0
    assert "length of the" in caplog.text and len(watch.changes) >= 2
    slow = DriftWatch(DriftSettings(reference=100, features=["length"], per_minute=5))
    for _ in range(50):
        slow.add("a", "b")
    assert {one.reference for one in slow.standing()} == {5}


def test_what_has_no_text_is_passed_over():
    watch = DriftWatch(DriftSettings(features=["length"]))
    for prompt in (None, [], [{"role": "user", "content": None}], [1, 2, 3]):
        watch.add(prompt, None)
    assert {one.reference for one in watch.standing()} == {0}
    assert asked_last([{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url"}]}]) == "hi"
    assert asked_last("x") == "x"


def test_a_reference_of_a_file(tmp_path):
    path = tmp_path / "reference.jsonl"
    rows = [
        {"prompt": [{"role": "user", "content": f"question {i % 9}"}], "completion": "a" * (i % 13)}
        for i in range(100)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    watch = DriftWatch(DriftSettings(reference=100, file=str(path), features=["length", "words"]))
    assert {one.reference for one in watch.standing()} == {100}
    with pytest.raises(ValueError, match="100 rows, and the reference is to have 101"):
        DriftWatch(DriftSettings(reference=101, file=str(path)))
    path.write_text('{"prompt": "a"}\n')
    with pytest.raises(ValueError, match=r"line 1: expected JSON with `prompt` and `completion`"):
        DriftWatch(DriftSettings(file=str(path)))
    with pytest.raises(FileNotFoundError):
        DriftWatch(DriftSettings(file=str(tmp_path / "none")))
