"""The work queue: who gets what, leases, answers that come twice or late, skipping, taking back, gold questions."""

from collections import Counter

import pytest

from rlhf_ext.data.store import (
    AlreadyAnswered,
    FeedbackItem,
    FeedbackRecord,
    FeedbackStore,
    LeaseExpired,
    NotAssigned,
    Progress,
    WorkQueue,
)


def pairs(count, **fields):
    return [FeedbackItem("comparison", f"question {n}", ("yes", "no"), id=f"item {n}", **fields) for n in range(count)]


def answer(queue, annotator, strength=0.8):
    """Takes the next item and answers it; gives the item's id, None if there is none."""
    asked = queue.next(annotator)
    if asked is None:
        return None
    queue.submit(asked.id, annotator, {"strength": strength}, seconds=1.0)
    return asked.item.id


def values(store, **which):
    return [(one.annotator, one.item, one.value.get("strength")) for one in store.records(["comparison"], **which)]


@pytest.fixture
def store(url):
    store = FeedbackStore(url)
    yield store
    store.close()


def test_each_item_is_answered_by_as_many_as_wanted_and_by_nobody_twice(store):
    queue = WorkQueue(store)
    assert queue.add(pairs(3, wanted=2)) == 3
    done = {name: [answer(queue, name) for _ in range(4)] for name in ("ann", "bob", "cy")}
    assert done == {
        "ann": ["item 0", "item 1", "item 2", None],
        "bob": ["item 0", "item 1", "item 2", None],
        "cy": [None] * 4,
    }
    assert Counter(record.item for record in store.records()) == {"item 0": 2, "item 1": 2, "item 2": 2}


def test_higher_priority_first_and_kept_items_never(store):
    queue = WorkQueue(store)
    items = [FeedbackItem("comparison", f"? {p}", ("a", "b"), priority=p, id=str(p)) for p in (0.1, 5.0, -1.0, 5.5)]
    queue.add([*items, FeedbackItem("comparison", "kept", ("a", "b"), wanted=0, priority=9.0)])
    assert [answer(queue, "ann") for _ in range(5)] == ["5.5", "5.0", "0.1", "-1.0", None]


def test_an_item_that_is_held_stays_with_its_annotator_and_goes_to_no_other(store):
    queue = WorkQueue(store)
    queue.add(pairs(2))
    first = queue.next("ann")
    assert queue.next("ann") == first
    assert queue.next("bob").item.id == "item 1"
    assert queue.next("cy") is None
    queue.add([FeedbackItem("comparison", "urgent", ("a", "b"), priority=9.0)])
    assert queue.next("ann") == first, "what is held comes before what is new"


def test_adding_again_changes_nothing_and_a_bad_item_stops_all(store):
    queue = WorkQueue(store)
    queue.add(pairs(2))
    answer(queue, "ann")
    assert queue.add(pairs(3)) == 1
    assert [answer(queue, "ann"), answer(queue, "ann"), answer(queue, "ann")] == ["item 1", "item 2", None]
    with pytest.raises(ValueError, match=r"item 1: `responses\[1\]` should be text or messages, got None"):
        queue.add([*pairs(4)[3:], {"kind": "comparison", "prompt": "?", "responses": ["a", None]}])
    with pytest.raises(ValueError, match="item 0: `responses` is missing"):
        queue.add([{"kind": "comparison", "prompt": "?"}])
    assert queue.next("ann") is None, "nothing of the calls was taken"


def test_an_expired_lease_is_free_for_others(store, pass_time):
    queue = WorkQueue(store, lease=300)
    queue.add(pairs(1))
    first = queue.next("ann")
    assert queue.next("bob") is None
    pass_time(301)
    second = queue.next("bob")
    assert second.item == first.item
    queue.submit(second.id, "bob", {"strength": 0.2}, seconds=1.0)
    with pytest.raises(LeaseExpired, match="ran out, and others have the item now"):
        queue.submit(first.id, "ann", {"strength": 0.9}, seconds=1.0)
    assert values(store) == [("bob", "item 0", 0.2)]


def test_a_late_answer_is_taken_where_it_is_still_wanted(store, pass_time):
    queue = WorkQueue(store, lease=200)
    queue.add(pairs(1, wanted=2))
    late, later = queue.next("ann"), queue.next("bob")
    pass_time(201)
    queue.submit(late.id, "ann", {"strength": 0.9}, seconds=1.0)  # nobody has asked since
    assert queue.next("cy").item == late.item  # which frees bob's
    with pytest.raises(LeaseExpired):
        queue.submit(later.id, "bob", {"strength": 0.9}, seconds=1.0)
    pass_time(201)
    assert queue.next("ann") is None, "frees cy's"
    queue.submit(later.id, "bob", {"strength": 0.7}, seconds=1.0)
    assert values(store) == [("ann", "item 0", 0.9), ("bob", "item 0", 0.7)]
    assert queue.next("dee") is None


