"""What counts of what was said, and what does not, out of the store and out of rows."""

import re

import pytest

from rlhf_ext import ScriptedGenerator
from rlhf_ext.data.store import FeedbackItem, FeedbackRecord, FeedbackStore, preferences
from rlhf_ext.evaluation.human import answers_from_rows, answers_from_store
from rlhf_ext.labelers import PairwiseLabeler

from .crowd import filled


@pytest.fixture
def store(tmp_path):
    return FeedbackStore(tmp_path / "feedback.sqlite")


def compared(store, name="2+2?", models=("ppo", "sft"), responses=("4", "five"), **fields):
    item = FeedbackItem("comparison", name, responses, models=models, **fields)
    store.add_items([item])
    return item.id


def say(store, item, person, strength, **fields):
    [number] = store.add([FeedbackRecord("comparison", item, person, {"strength": strength}, **fields)])
    return number


def test_each_person_has_a_vote_with_its_side_and_lengths(store):
    item = compared(store)
    say(store, item, "ann", 0.83, shown_order=(1, 0))
    say(store, item, "ben", 0.5)
    ann, ben = answers_from_store(store).votes
    assert (ann.first, ann.second, ann.p, ann.side, ann.lengths, ann.first_shown) == (
        "ppo",
        "sft",
        0.83,
        1,
        (1, 4),
        False,
    )
    assert (ben.side, ben.first_shown, ben.item) == (0.5, None, item)


def test_what_was_taken_back_skipped_flagged_or_gold_is_not_counted_and_said(store):
    item, other = compared(store), compared(store, "3+3?", responses=("6", "7"))
    taken = say(store, item, "ann", 1.0)
    store.add([FeedbackRecord("retraction", item, "ann", {}, replaces=taken)])
    corrected = say(store, item, "ben", 1.0)
    say(store, item, "ben", 0.0, replaces=corrected)
    store.add([FeedbackRecord("skip", other, "ben", {"reason": "both are wrong"})])
    say(store, other, "ann", 1.0)
    store.add([FeedbackRecord("flag", other, "ann", {"category": "unsafe"})])
    say(store, other, "cy", 0.17)
    say(store, other, "dan", 0.17)
    gold = compared(store, "Gold?", responses=("yes", "no"), gold={"strength": 1.0})
    say(store, gold, "ann", 1.0)
    found = answers_from_store(store, exclude=["dan"])
    assert [(vote.annotator, vote.p) for vote in found.votes] == [("ben", 0.0), ("cy", 0.17)]
    assert dict(found.left_out) == {
        "taken back": 1,
        "skipped": 1,
        "flagged by their annotator": 1,
        "their annotator is left out": 1,
        "gold items": 1,
    }
    more = answers_from_store(store, gold=True, flagged=True)
    assert sorted(vote.annotator for vote in more.votes) == ["ann", "ann", "ben", "cy", "dan"]


def test_a_ranking_is_a_vote_for_each_pair(store):
    item = FeedbackItem("ranking", "A name?", ("Ann", "Bob", "Cy"), models=("a", "b", "a"))
    store.add_items([item])
    store.add([FeedbackRecord("ranking", item.id, "ann", {"order": [2, [0, 1]]})])
    found = answers_from_store(store)
    assert [(vote.first, vote.second, vote.p) for vote in found.votes] == [("a", "b", 0.5), ("b", "a", 0.0)]
    assert found.left_out == {"both answers are of the same model": 1}


def test_a_rating_is_a_number_for_each_scale_and_other_ends_are_another_scale(store):
    items = [
        FeedbackItem("rating", "Sum up.", ("Short.",), models=("ppo",), scales={"help": (1, high), "care": (0, 1)})
        for high in (5, 7)
    ]
    store.add_items(items)
    for item in items:
        store.add([FeedbackRecord("rating", item.id, "ann", {"scales": {"help": 4, "care": 1}})])
    ratings = answers_from_store(store).ratings
    assert sorted((one.model, one.scale, one.value) for one in ratings) == [
        ("ppo", "care (0 to 1)", 1),
        ("ppo", "care (0 to 1)", 1),
        ("ppo", "help (1 to 5)", 4),
        ("ppo", "help (1 to 7)", 4),
    ]


