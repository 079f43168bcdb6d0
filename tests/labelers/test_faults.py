"""An endpoint that goes wrong in a third of its answers: every row is labelled rightly or left out with its reason."""

import subprocess
import sys
import time

import pytest

from rlhf_ext.data.store import JudgementStore
from rlhf_ext.generation import EndpointGenerator
from rlhf_ext.labelers import Budget, PairwiseLabeler

from .endpoint import FAULTS, TEMPORARY, Endpoint, rows


@pytest.fixture(autouse=True)
def loopback(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def judge(endpoint, **options):
    return EndpointGenerator(
        endpoint.url, "judge", **{"timeout": 0.5, "max_retries": 6, "max_concurrency": 16, **options}
    )


def is_right(row):
    return "good" in row["chosen"] and "poor" in row["rejected"]


@pytest.mark.parametrize("logprobs", [False, True])
def test_a_third_of_all_answers_wrong(tmp_path, logprobs):
    data = rows(120)
    with Endpoint(0.3, logprobs=logprobs, seed=3) as endpoint:
        labeler = PairwiseLabeler(
            judge(endpoint), "helpful", mode="logprobs" if logprobs else "text", store=tmp_path / "s"
        )
        result = labeler.label(data)
        faults = dict(endpoint.given)
        assert all(faults[fault] >= 3 for fault in FAULTS), "each way to go wrong was taken"
        assert len(result.preferences) + len(result.left_out) == len(data) and not result.unfinished
        assert all(map(is_right, result.preferences))
        assert {row["id"] for row in [*result.preferences, *result.left_out]} == set(range(120))
        assert all(row["reason"] for row in result.left_out)
        paid = {content: count for content, count in endpoint.answered.items() if "Answer 1:" in content}
        assert max(paid.values()) == 1, "nothing is paid for twice"
        # What came to nothing was asked again; what was answered, however badly, was not.
        assert 0.5 < len(result.preferences) / len(data) < 1
        again = PairwiseLabeler(
            judge(endpoint), "helpful", mode="text" if not logprobs else "logprobs", store=tmp_path / "s"
        )
        before = endpoint.requests
        assert again.label(data).preferences == result.preferences
        assert endpoint.requests == before, "the same call asks nothing again"


def test_what_passes_is_asked_again_until_it_is_answered(tmp_path):
    with Endpoint(0.5, faults=TEMPORARY, hang=0.2) as endpoint:
        result = PairwiseLabeler(judge(endpoint, max_retries=40, timeout=0.15), "helpful", mode="text").label(rows(12))
    assert len(result.preferences) == 12 and all(map(is_right, result.preferences))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("500", "failed: .*gave no answer in 2 attempts .*busy"),
        ("hang", "failed: .*timed out"),
        ("malformed", "failed: .*gave no answer in 2 attempts"),
        ("refusal", "unreadable: the judge wrote 'I cannot compare"),
        ("empty", "unreadable: the judge wrote ''"),
        ("choices", "failed: the answer has 2 choices"),
    ],
)
def test_what_stays_wrong_is_left_out_with_its_reason(fault, reason):
    with Endpoint() as endpoint:
        labeler = PairwiseLabeler(judge(endpoint, max_retries=1, timeout=0.2), "helpful", mode="text")
        endpoint._share, endpoint._faults = 1.0, (fault,)
        result = labeler.label(rows(2))
        assert result.preferences == []
        for row in result.left_out:
            with pytest.raises(ValueError, match=reason):
                raise ValueError(row["reason"])
        endpoint._share = 0.0
        retrying = PairwiseLabeler(judge(endpoint), "helpful", mode="text", store=labeler.store, retry_failed=True)
        failed = reason.startswith("failed")
        assert len(retrying.label(rows(2)).preferences) == (2 if failed else 0), "what was answered is not asked again"


def test_a_limit_makes_all_wait(tmp_path):
    with Endpoint() as endpoint:
        labeler = PairwiseLabeler(judge(endpoint, max_concurrency=4), "helpful", mode="text")
        endpoint._share, endpoint._faults = 0.2, ("429",)
        labeler.label(rows(20))
        assert endpoint.given["429"] >= 3
        assert sum(endpoint.answered.values()) - 5 == 40


def test_a_wrong_key_ends_the_work_and_is_shown_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234")
    with Endpoint() as endpoint:
        labeler = PairwiseLabeler(judge(endpoint, max_retries=0), "helpful", mode="text", store=tmp_path / "s.sqlite")
        endpoint._share, endpoint._faults = 1.0, ("500",)
        result = labeler.label(rows(2))
        assert "secret" not in str(result) + str(result.left_out)
        labeler.store.close()
        assert b"secret" not in (tmp_path / "s.sqlite").read_bytes()


def test_an_unreachable_endpoint_is_named_before_anything_is_asked():
    with Endpoint() as endpoint:
        url = endpoint.url
    with pytest.raises(ConnectionError, match=f"cannot be used: {url} gave no answer"):
        PairwiseLabeler(EndpointGenerator(url, "judge", max_retries=0, timeout=0.2), "helpful")