def test_the_same_answer_sent_twice_is_one_record(store):
    queue = WorkQueue(store)
    queue.add(pairs(2))
    asked = queue.next("ann")
    more = {"notes": "Both are odd.", "flags": [{"category": "unsafe", "response": 1}, {"category": "spam"}]}
    number = queue.submit(asked.id, "ann", {"strength": 0.8}, seconds=3.0, **more)
    assert queue.submit(asked.id, "ann", {"strength": 0.8}, seconds=3.5, **more) == number
    with pytest.raises(AlreadyAnswered, match="has another answer; take that back first"):
        queue.submit(asked.id, "ann", {"strength": 0.3}, seconds=3.0)
    for other in ({**more, "notes": "Both are odd. No!"}, {**more, "flags": []}, {}):  # not told to be saved, and lost
        with pytest.raises(AlreadyAnswered):
            queue.submit(asked.id, "ann", {"strength": 0.8}, seconds=3.0, **other)
    with pytest.raises(AlreadyAnswered):
        queue.skip(asked.id, "ann", "changed my mind")
    kept = list(store.records())
    assert [(one.kind, dict(one.value)) for one in kept] == [
        ("comparison", {"strength": 0.8}),
        ("text", {"text": "Both are odd."}),
        ("flag", {"category": "unsafe", "response": 1}),
        ("flag", {"category": "spam"}),
    ]
    assert kept[0].id == number and kept[0].seconds == 3.0 and kept[0].shown_order == asked.shown_order


def test_answers_that_are_not_ones_to_give_are_refused(store):
    queue = WorkQueue(store)
    queue.add(pairs(1))
    asked = queue.next("ann")
    for name, who in (
        (asked.id, "bob"),
        ("999-0", "ann"),
        ("1", "ann"),
        ("x-0", "ann"),
        ("²-0", "ann"),
        ("9" * 30, "ann"),
    ):
        with pytest.raises(NotAssigned, match="There is no assignment|taken back"):
            queue.submit(name, who, {"strength": 0.5}, seconds=1.0)
        with pytest.raises(NotAssigned):
            queue.skip(name, who, "no")
    for value, message in (({"strength": 3}, r"in \[0, 1\]"), ({"order": [0, 1]}, "no `strength`")):
        with pytest.raises(ValueError, match=message):
            queue.submit(asked.id, "ann", value, seconds=1.0)
    with pytest.raises(ValueError, match="flag: `response` is 2, but the item has 2 responses"):
        queue.submit(asked.id, "ann", {"strength": 1}, seconds=1.0, flags=[{"category": "x", "response": 2}])
    with pytest.raises(ValueError, match="`seconds` should be"):
        queue.submit(asked.id, "ann", {"strength": 1}, seconds=-1.0)
    with pytest.raises(ValueError, match="`annotator` should be text"):
        queue.next("")
    assert list(store.records()) == [] and queue.next("ann") == asked


def test_ratings_and_rankings_are_checked_against_their_item(store):
    queue = WorkQueue(store)
    queue.add(
        [
            FeedbackItem("rating", "?", ("a",), scales={"truth": (1, 5), "style": (1, 7)}, priority=1.0),
            FeedbackItem("ranking", "?", ("a", "b", "c")),
        ]
    )
    asked = queue.next("ann")
    for scales in ({"truth": 4}, {"truth": 4, "style": 8}, {"truth": 4, "style": 3, "wit": 1}):
        with pytest.raises(ValueError, match="rating: "):
            queue.submit(asked.id, "ann", {"scales": scales}, seconds=1.0)
    queue.submit(asked.id, "ann", {"scales": {"style": 7, "truth": 1}}, seconds=1.0)
    asked = queue.next("ann")
    assert sorted(asked.shown_order) == [0, 1, 2]
    with pytest.raises(ValueError, match="each of the responses 0 to 2 once"):
        queue.submit(asked.id, "ann", {"order": [0, 1]}, seconds=1.0)
    queue.submit(asked.id, "ann", {"order": [[2, 0], 1]}, seconds=1.0)
    assert [record.kind for record in store.records()] == ["rating", "ranking"]


def test_what_is_skipped_goes_to_others_and_not_to_the_same_again(store):
    queue = WorkQueue(store)
    queue.add(pairs(1))
    asked = queue.next("ann")
    number = queue.skip(asked.id, "ann", "I do not know the language")
    assert queue.skip(asked.id, "ann", "I do not know the language") == number
    with pytest.raises(NotAssigned, match="was skipped, for another reason"):
        queue.skip(asked.id, "ann", "it upsets me")
    assert queue.next("ann") is None
    with pytest.raises(NotAssigned, match="was skipped"):
        queue.submit(asked.id, "ann", {"strength": 0.5}, seconds=1.0)
    assert answer(queue, "bob") == "item 0"
    assert [(one.kind, dict(one.value)) for one in store.records(annotator="ann")] == [
        ("skip", {"reason": "I do not know the language"})
    ]


