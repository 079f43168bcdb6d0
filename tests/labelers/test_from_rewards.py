"""Preferences by a reward function."""

import asyncio
import doctest
import importlib
import math

import pytest
from datasets import Dataset

from rlhf_ext import RewardMixer, RewardModel
from rlhf_ext.labelers import from_rewards
from rlhf_ext.rewards.calling import like_prompt


def table(scores):
    def known(prompts, completions, **columns):
        return [scores[completion] for completion in completions]

    return known


ROWS = [{"prompt": "?", "responses": ["a", "b", "c"], "id": 7}]


def test_examples():
    assert doctest.testmod(importlib.import_module("rlhf_ext.labelers.rewards")).failed == 0


def test_labels_are_bradley_terrys():
    result = from_rewards(table({"a": 1.0, "b": 3.0, "c": 0.0}), ROWS, temperature=2.0)
    assert result.preferences == [
        {
            "prompt": "?",
            "chosen": "b",
            "rejected": "c",
            "preference_strength": 0.817574,  # 1 / (1 + exp(-1.5))
            "margin": 3.0,
            "source": "reward",
            "annotator": "known",
            "id": 7,
        }
    ]
    assert not result.left_out


def test_all_pairs_and_the_best_of_the_rest():
    scores = {"a": 1.0, "b": 3.0, "c": 0.0}
    pairs = {name: from_rewards(table(scores), ROWS, name).preferences for name in ("all", "best_of_rest")}
    assert [one["chosen"] + one["rejected"] for one in pairs["all"]] == ["ba", "ac", "bc"]
    assert [one["chosen"] + one["rejected"] for one in pairs["best_of_rest"]] == ["ba", "bc"]
    for one in pairs["all"]:
        margin = scores[one["chosen"]] - scores[one["rejected"]]
        assert one["margin"] == margin > 0
        assert one["preference_strength"] == pytest.approx(1 / (1 + math.exp(-margin)), abs=1e-6)


def test_huge_rewards_do_not_overflow():
    (label,) = from_rewards(table({"a": -1e6, "b": 1e6, "c": 0.0}), ROWS, temperature=0.01).preferences
    assert label["preference_strength"] == 1.0


def test_ties_and_answers_without_a_reward_are_left_out():
    result = from_rewards(table({"a": 2.0, "b": None, "c": 2.0}), ROWS, name="house rules")
    assert not result.preferences
    assert [(one["responses"], one["reason"], one["id"]) for one in result.left_out] == [
        (["b"], "no reward: 'house rules' gave None", 7),
        (["a", "c"], "abstained, a tie: p is 0.5", 7),
    ]
    lonely = from_rewards(table({"a": 2.0, "b": None, "c": None}), ROWS)
    assert not lonely.preferences and lonely.reasons == {"no reward": 2, "nothing to compare with": 1}


def test_min_confidence():
    result = from_rewards(table({"a": 0.1, "b": 0.0, "c": 0.0}), ROWS, min_confidence=0.6)
    assert result.left_out[0]["reason"] == "abstained, not sure enough: 0.525 is under 0.6"


def test_the_function_is_called_once_with_the_columns_of_each_answers_row():
    calls = []

    def reward(prompts, completions, solution, **columns):
        calls.append((prompts, completions, solution, columns))
        return [float(one == answer) for one, answer in zip(completions, solution, strict=True)]

    rows = [
        {"prompt": "1 + 1", "responses": ["2", "3", "3 "], "solution": "2"},
        {"prompt": "2 + 2", "responses": ["5", "4"], "solution": "4"},
    ]
    result = from_rewards(reward, Dataset.from_list(rows))
    assert calls == [(["1 + 1"] * 2 + ["2 + 2"] * 2, ["2", "3", "5", "4"], ["2", "2", "4", "4"], {})]
    assert [(one["chosen"], one["solution"]) for one in result.preferences] == [("2", "2"), ("4", "4")]


def test_async_functions_and_messages():
    async def reward(prompts, completions, **columns):
        await asyncio.sleep(0)
        return [float(len(completion[0]["content"])) for completion in completions]

    prompt = [{"role": "user", "content": "?"}]
    answers = [[{"role": "assistant", "content": text}] for text in ("aa", "a")]
    (label,) = from_rewards(reward, [{"prompt": prompt, "responses": answers}]).preferences
    assert (label["chosen"], label["margin"]) == (answers[0], 1.0)
    # Text answers to messages are shown to the function as messages.
    assert from_rewards(reward, [{"prompt": prompt, "responses": ["aa", "a"]}]).preferences[0][
        "chosen"
    ] == like_prompt(prompt, "aa")


