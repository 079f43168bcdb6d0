"""Figures for the admin, against counts made by hand, and what counts as right on a gold question."""

import pytest

from rlhf_ext.data.store import FeedbackItem, FeedbackRecord, FeedbackStore, WorkQueue, failed_annotators
from rlhf_ext.data.store.gold import is_right
from rlhf_ext.stats import krippendorff_alpha

PAIR = ("comparison", "?", ("a", "b"))
RANKED = ("ranking", "?", ("a", "b", "c"))
RATED = {"kind": "rating", "prompt": "?", "responses": ("a",), "scales": {"truth": (1, 5), "wit": (0, 1)}}


@pytest.mark.parametrize(
    ("item", "right", "wrong"),
    [
        (FeedbackItem(*PAIR, gold={"strength": 1}), [0.51, 0.9, 1], [0.5, 0.49, 0]),
        (FeedbackItem(*PAIR, gold={"strength": 0.2}), [0, 0.49], [0.5, 0.6]),
        (FeedbackItem(*PAIR, gold={"strength": 0.5}), [0.5, 0.41, 0.6], [0.39, 0.7]),
    ],
)
def test_a_gold_comparison(item, right, wrong):
    assert all(is_right(item, {"strength": strength}) for strength in right)
    assert not any(is_right(item, {"strength": strength}) for strength in wrong)


def test_a_gold_rating_and_a_gold_ranking():
    rated = FeedbackItem(**RATED, gold={"scales": {"truth": 4, "wit": 1}})
    assert is_right(rated, {"scales": {"truth": 5, "wit": 1}}) and is_right(rated, {"scales": {"truth": 3, "wit": 1}})
    assert not is_right(rated, {"scales": {"truth": 2, "wit": 1}})
    assert not is_right(rated, {"scales": {"truth": 4, "wit": 0}})
    ranked = FeedbackItem(*RANKED, gold={"order": [[0, 1], 2]})
    assert is_right(ranked, {"order": [1, 0, 2]}) and is_right(ranked, {"order": [[0, 1], 2]})
    assert not is_right(ranked, {"order": [0, 2, 1]}) and not is_right(ranked, {"order": [[0, 1, 2]]})
    with pytest.raises(ValueError, match="is no gold item"):
        is_right(FeedbackItem(*PAIR), {"strength": 1})


def shown_first(asked, strength):
    """A value that prefers what the annotator sees first with `strength`."""
    return {"strength": strength if asked.shown_order[0] == 0 else 1 - strength}


def test_the_overview_of_a_known_crowd(url):
    store = FeedbackStore(url)
    queue = WorkQueue(store, gold_rate=0.3)
    queue.add([FeedbackItem("comparison", f"? {n}", ("a", "b"), wanted=2, id=f"item {n}") for n in range(30)])
    queue.add([FeedbackItem("comparison", f"gold {n}", ("a", "b"), gold={"strength": 1}) for n in range(6)])
    queue.add([FeedbackItem("comparison", "kept", ("a", "b"), wanted=0)])
    asked_gold = {"left": 0, "careful": 0}
    for name in asked_gold:
        for n in range(20):
            asked = queue.next(name)
            value = shown_first(asked, 0.9) if name == "left" else {"strength": 0.9}
            asked_gold[name] += asked.item.gold is not None
            if name == "careful" and n == 3:
                queue.skip(asked.id, name, "hard")
                asked_gold[name] -= asked.item.gold is not None
            else:
                queue.submit(asked.id, name, value, seconds=float(n))
    queue.undo("careful")
    found = queue.overview()
    careful, left = found.annotators
    assert (careful.annotator, careful.answers, careful.skips) == ("careful", 18, 1)
    assert (left.annotator, left.answers, left.skips, left.median_seconds) == ("left", 20, 0, 9.5)
    assert found.answers == 38 and found.skips == 1
    assert left.first_shown.value == 1.0 and left.first_shown.n == 20 and careful.first_shown.value < 0.9
    assert left.gold_asked == asked_gold["left"] > 0 and left.gold_right < left.gold_asked
    assert careful.gold_right == careful.gold_asked > 0
    assert found.items["gold"] == 6 and found.items["kept"] == 1
    assert found.items["open"] + found.items["begun"] + found.items["done"] == 30 and found.items["done"] > 5
    assert failed_annotators(found, min_right=0.95, min_asked=1) == ["left"]
    assert failed_annotators(found, min_asked=100) == []
    with pytest.raises(ValueError, match=r"`min_right` should be in \[0, 1\], got 70: for 70 % write 0.7"):
        failed_annotators(found, 70)
    rows = found.labels["comparison"]
    assert all(len(row) == 2 and None not in row and row[0] == 0.9 for row in rows)
    assert len(rows) >= found.items["done"] and {round(row[1], 9) for row in rows} == {0.9, 0.1}


def test_labels_are_what_agreement_takes(url):
    store = FeedbackStore(url)
    rated, ranked = FeedbackItem(**RATED), FeedbackItem(*RANKED)
    store.add_items([rated, ranked])
    for name, truth, order in (("ann", 5, [0, 1, 2]), ("bob", 4, [0, [1, 2]]), ("cy", 1, [2, 1, 0])):
        store.add([FeedbackRecord("rating", rated.id, name, {"scales": {"truth": truth, "wit": 1}})])
        store.add([FeedbackRecord("ranking", ranked.id, name, {"order": order})])
    store.add(
        [
            FeedbackRecord("comparison", "alone", "ann", {"strength": 1}),
            FeedbackRecord("thumb", "x", "dee", {"up": True}),
        ]
    )
    store.add([FeedbackRecord("comparison", "alone", "judge", {"strength": 0}, source="ai")])
    labels = WorkQueue(store).overview().labels
    assert labels == {
        "rating truth": [[5, 4, 1]],
        "rating wit": [[1, 1, 1]],
        "ranking": [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.5, 0.0]],
    }
    assert -1 < krippendorff_alpha(labels["ranking"], level="interval").value < 1


def test_nothing_asked_yet(url):
    found = WorkQueue(FeedbackStore(url)).overview()
    assert found.items == {"open": 0, "begun": 0, "done": 0, "gold": 0, "kept": 0}
    assert (found.answers, found.skips, found.annotators, found.labels) == (0, 0, [], {})