def test_a_skip_after_the_lease_ran_out_frees_nothing_twice(store, pass_time):
    queue = WorkQueue(store, lease=200)
    queue.add(pairs(1))
    asked = queue.next("ann")
    pass_time(201)
    held = WorkQueue(store).next("bob")
    queue.skip(asked.id, "ann", "too late")
    assert queue.next("cy") is None, "bob holds the only one"
    WorkQueue(store).submit(held.id, "bob", {"strength": 0.5}, seconds=1.0)
    assert queue.next("cy") is None


def test_the_last_answer_is_taken_back_and_given_anew(store):
    queue = WorkQueue(store)
    queue.add(pairs(3))
    assert queue.undo("ann") is None
    first = queue.next("ann")
    queue.submit(first.id, "ann", {"strength": 0.8}, seconds=1.0, notes="sure", flags=[{"category": "spam"}])
    held = queue.next("ann")
    again = queue.undo("ann")
    assert again.item == first.item and again.shown_order == first.shown_order and again.previous == {"strength": 0.8}
    assert list(store.records()) == [], "the answer, its notes and its flags are taken back"
    assert queue.next("ann") == again
    assert queue.next("bob").item == held.item, "what was held is free"
    with pytest.raises(NotAssigned, match="was taken back"):
        queue.submit(first.id, "ann", {"strength": 0.8}, seconds=1.0)  # an old page
    queue.submit(again.id, "ann", {"strength": 0.1}, seconds=2.0)
    assert values(store) == [("ann", "item 0", 0.1)]
    assert len(list(store.records(current=False))) == 7, "nothing is gone: 3, their 3 retractions, and the new answer"


def test_taking_back_goes_on_to_earlier_answers(store):
    queue = WorkQueue(store)
    queue.add(pairs(2))
    assert [answer(queue, "ann"), answer(queue, "ann")] == ["item 0", "item 1"]
    assert queue.undo("ann").item.id == "item 1" and queue.undo("ann").item.id == "item 0"
    assert queue.undo("ann") is None
    assert queue.next("bob").item.id == "item 1", "the later one was given up for the earlier one"
    answer(queue, "ann", 0.4)
    assert values(store) == [("ann", "item 0", 0.4)]


def test_taking_back_an_answer_that_was_corrected_takes_the_correction_back(store):
    queue = WorkQueue(store)
    queue.add(pairs(1))
    answer(queue, "ann")
    [record] = store.records()
    correction = FeedbackRecord("comparison", "item 0", "admin", {"strength": 0.1}, replaces=record.id)
    store.add([correction])
    queue.undo("ann")
    assert list(store.records()) == []
    answer(queue, "ann", 0.6)
    [record] = store.records()
    store.add([FeedbackRecord("retraction", "item 0", "admin", {}, replaces=record.id)])
    assert queue.undo("ann") is not None, "by the admin already"
    assert list(store.records()) == []


def test_the_order_on_the_screen_is_random_and_seeded(store):
    queue = WorkQueue(store)
    queue.add(pairs(60))
    orders = []
    while (asked := queue.next("ann")) is not None:
        orders.append(asked.shown_order)
        queue.submit(asked.id, "ann", {"strength": 0.5}, seconds=1.0)
    assert 15 < orders.count((0, 1)) < 45 and set(orders) == {(0, 1), (1, 0)}
    other = WorkQueue(FeedbackStore(store.database.engine.url.render_as_string(hide_password=False)), seed=0)
    assert {record.shown_order for record in other.store.records(item="item 7")} == {orders[7]}


def test_gold_questions_come_at_their_rate_and_each_once_to_everybody(store):
    queue = WorkQueue(store, gold_rate=0.25, seed=3)
    queue.add(pairs(80, wanted=2))
    gold = [
        FeedbackItem("comparison", f"gold {n}", ("yes", "no"), id=f"gold {n}", gold={"strength": 1}) for n in range(40)
    ]
    queue.add(gold)
    for name in ("ann", "bob"):
        given = [answer(queue, name) for _ in range(100)]
        asked = [item for item in given if item and item.startswith("gold")]
        assert len(set(given)) == len(given), "nothing twice"
        assert 15 <= len(asked) <= 35, "a quarter of 100"
    while answer(queue, "ann"):
        pass
    assert queue.next("ann") is None, "gold questions alone are not asked"


def test_progress(store):
    queue = WorkQueue(store, gold_rate=0.0)
    queue.add(pairs(5, wanted=1))
    assert queue.progress("ann") == Progress(0, 0, 5)
    answer(queue, "ann")
    asked = queue.next("ann")
    assert queue.progress("ann") == Progress(1, 0, 4) and queue.progress("bob") == Progress(0, 0, 3)
    queue.skip(asked.id, "ann", "hard")
    assert queue.progress("ann") == Progress(1, 1, 3) and queue.progress("bob") == Progress(0, 0, 4)
    queue.undo("ann")
    assert queue.progress("ann") == Progress(0, 1, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lease": 0}, "`lease` should be a positive number"),
        ({"gold_rate": 1.0}, r"`gold_rate` should be in \[0, 1\)"),
    ],
)
def test_mistakes_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        WorkQueue(FeedbackStore(tmp_path / "store"), **options)
