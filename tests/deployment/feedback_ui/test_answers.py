"""Forms are read strictly, and turned into the item's own order."""

from datetime import UTC, datetime

import pytest

from rlhf_ext.data.store import Assignment, FeedbackItem
from rlhf_ext.deployment.feedback_ui.answers import (
    BadForm,
    Given,
    flags_of,
    note_of,
    one,
    read_form,
    reason_of,
    value_of,
)
from rlhf_ext.deployment.feedback_ui.questions import STRENGTHS, question_of


def assigned(order=(0, 1), **fields):
    values = {"kind": "comparison", "prompt": "p", "responses": ("a", "b"), **fields}
    return Assignment("1-0", FeedbackItem(**values), "ann", tuple(order), datetime.now(UTC))


PAIR = assigned()
RATED = assigned((0,), kind="rating", responses=("a",), scales={"help": (1, 5), "score": (0.0, 100.0)})
RANKED = assigned((2, 0, 1), kind="ranking", responses=("a", "b", "c"))


@pytest.mark.parametrize(
    ("order", "stop", "strength"),
    [
        ((0, 1), "0", 1.0),
        ((0, 1), "6", 0.0),
        ((1, 0), "0", 0.0),
        ((1, 0), "6", 1.0),
        ((1, 0), "3", 0.5),
        ((1, 0), "2", 0.3333),
    ],
)
def test_strength_is_of_the_items_first_response_wherever_it_stood(order, stop, strength):
    assert value_of({"strength": [stop]}, assigned(order)) == {"strength": strength}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("stop", range(7))
def test_what_is_taken_back_comes_back_as_it_was_given(order, stop):
    assignment = assigned(order)
    value = value_of({"strength": [str(stop)]}, assignment)
    assert Given.from_value(value, assignment).strength == stop


def test_the_slider_is_even_and_its_middle_is_about_the_same():
    assert STRENGTHS[0] == 1.0 and STRENGTHS[3] == 0.5 and STRENGTHS[6] == 0.0
    assert [round(STRENGTHS[i] + STRENGTHS[6 - i], 6) for i in range(7)] == [1.0] * 7
    stops = question_of(PAIR).stops
    assert stops[0]["word"] == "A much better" and stops[3]["word"] == "About the same"


@pytest.mark.parametrize(
    ("places", "order"),
    [
        ((1, 2, 3), [0, 1, 2]),
        ((3, 1, 2), [1, 2, 0]),
        ((1, 1, 3), [[0, 1], 2]),
        ((2, 1, 2), [1, [0, 2]]),
        ((2, 2, 2), [[0, 1, 2]]),
    ],
)
def test_places_become_an_order_with_equals(places, order):
    form = {f"place-{index}": [str(place)] for index, place in enumerate(places)}
    assert value_of(form, RANKED) == {"order": order}
    back = Given.from_value({"order": order}, RANKED)
    assert value_of({f"place-{index}": [str(back.places[index])] for index in range(3)}, RANKED) == {"order": order}


def test_ratings_are_numbers_of_their_scales():
    assert value_of({"scale-0": ["4"], "scale-1": ["62.5"]}, RATED) == {"scales": {"help": 4, "score": 62.5}}


@pytest.mark.parametrize(
    ("assignment", "form", "problem"),
    [
        (PAIR, {}, "Choose a point"),
        (PAIR, {"strength": ["7"]}, "Choose a point"),
        (PAIR, {"strength": ["0.5"]}, "Choose a point"),
        (PAIR, {"strength": ["²"]}, "Choose a point"),
        (PAIR, {"strength": ["1", "2"]}, "came 2 times"),
        (RATED, {"scale-0": ["4"]}, "scale 'score'"),
        (RATED, {"scale-0": ["6"], "scale-1": ["1"]}, "from 1 to 5"),
        (RATED, {"scale-0": ["2.5"], "scale-1": ["1"]}, "from 1 to 5"),
        (RATED, {"scale-0": ["nan"], "scale-1": ["1"]}, "scale 'help'"),
        (RATED, {"scale-0": ["4"], "scale-1": ["inf"]}, "scale 'score'"),
        (RATED, {"scale-0": ["4"], "scale-1": ["1e400"]}, "scale 'score'"),
        (RANKED, {"place-0": ["1"], "place-1": ["2"]}, "every answer a place"),
        (RANKED, {"place-0": ["1"], "place-1": ["2"], "place-2": ["4"]}, "every answer a place"),
    ],
)
def test_what_no_page_sends_is_refused_in_words(assignment, form, problem):
    with pytest.raises(BadForm, match=problem):
        value_of(form, assignment)


def test_flags_notes_and_reasons():
    allowed = ("hate", "false")
    form = {"flag-1": ["false", "false", "hate"], "note": ["  "], "reason": ["broken"], "other_reason": [" my own "]}
    assert flags_of(form, PAIR, allowed) == [{"category": "false", "response": 1}, {"category": "hate", "response": 1}]
    assert note_of(form) is None and note_of({"note": ["a\nb "]}) == "a\nb "
    assert reason_of(form, ("broken",)) == "my own"
    with pytest.raises(BadForm, match="no flag 'spam'"):
        flags_of({"flag-0": ["spam"]}, PAIR, allowed)
    with pytest.raises(BadForm, match="10,001 characters"):
        note_of({"note": ["x" * 10_001]})
    with pytest.raises(BadForm, match="Choose a reason"):
        reason_of({"reason": ["made up"]}, ("broken",))


def test_forms_are_read_as_they_were_written():
    assert read_form(b"note=a%0D%0Ab+%C3%A9&flag-0=x&flag-0=y&empty=") == {
        "note": ["a\nb é"],
        "flag-0": ["x", "y"],
        "empty": [""],
    }
    for bad in (b"note=%FF", "note=é".encode(), b"&".join(b"a=1" for _ in range(1_001))):
        with pytest.raises(BadForm, match="cannot be read"):
            read_form(bad)
    assert one({}, "note") == ""
    with pytest.raises(BadForm, match="2 times"):
        one({"form": ["a", "b"]}, "form")


def test_a_question_holds_nothing_that_would_sway_its_annotator():
    item = {"models": ("gpt-secret", "other-secret"), "gold": {"strength": 1.0}, "priority": 0.123456}
    page = repr(question_of(assigned((1, 0), **item)))
    assert "secret" not in page and "0.123456" not in page and "gold" not in page
    assert [answer.index for answer in question_of(assigned((1, 0))).answers] == [1, 0]
