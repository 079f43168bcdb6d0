"""Questions to people: what they need, and what makes two of them the same."""

import pytest

from rlhf_ext.data.store import FeedbackItem, FeedbackStore, WorkQueue

PAIR = {"kind": "comparison", "prompt": "2+2?", "responses": ("4", "5")}
RATING = {"kind": "rating", "prompt": "2+2?", "responses": ("4",), "scales": {"truth": (1, 5)}}
CHAT = [{"role": "user", "content": "Hi?"}]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "essay"}, "`kind` should be one of comparison, rating, ranking"),
        ({"prompt": ""}, "`prompt` should be text or messages"),
        ({"prompt": " \n"}, "`prompt` is empty"),
        ({"prompt": [{"role": "user"}]}, "`prompt`: Expected a message with text"),
        ({"responses": ("4",)}, "`responses` of a comparison should be 2, got 1"),
        ({"responses": ("4", "5", "6")}, "should be 2, got 3"),
        ({"responses": ("4", None)}, r"`responses\[1\]` should be text or messages, got None"),
        ({"responses": ("4", " ")}, r"`responses\[1\]` is empty"),
        ({"responses": "45"}, "`responses` should be a list, got str"),
        ({"responses": ("4", "4")}, "not all different"),
        ({"models": ("a",)}, "`models` should name one for each of 2 responses"),
        ({"wanted": -1}, "`wanted` should be a number of people, got -1"),
        ({"wanted": True}, "`wanted` should be a number of people, got True"),
        ({"priority": float("nan")}, "`priority` should be a finite number, got nan"),
        ({"category": ""}, "`category` should be text"),
        ({"scales": {"truth": (1, 5)}}, "`scales` are for ratings"),
        ({"gold": {"strength": 2}}, "`gold`: comparison: `strength`"),
        ({"id": "x" * 200}, "`id` should be text of 1 to 128"),
        ({"columns": {"x": object()}}, "cannot be stored as JSON"),
        ({"kind": "rating", "responses": ("4",)}, "`scales` are for ratings, which need them"),
        ({"kind": "ranking", "responses": ("4",)}, "should be two or more, got 1"),
        ({**RATING, "scales": {"truth": (5, 1)}}, r"'truth' should be a pair \(lowest, highest\), got \(5, 1\)"),
        ({**RATING, "gold": {"scales": {"truth": 9}}}, r"`gold`: rating: 'truth' should be in \[1, 5\], got 9"),
        ({**RATING, "gold": {"scales": {"style": 3}}}, r"`scales` should be \['truth'\], got \['style'\]"),
    ],
)
def test_a_bad_item_is_refused_by_field(fields, message):
    with pytest.raises(ValueError, match=message):
        FeedbackItem(**{**PAIR, **fields})


def test_the_id_is_of_what_is_asked_and_not_of_how():
    same = FeedbackItem(**PAIR).id
    for how in (
        {"wanted": 3},
        {"priority": 2.0},
        {"category": "sums"},
        {"columns": {"x": 1}},
        {"responses": ["4", "5"]},
    ):
        assert FeedbackItem(**{**PAIR, **how}).id == same
    for what in ({"responses": ("5", "4")}, {"prompt": "2+3?"}, {"prompt_version": "2"}, {"models": ("a", "b")}):
        assert FeedbackItem(**{**PAIR, **what}).id != same
    assert FeedbackItem(**PAIR, id="mine").id == "mine"


def test_a_row_of_a_file_keeps_its_other_columns_and_its_utility():
    row = {**PAIR, "responses": ["4", "5"], "utility": 0.7, "strategy": "bald", "models": None}
    item = FeedbackItem.from_row(row)
    assert item.columns == {"utility": 0.7, "strategy": "bald"} and item.priority == 0.7 and item.models == ()
    assert FeedbackItem.from_row({**row, "priority": 2}).priority == 2
    with pytest.raises(ValueError, match=r"`responses` is missing; the row has \['kind', 'prompt'\]"):
        FeedbackItem.from_row({"kind": "comparison", "prompt": "?"})


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"responses": ["4"], "scales": {"truth": [1, 5]}}, "rating"),
        ({"responses": ["4", "5"]}, "comparison"),
        ({"responses": ("4", "5", "6"), "kind": None}, "ranking"),
        ({"responses": ["4", "5"], "kind": "ranking"}, "ranking"),
    ],
)
def test_a_row_that_does_not_say_is_asked_by_its_number_of_responses(tmp_path, row, kind):
    row = {"prompt": "2+2?", **row}
    assert FeedbackItem.from_row(row).kind == kind
    assert FeedbackItem.from_row(row).id == FeedbackItem.from_row({**row, "kind": kind}).id
    assert WorkQueue(FeedbackStore(tmp_path / "feedback.sqlite")).add([row]) == 1


@pytest.mark.parametrize(
    ("responses", "match"),
    [("45", "`responses` should be a list, got str"), ([], "should be two or more, got 0"), (["4"], "`scales`")],
)
def test_a_row_that_cannot_be_asked_is_refused(responses, match):
    with pytest.raises(ValueError, match=match):
        FeedbackItem.from_row({"prompt": "2+2?", "responses": responses})


@pytest.mark.parametrize(
    "item",
    [
        FeedbackItem("comparison", CHAT, ([{"role": "assistant", "content": "Hello\0\ud800."}], "No."), ("a", "b")),
        FeedbackItem(**RATING, gold={"scales": {"truth": 5}}, wanted=0, priority=-1.5, columns={"x": [1, None]}),
        FeedbackItem("ranking", "مرحبا", ("a", "b", "c"), category="greetings", prompt_version="v2"),
    ],
)
def test_an_item_comes_back_as_it_was_stored(url, item):
    store = FeedbackStore(url)
    assert store.add_items([item]) == 1 and store.add_items([item]) == 0
    assert list(store.items()) == [item]
    assert list(store.items([item.id, "another"])) == [item]
    assert next(store.items()).id == item.id
