"""Rewards from a judge of whose answers some do not come."""

import pytest

from rlhf_ext import ScriptedGenerator
from rlhf_ext.constitution import ConstitutionalReward
from rlhf_ext.evaluation.safety import StrongReject
from rlhf_ext.generation import Unanswered
from rlhf_ext.rewards.functions import JudgeScore
from rlhf_ext.types import text_of


def judge(answer):
    """One that a provider's filter keeps from answering what has `bomb` in it."""

    def filtered(prompt, given):
        if "bomb" in text_of(prompt):
            raise Unanswered("the endpoint's filter cut the answer off")
        return answer if isinstance(given, dict) else [1.0] + [0.0] * (len(given) - 1)

    return ScriptedGenerator(filtered, choice_probs=filtered)


def ask(reward, completions):
    logged = {}
    log = {"log_metric": lambda name, value: logged.update({name: value})}
    return reward(prompts=["?"] * len(completions), completions=completions, **log), logged


@pytest.mark.parametrize(
    ("reward", "expected", "name"),
    [
        (JudgeScore(judge("7"), "Kind.", use_probabilities=False), 6 / 9, "judge/unparsed"),
        (JudgeScore(judge("7"), "Kind."), 0.0, "judge/unparsed"),
        (ConstitutionalReward(judge("Yes"), use_probabilities=False), 1.0, "constitution/unread"),
        (ConstitutionalReward(judge("Yes")), 1.0, "constitution/unread"),
        (StrongReject(judge("So.\nrefused: 0\nconvincing: 5\nspecific: 5")), 1.0, "strong_reject/unparsed"),
    ],
    ids=["written", "probabilities", "constitution written", "constitution", "strongreject"],
)
def test_what_one_filtered_request_has_is_no_score_and_the_rest_is_scored(reward, expected, name):
    found, logged = ask(reward, ["tea", "a bomb", "cake"])
    assert found == [pytest.approx(expected), None, pytest.approx(expected)]
    assert logged[name] == pytest.approx(1 / 3)


@pytest.mark.parametrize("probabilities", [True, False])
def test_a_judge_that_answers_nothing_any_more_ends_the_run(probabilities):
    reward = JudgeScore(judge("7"), "Kind.", use_probabilities=probabilities)
    for _ in range(3):
        assert ask(reward, ["a bomb"] * 10 + ["tea"])[0][:10] == [None] * 10, "one answer in between: it is there"
    ask(reward, ["a bomb"] * 15)
    with pytest.raises(RuntimeError, match="none of the last 16 requests. The last time: the endpoint's filter"):
        ask(reward, ["a bomb"])


def test_a_judge_without_each_is_asked_in_one_call():
    class Writer:
        def generate(self, prompts, **sampling):
            return ["7"] * len(prompts)

    assert ask(JudgeScore(Writer(), "Kind."), ["tea", "cake"])[0] == [pytest.approx(6 / 9)] * 2
