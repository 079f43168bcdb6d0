import json

import pytest

from rlhf_ext.constitution import critique_and_revise
from rlhf_ext.constitution.steps import STOPS
from rlhf_ext.rewards.functions import Rouge

from .helpers import Judge, Model, always, asked_by, improving, named, obedient, quoted_answer

BREAD = "Why does bread dough rise?"
ANSWER = "Bread dough rises while the yeast makes gas bubbles."


def one(model, rounds=3, constitution=None, prompt=BREAD, **options):
    constitution = constitution or named("tone", "truth", "brevity")
    row = critique_and_revise(model, [prompt], constitution, rounds, responses=[ANSWER], progress=False, **options)[0]
    assert row.stopped in STOPS
    return row


def test_a_prompt_is_finished_when_no_principle_objects():
    row = one(obedient(critique=always("Fine.\nVerdict: KEEP")), rounds=9)
    assert row.stopped == "no_objection" and len(row.steps) == 3
    assert sorted(step.principle for step in row.steps) == ["brevity", "tone", "truth"]
    assert not row.revised and not row.objected and row.last == row.first
    assert row.steps[0].revision is None and not row.steps[0].accepted


def test_one_principle_that_has_nothing_to_say_does_not_speak_for_the_others():
    critique = lambda request: "Good. Verdict: KEEP" if asked_by(request) != "truth" else "Verdict: REVISE"  # noqa: E731
    for seed in range(6):
        assert one(obedient(critique=critique), seed=seed).principles == ["truth"]


def test_patience_stops_earlier():
    keep = obedient(critique=always("Verdict: KEEP"))
    assert [len(one(keep, rounds=9, patience=n).steps) for n in (1, 2, 3, 50)] == [1, 2, 3, 3]


def test_after_a_revision_all_principles_are_asked_anew():
    critique = lambda request: "Verdict: " + ("KEEP" if "Better" in quoted_answer(request) else "REVISE")  # noqa: E731
    row = one(obedient(critique=critique), rounds=9)
    assert [step.verdict for step in row.steps] == ["revise", "keep", "keep", "keep"]
    assert (row.stopped, row.revised) == ("no_objection", True)


def test_what_was_kept_before_a_revision_does_not_count_after_it():
    objects = lambda request: asked_by(request) == "truth" and "Better" not in quoted_answer(request)  # noqa: E731
    for seed in range(6):
        row = one(
            obedient(lambda request: f"Verdict: {'REVISE' if objects(request) else 'KEEP'}"), rounds=9, seed=seed
        )
        place = [step.accepted for step in row.steps].index(True)
        assert {step.principle for step in row.steps[place + 1 :]} == {"tone", "truth", "brevity"}
        assert row.stopped == "no_objection"


def test_rounds_end_with_objections_heard_and_unheard():
    assert one(obedient(critique=always("Verdict: KEEP")), rounds=2).stopped == "rounds"
    assert one(obedient(), rounds=2).stopped == "rounds"


def test_a_verdict_that_cannot_be_read_is_an_objection():
    row = one(obedient(critique=always("I have no idea.")), rounds=1)
    assert row.steps[0].verdict == "unreadable" and row.revised and row.objected


@pytest.mark.parametrize(
    ("revision", "reason"),
    [
        ("", "empty"),
        ("Here is the revised response:\n", "empty"),
        (f"Revised response: {ANSWER}", "unchanged"),
        (f" {ANSWER.replace(' ', chr(10), 1)} ", "unchanged"),
        ("Now write your response to my request anew, whole and ready to be sent.", "meta_talk"),
        ("Paris lies north of Lyon along the river Seine.", "drifted"),
    ],
)
def test_a_revision_of_no_use_is_recorded_and_not_taken(revision, reason):
    judge = Judge(lambda *row: 0.9)
    row = one(obedient(revise=always(revision)), judge=judge)
    assert (row.stopped, row.steps[0].rejected, len(row.steps)) == (reason, reason, 1)
    assert row.last == ANSWER and not row.revised and row.objected and row.improvement is None
    assert not judge.calls or judge.calls == [([], [], [])]  # nobody is paid for it


def test_going_back_to_an_earlier_answer_is_no_change():
    texts = iter([ANSWER + " Warmth helps.", ANSWER])
    row = one(obedient(revise=lambda request: next(texts)))
    assert (row.stopped, row.last) == ("unchanged", ANSWER + " Warmth helps.")


def test_the_first_of_several_revisions_that_is_of_no_use_ends_the_rounds_and_keeps_the_last_good_one():
    texts = iter([ANSWER + " Warmth helps.", "Paris lies north of Lyon along the river Seine."])
    row = one(obedient(revise=lambda request: next(texts)))
    assert (row.stopped, row.last, row.revised) == ("drifted", ANSWER + " Warmth helps.", True)
    assert [step.rejected for step in row.steps] == [None, "drifted"]


