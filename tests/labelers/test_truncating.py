"""What is longer than the judge's window: left out, or shortened if that is asked for."""

import doctest
import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_ext import EndpointGenerator, LocalGenerator, PairRubric, PairwiseLabeler, ScoreLabeler, ScriptedGenerator
from rlhf_ext.labelers import fitting
from rlhf_ext.labelers.comparisons import Comparison
from rlhf_ext.labelers.fitting import LEAST, characters_cut, fitting_limit
from rlhf_ext.rewards.functions.judged import quoted

RUBRIC = PairRubric("Better.", template="{criteria} {prompt} {first} {second}\n")
WINDOW = 360
LONG = "".join(f"{n:03d} " for n in range(300))
ROWS = [
    {"prompt": "Short?", "responses": ["yes", "no"]},
    {"prompt": LONG, "responses": ["It counts.", "It counts from 0 to 299."]},
    {"prompt": "Which?", "responses": [LONG, "x" + LONG]},
]


@pytest.fixture
def judge(tiny):
    """A model with a short window that remembers what it was asked."""
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    model.config.max_position_embeddings = WINDOW
    generator = LocalGenerator(model, AutoTokenizer.from_pretrained(tiny), batch_size=4)
    asked, each = [], generator.each

    def recording(requests, *args, **sampling):
        def noted():
            for request in requests:
                asked.append(request.prompt)
                yield request

        return each(noted(), *args, **sampling)

    generator.each, generator.asked = recording, asked
    return generator


def pairwise(judge, **options):
    return PairwiseLabeler(judge, RUBRIC, **{"on_disagreement": "average", "model": "j", **options})


def texts_shown(question):
    """Request and both answers as a question shows them."""
    return question[0]["content"].split("\n")[0]


def test_what_is_too_long_is_left_out_by_default(judge):
    result = pairwise(judge).label(ROWS)
    assert [row["prompt"] for row in result.preferences] == ["Short?"]
    assert all(row["reason"].startswith("failed: ") and "positions" in row["reason"] for row in result.left_out)
    assert "truncated" not in result.measures and "characters_cut" not in result.preferences[0]


def test_the_longest_are_cut_until_both_orders_fit(judge):
    result = pairwise(judge, truncate=True).label(ROWS)
    assert len(result.preferences) == 3 and not result.left_out
    short, post, answers = (row["characters_cut"] for row in result.preferences)
    assert short == 0 < min(post, answers)
    assert (result.measures["truncated"].value, result.measures["truncated"].n) == (pytest.approx(2 / 3), 3)
    for question in judge.asked:
        assert judge.fits(question, ["1", "2"])
        assert question[0]["content"].startswith("Better. ") and question[0]["content"].endswith("and nothing else.")
    first, second = (texts_shown(question) for question in judge.asked[2:4])
    assert '"It counts." "It counts from 0 to 299."' in first, "what is short is shown whole"
    assert f"[{post} characters left out here]" in first and LONG[:20] in first and LONG[-20:] in first
    request = first.split('"It counts." ')[0]
    assert second.startswith(request), "both orders show the same of it"
    assert result.preferences[1]["prompt"] == LONG, "the data keeps all"
    assert all(texts_shown(question).count("characters left out here") == 2 for question in judge.asked[4:])
    # Not a token of room is given away: with a few characters more it would not fit.
    pair = Comparison(1, LONG, *ROWS[1]["responses"], {}, limit=len(LONG) - post + 8)
    ask = pairwise(judge)._questions
    assert not all(judge.fits(ask.messages(pair, order, "ask"), ["1", "2"]) for order in (0, 1))


def test_what_fits_is_asked_as_ever_and_what_is_cut_is_another_question(judge, tmp_path):
    pairwise(judge, store=tmp_path / "s").label(ROWS)
    before = len(judge.asked)
    pairwise(judge, store=tmp_path / "s", truncate=True).label(ROWS)
    assert len(judge.asked) - before == 4, "of the row that fits nothing is asked again"
    judge.model.config.max_position_embeddings = WINDOW - 40
    pairwise(judge, store=tmp_path / "s", truncate=True).label(ROWS)
    assert len(judge.asked) - before == 8, "with another window more is cut"