@pytest.mark.parametrize("models", [(), ("ppo", ""), (" ", "sft")])
def test_unknown_models_are_refused_with_a_count_and_a_way_out(store, models):
    item, named = compared(store, models=models), compared(store, "3+3?", responses=("6", "7"))
    say(store, item, "ann", 1.0)
    say(store, item, "ben", 1.0)
    say(store, named, "ben", 1.0)
    with pytest.raises(
        ValueError, match=re.escape(f"1 of 2 items do not say which models wrote the answers, item '{item}'")
    ):
        answers_from_store(store)
    found = answers_from_store(store, unknown="leave_out")
    assert len(found.votes) == 1 and found.left_out == {"who wrote an answer is unknown": 2}


def test_a_store_in_which_nothing_counts_says_so(store):
    with pytest.raises(ValueError, match="no answer in the store to rank models by"):
        answers_from_store(store)
    gold = compared(store, "Gold?", gold={"strength": 1.0})
    say(store, gold, "ann", 1.0)
    with pytest.raises(ValueError, match=re.escape("(1 gold items)")):
        answers_from_store(store)


def test_rows_of_an_export_give_the_same_sides_as_the_store(tmp_path):
    store, _ = filled(tmp_path / "f.sqlite", items=20, people=("ann",))
    rows = list(preferences(store, ties="keep"))
    found, direct = answers_from_rows(rows), answers_from_store(store)

    def of(votes):
        return sorted(
            (v.item, *((v.first, v.p) if v.first < v.second else (v.second, round(1 - v.p, 12)))) for v in votes
        )

    assert of(found.votes) == of(direct.votes) and len(found.votes) == 20
    assert {sum(v.lengths) for v in found.votes} == {sum(v.lengths) for v in direct.votes}


def test_a_judge_that_abstains_is_counted():
    judge = ScriptedGenerator([], choice_probs=lambda prompt, choices: [0.9, 0.1])  # always the one shown first
    rows = [{"prompt": "2+2?", "responses": ["4", "5"], "models": ["ppo", "sft"]}]
    result = PairwiseLabeler(judge, "Correct answers are better.").label(rows)
    found = answers_from_rows([*result.preferences, *result.left_out])
    assert not found.votes and found.left_out == {"abstained, the orders disagree": 1}


def test_judges_of_one_pair_have_it_the_same_way_round_whoever_won():
    row = {"prompt": "p", "chosen": "x", "rejected": "y", "chosen_model": "b", "rejected_model": "a", "source": "ai"}
    turned = {**row, "chosen": "y", "rejected": "x", "chosen_model": "a", "rejected_model": "b"}
    one, two = answers_from_rows([row, turned]).votes
    assert (one.unit, one.first, one.p, one.source) == (two.unit, "a", 0.0, "ai") and two.p == 1.0


def test_a_source_of_the_datas_own_is_not_taken_for_who_judged():
    row = {"prompt": "p", "chosen": "x", "rejected": "y", "chosen_model": "b", "rejected_model": "a"}
    own = {"source": "reddit", "label_source": "ai", "model": "writer", "label_model": "judge"}
    (vote,) = answers_from_rows([{**row, **own}]).votes
    assert (vote.source, vote.kind, vote.annotator) == ("ai", "judgement", "judge")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"chosen_model": "a", "rejected_model": None}, "1 of 1 rows do not say which models"),
        ({"chosen_model": "a", "rejected_model": ""}, "give `chosen_model` and `rejected_model` in them"),
        ({"chosen_model": "a", "rejected_model": "b", "preference_strength": 0.2}, "row 0: `preference_strength`"),
        ({"chosen_model": "a", "rejected_model": "b", "preference_strength": True}, "row 0: `preference_strength`"),
    ],
)
def test_bad_rows_are_named(row, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        answers_from_rows([{"prompt": "p", **row}])


def test_no_rows_at_all_and_an_unknown_policy():
    with pytest.raises(ValueError, match="There are no rows"):
        answers_from_rows([])
    with pytest.raises(ValueError, match="`unknown` must be"):
        answers_from_rows([{"chosen_model": "a", "rejected_model": "b"}], unknown="guess")