@pytest.mark.parametrize(
    ("p", "stopped", "taken"),
    [
        (0.51, "rounds", True),
        (0.5, "not_improved", False),
        (0.2, "not_improved", False),
        (None, "judge_abstained", False),
    ],
)
def test_the_judge_must_find_it_better(p, stopped, taken):
    judge = Judge(lambda *row: p)
    row = one(obedient(), rounds=1, judge=judge)
    assert (row.stopped, row.revised, row.steps[0].improvement) == (stopped, taken, p)
    assert judge.calls[0] == ([BREAD], [ANSWER + " Better."], [ANSWER])
    assert row.improvement == (p if taken else None)


def test_the_last_answer_is_judged_against_the_first_only_where_that_is_not_known():
    def decide(prompt, new, old):
        return 0.3 if old == ANSWER and new.count("Better") > 1 else 0.8

    judge = Judge(decide)
    row = one(obedient(), rounds=3, judge=judge)
    assert [step.improvement for step in row.steps] == [0.8] * 3
    assert row.improvement == 0.3
    assert judge.calls[-1] == ([BREAD], [ANSWER + " Better. Better. Better."], [ANSWER])
    judge = Judge(decide)
    assert one(obedient(), rounds=1, judge=judge).improvement == 0.8
    assert sum(len(call[0]) for call in judge.calls) == 1


@pytest.mark.parametrize(
    ("said", "message"), [(1.5, r"gave 1.5 for row 0: p\(first"), (-0.1, "gave -0.1"), ("A", "'A'")]
)
def test_what_a_judge_says_is_checked(said, message):
    with pytest.raises((TypeError, ValueError), match=message):
        one(obedient(), judge=Judge(lambda *row: said))


def test_messages_are_judged_as_messages():
    judge = Judge(lambda *row: 0.9)
    one(
        obedient(revise=lambda request: ANSWER + " Ok."),
        rounds=1,
        prompt=[{"role": "user", "content": BREAD}],
        judge=judge,
    )
    assert judge.calls[0][1:] == (
        [[{"role": "assistant", "content": ANSWER + " Ok."}]],
        [[{"role": "assistant", "content": ANSWER}]],
    )


def test_a_refusal_is_no_drift():
    row = one(obedient(revise=always("I'm sorry, but I cannot talk about Parisian rivers here.")), rounds=1)
    assert row.revised and row.steps[0].relevance is None


def test_any_scorer_can_watch_for_drift():
    seen = {}

    def scorer(prompts, completions, question, first_answer, **columns):
        seen.update(prompts=prompts, completions=completions, question=question, first_answer=first_answer)
        return [0.4]

    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": BREAD}]
    revise = always("Paris lies north of Lyon along the river Seine.")
    row = one(obedient(revise=revise), rounds=1, prompt=prompt, relevance=scorer, min_relevance=0.4)
    assert row.revised and row.steps[0].relevance == 0.4
    assert seen["question"] == [BREAD] and seen["first_answer"] == [ANSWER] and seen["prompts"] == [prompt]
    assert seen["completions"] == [[{"role": "assistant", "content": revise(None)}]]
    assert one(obedient(revise=revise), relevance=scorer, min_relevance=0.41).stopped == "drifted"
    none = lambda prompts, completions, **columns: [None]  # noqa: E731
    assert one(obedient(revise=revise), rounds=1, relevance=none, min_relevance=1).revised
    assert one(obedient(revise=revise), rounds=1, min_relevance=None).revised
    rouge = Rouge(column="first_answer", variant="rouge1")
    assert one(obedient(revise=revise), relevance=rouge, min_relevance=0.2).stopped == "drifted"
    assert one(obedient(), rounds=1, relevance=rouge, min_relevance=0.2).revised


def test_rows_in_a_batch_go_their_own_ways():
    prompts = ["a", "b", "c", "d"]
    critiques = {"b": "Verdict: KEEP"}
    revisions = {"c": "", "d": "Same"}
    name = lambda request: request[0]["content"]  # noqa: E731

    def critique(request):
        conversation = request[0]["content"].split("Conversation: ")[1].splitlines()[0]
        return critiques.get(json.loads(conversation), "Verdict: REVISE")

    model = Model(always("Same"), critique, lambda request: revisions.get(name(request), improving(request)))
    rows = critique_and_revise(model, prompts, named("tone"), 3, progress=False)
    assert [row.stopped for row in rows] == ["rounds", "no_objection", "empty", "unchanged"]
    assert [len(row.steps) for row in rows] == [3, 1, 1, 1]
    assert model.batches == [("answer", 4), ("critique", 4), ("revise", 3), ("critique", 1), ("revise", 1)] + [
        ("critique", 1),
        ("revise", 1),
    ]