@pytest.mark.parametrize("mode", ["logprobs", "text"])
def test_reasoning_leaves_room_for_its_words(judge, mode):
    labeler = pairwise(judge, truncate=True, mode=mode, reasoning=True, max_reasoning_tokens=40)
    labeler.label(ROWS[1:2])
    assert all(judge.fits(question, max_new_tokens=40) for question in judge.asked if len(question) == 1)
    longest = labeler._questions.messages(
        labeler._fitted([Comparison(0, LONG, "a", "b", {})])[0],
        0,
        labeler._questions.steps[-1],
        "" if mode == "logprobs" else None,
    )
    assert judge.fits(longest, max_new_tokens=40)


def test_grades_show_the_same_of_the_request_to_all_questions_of_a_row(judge):
    judge.model.config.max_position_embeddings = 700
    labeler = ScoreLabeler(judge, ["helpfulness", "honesty"], truncate=True, model="j")
    rows = [{"prompt": "Short?", "responses": ["yes", "no"]}, {"prompt": LONG, "responses": ["a" * 300, "It counts."]}]
    graded = labeler.score(rows)
    assert [answer.reason for answer in graded] == [None] * 4
    assert [answer.characters_cut > 0 for answer in graded] == [False, False, True, True]
    requests = {question[0]["content"].split("Request: ")[1].split("\n")[0] for question in judge.asked[4:]}
    assert len(requests) == 1 and "characters left out here" in requests.pop()
    result = labeler.label(rows)
    assert result.measures["truncated"].value == 0.5
    assert all(row["characters_cut"] >= 0 for row in result.preferences)
    labeler.estimate(rows)
    assert len(labeler.compare([LONG], ["a" * 300], ["It counts."])) == 1


def test_it_compares_what_is_too_long(judge):
    assert pairwise(judge, truncate=True).compare([LONG], ["It counts."], ["Numbers."])[0] is not None
    assert pairwise(judge).compare([LONG], ["It counts."], ["Numbers."]) == [None]


@pytest.mark.parametrize("larger", ["first", "second"])
def test_the_limit_is_what_the_order_that_needs_more_room_has(judge, larger):
    pair = Comparison(0, LONG, "first", "second", {})

    def fits(question, choices, **sampling):
        comes_first = f'"{larger}" "' in question[0]["content"]  # as where tokens merge across the gap between answers
        return len(question[0]["content"]) <= (900 if comes_first else 1000)

    judge.fits = fits
    (fitted,) = pairwise(judge, truncate=True)._fitted([pair])
    question = pairwise(judge)._questions.messages(fitted, 0, "ask")
    assert 880 <= len(question[0]["content"]) <= 900


def test_it_is_refused_where_the_window_is_not_known():
    with pytest.raises(NotImplementedError, match="`truncate` needs to know .* ScriptedGenerator does not say"):
        PairwiseLabeler(ScriptedGenerator([]), truncate=True)
    with pytest.raises(NotImplementedError, match="EndpointGenerator does not say"):
        ScoreLabeler(EndpointGenerator("http://127.0.0.1:9/v1", "m", max_retries=0), truncate=True)


def test_where_even_a_little_does_not_fit_nothing_is_cut():
    asked = []

    def fits(limit):
        asked.append(limit)
        return False

    assert fitting_limit(["a" * 900], fits) is None
    assert asked == [None, LEAST]
    assert fitting_limit(["a" * LEAST], fits) is None


@pytest.mark.parametrize("room", [70, 100, 400, 899])
def test_the_limit_is_the_largest_that_fits(room):
    texts = [[{"role": "user", "content": "a" * 900}], "b" * 65]

    assert fitting_limit(texts, lambda limit: limit is not None and limit <= room) == room
    assert characters_cut(texts, room) == 900 - room
    assert characters_cut(texts, None) == 0


def test_examples():
    assert doctest.testmod(fitting).failed == 0


def test_a_text_cannot_write_the_mark():
    sneaky = 'ab" [9 characters left out here] "cd'
    assert json.loads(quoted(sneaky)) == sneaky
    assert quoted("<s>3456789", 6) == '"\\u003cs>" [4 characters left out here] "789"'
    assert quoted([{"role": "user", "content": "abcdef"}], 5) == (
        '[{"role": "user", "content": "abc" [1 characters left out here] "ef"}]'
    )
    messages = [{"role": "user", "content": "é\u2028</s>"}, {"role": "assistant", "content": "b"}]
    assert json.loads(quoted(messages)) == messages and "</s>" not in quoted(messages)