def test_what_an_endpoint_does_is_looked_at_not_believed():
    with Endpoint(logprobs=True) as endpoint:
        abilities = judge(endpoint).probe()
        assert (abilities.sampling, abilities.logprobs, abilities.n, abilities.json) == (True, True, True, False)
        assert PairwiseLabeler(judge(endpoint), "helpful").mode.reads_logprobs
    with Endpoint() as endpoint:
        assert not judge(endpoint).probe().logprobs
        assert not PairwiseLabeler(judge(endpoint), "helpful").mode.reads_logprobs
        with pytest.raises(NotImplementedError, match="gives no log-probabilities for 'judge'.*mode='text'"):
            PairwiseLabeler(judge(endpoint), "helpful", mode="logprobs")


def test_votes_need_an_endpoint_that_samples(monkeypatch):
    monkeypatch.setattr(Endpoint, "requests", property(lambda self: 0, lambda self, value: None), raising=False)
    with Endpoint() as endpoint, pytest.raises(NotImplementedError, match="does not sample, so 3 votes would be one"):
        PairwiseLabeler(judge(endpoint), "helpful", votes=3)


@pytest.mark.parametrize("limit", [0, 1, 13, 40])
def test_no_more_is_sent_than_the_budget_allows(tmp_path, limit):
    with Endpoint(0.3, faults=("500",), seed=1) as endpoint:
        labeler = PairwiseLabeler(
            judge(endpoint, max_retries=2), "helpful", mode="text", store=tmp_path / "s", budget=Budget(limit)
        )
        before = endpoint.requests
        result = labeler.label(rows(30))
        assert limit - 3 < endpoint.requests - before <= limit, "at most what a question may take is left over"
        assert result.unfinished >= 30 - limit // 2
        more = PairwiseLabeler(judge(endpoint, max_retries=2), "helpful", mode="text", store=tmp_path / "s")
        finished = more.label(rows(30))
        assert not finished.unfinished and len(finished.preferences) + len(finished.left_out) == 30
        assert max(count for content, count in endpoint.answered.items() if "Answer 1:" in content) == 1


def test_money_is_counted_and_capped(tmp_path):
    budget = Budget(max_cost=0.5, input_price=100.0, output_price=100.0)
    with Endpoint() as endpoint:
        labeler = PairwiseLabeler(
            judge(endpoint, max_retries=0), "helpful", mode="text", store=tmp_path / "s", budget=budget
        )
        result = labeler.label(rows(30))
    words = sum(len(content.split()) + 1 for content in endpoint.answered if "Answer 1:" in content)
    assert result.spent["cost"] == pytest.approx(words * 1e-4)
    assert 0 < result.spent["cost"] <= 0.5 and result.unfinished


def test_the_longest_answer_and_all_retries_are_set_aside():
    with Endpoint() as endpoint:
        budget = Budget(max_cost=50, output_price=1e6)  # a token costs 1, an answer has one and might have 16
        labeler = PairwiseLabeler(
            judge(endpoint, max_retries=1, max_concurrency=4), "helpful", mode="text", budget=budget
        )
        result = labeler.label(rows(60))
        assert 50 - 2 * 16 < result.spent["cost"] <= 50 and result.unfinished
        assert budget.most("Q?", max_new_tokens=16, attempts=2) == 32


def test_an_answer_of_no_use_is_paid_for_all_the_same():
    with Endpoint() as endpoint:
        budget = Budget(input_price=1e6)
        labeler = PairwiseLabeler(judge(endpoint), "helpful", mode="text", budget=budget)
        endpoint._share, endpoint._faults = 1.0, ("choices",)
        result = labeler.label(rows(3))
        words = sum(len(content.split()) for content in endpoint.answered if "Answer 1:" in content)
    assert not result.preferences and result.spent["cost"] == pytest.approx(words) and words > 0


def test_closing_cancels_what_is_on_its_way():
    with Endpoint() as endpoint:
        answers = EndpointGenerator(endpoint.url, "m", max_concurrency=2).each(iter(["quick", *["slow"] * 8]))
        assert next(answers)[0] == 0
        started = time.monotonic()
        answers.close()
        assert time.monotonic() - started < 4, "it did not wait for the slow one"
        assert endpoint.requests <= 3, "what was not on its way was not taken"


def test_a_program_that_drops_an_open_stream_ends():
    with Endpoint() as endpoint:
        code = (
            "from rlhf_ext import EndpointGenerator\n"
            f"answers = EndpointGenerator({endpoint.url!r}, 'm', max_concurrency=2).each(iter(['quick', 'slow', 'slow']))\n"
            "print(next(answers)[0])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr[-1000:]


def test_a_store_is_shared_by_labelers(tmp_path):
    store = JudgementStore(tmp_path / "s")
    with Endpoint() as endpoint:
        for _ in range(2):
            PairwiseLabeler(judge(endpoint), "helpful", mode="text", store=store).label(rows(4))
        assert sum(count for content, count in endpoint.answered.items() if "Answer 1:" in content) == 8