def test_a_mixer_and_a_reward_model_label(reward_folder, preferences):
    rows = preferences.select(range(4))
    model = RewardModel(reward_folder)
    result = from_rewards(model, rows, name="tiny")
    scores = [model(prompts=rows["prompt"], completions=rows[side]) for side in ("chosen", "rejected")]
    assert len(result.preferences) == 4 and {one["annotator"] for one in result.preferences} == {"tiny"}
    for row, label, chosen, rejected in zip(rows, result.preferences, *scores, strict=True):
        assert label["margin"] == pytest.approx(abs(chosen - rejected), abs=1e-4)
        assert label["chosen"] == (row["chosen"] if chosen > rejected else row["rejected"])

    def words(prompts, completions, **columns):
        return [float(len(one[0]["content"].split())) for one in completions]

    mixer = RewardMixer({"words": words}, weights={"words": 2.0})
    (label,) = from_rewards(mixer, [{"prompt": rows[0]["prompt"], "responses": ["a b c", "a"]}]).preferences
    assert label["margin"] == 4.0 and label["annotator"] == "reward_mixer"


def test_bad_input():
    fine = table({"a": 1.0, "b": 3.0, "c": 0.0})
    for temperature in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="`temperature` should be a positive number"):
            from_rewards(fine, ROWS, temperature=temperature)
    with pytest.raises(ValueError, match="`pairs` should be"):
        from_rewards(fine, ROWS, "some")
    with pytest.raises(ValueError, match="in \\[0.5, 1\\], got 2"):
        from_rewards(fine, ROWS, min_confidence=2)
    with pytest.raises(ValueError, match="'known' gave nan for completion 1"):
        from_rewards(table({"a": 1.0, "b": math.nan, "c": 0.0}), ROWS)
    with pytest.raises(ValueError, match="no rows to label"):
        from_rewards(fine, [])
    with pytest.raises(KeyError) as error:
        from_rewards(table({}), ROWS)
    assert "Raised by the reward function 'known'" in error.value.__notes__[0]


def test_a_column_of_the_datas_own_is_kept_and_the_reward_reads_it():
    def read(prompts, completions, source, **columns):
        return [float(one == text) for one, text in zip(completions, source, strict=True)]

    rows = [{**ROWS[0], "source": "b", "model": "m"}, {"prompt": "!", "responses": ["b", "a"], "source": "a"}]
    first, second = from_rewards(read, rows).preferences
    assert (first["chosen"], second["chosen"]) == ("b", "a")
    assert (first["source"], first["model"], first["annotator"]) == ("b", "m", "read")
    assert (second["source"], second["model"]) == ("a", None)
    assert {row["label_source"] for row in (first, second)} == {"reward"} and "label_model" not in first
    # Once more: the label is replaced, and the data's own column is not.
    turned = {"a": 1.0, "b": 0.0, "c": 3.0}
    again = from_rewards(table(turned), [{**first, "label_source": "human"}, second], name="other").preferences
    assert [(row["source"], row["label_source"], row["annotator"]) for row in again] == [
        ("b", "reward", "other"),
        ("a", "reward", "other"),
    ]


def test_the_provenance_of_a_former_label_is_replaced_and_what_was_left_out_keeps_its_columns():
    reward = table({"a": 1.0, "b": 3.0, "c": 0.0, "d": math.nan})
    (labelled,) = from_rewards(reward, ROWS).preferences
    (again,) = from_rewards(reward, [{**labelled, "source": "human", "annotator": "ann", "model": "m"}]).preferences
    assert again == labelled
    tie = from_rewards(table({"a": 1.0, "b": 1.0}), [{"prompt": "?", "responses": ["a", "b"], "source": "reddit"}])
    assert tie.left_out[0]["source"] == "reddit"
    unsaid = from_rewards(reward, [{**ROWS[0], "source": None}]).preferences
    assert unsaid == [labelled], "nothing is lost, and no name is taken"
