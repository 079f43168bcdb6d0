"""What all reward functions of the package have in common."""

import doctest
import pickle
import shutil

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from rlhf_ext import ScriptedGenerator
from rlhf_ext.rewards import functions
from rlhf_ext.rewards.functions.blocks import last_block
from rlhf_ext.types import RewardFunction

LIGHT = {
    "Bleu": lambda: functions.Bleu(),
    "DistinctNgrams": lambda: functions.DistinctNgrams(n=2),
    "JSONFormat": lambda: functions.JSONFormat({"type": "object"}),
    "JudgeScore": lambda: functions.JudgeScore(
        ScriptedGenerator([], choice_probs=lambda prompt, choices: range(10)), "Good."
    ),
    "Language": lambda: functions.Language("en"),
    "Length": lambda: functions.Length(2, 3),
    "Regex": lambda: functions.Regex("a"),
    "Rouge": lambda: functions.Rouge(),
    "Tags": lambda: functions.Tags("think", "answer"),
    "VaderSentiment": lambda: functions.VaderSentiment(),
    "CodeTests": lambda: functions.CodeTests(),
}
HEAVY = ["ClassifierLabel", "DetoxifySafety", "Factuality", "Sentiment", "Similarity"]
COLUMNS = {"reference": ["a red dog", "a cat"], "tests": [["assert True"], None]}

needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
names = [pytest.param(name, marks=needs_bubblewrap if name == "CodeTests" else ()) for name in LIGHT]


def test_every_reward_function_is_tested_here_or_with_its_model():
    assert sorted([*LIGHT, *HEAVY, "repeated_ngrams"]) == sorted(functions.__all__)


@pytest.mark.parametrize("name", names)
def test_they_keep_trls_protocol(name):
    reward = LIGHT[name]()
    assert isinstance(reward, RewardFunction) and reward.__name__.isidentifier()
    texts = ["a red dog", "```python\nx = 1\n```"]
    extra = {
        "completion_ids": [[1], [2]],
        "trainer_state": object(),
        "log_extra": print,
        "log_metric": lambda name, value: None,
    }
    plain = reward(prompts=["?", "?"], completions=texts, **COLUMNS, **extra)
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    assert plain == reward(prompts=[[], []], completions=messages, **COLUMNS, **extra)
    assert len(plain) == 2 and all(score is None or (type(score) is float and 0 <= score <= 1) for score in plain)
    assert reward(prompts=[], completions=[], reference=[], tests=[]) == []


@pytest.mark.parametrize("name", [name for name in names if name.values[0] != "JudgeScore"])
def test_they_pickle(name):
    reward = LIGHT[name]()
    again = pickle.loads(pickle.dumps(reward))
    rows = {"prompts": ["?"] * 2, "completions": ["a red dog", "no"], **COLUMNS}
    assert again(**rows) == reward(**rows)
    assert again.__name__ == reward.__name__


def test_a_judge_pickles_with_its_generator():
    judge = pickle.loads(
        pickle.dumps(functions.JudgeScore(ScriptedGenerator(["4"]), "Good.", use_probabilities=False))
    )
    assert judge(prompts=["?"], completions=["a"]) == [pytest.approx(1 / 3)]


def test_those_with_a_model_pickle(bert):
    rows = {"prompts": ["?"], "completions": ["a good day"], "reference": ["a bad day ."]}
    folder = bert(["entailment", "POSITIVE"])
    for reward in (functions.Sentiment(folder), functions.Factuality(folder), functions.Similarity(bert())):
        assert pickle.loads(pickle.dumps(reward))(**rows) == pytest.approx(reward(**rows))


def test_a_trl_trainer_takes_them_and_logs_their_parts(tiny, quick, bert):
    quick.pop("per_device_train_batch_size")
    args = GRPOConfig(**quick, max_steps=1, per_device_train_batch_size=4, num_generations=2, max_completion_length=8)
    rewards = [
        functions.Length(2, 8, unit="tokens"),
        functions.DistinctNgrams(n=2),
        functions.Rouge(),
        functions.Sentiment(bert(["NEGATIVE", "POSITIVE"])),
    ]
    data = Dataset.from_list(
        [{"prompt": "How are you?", "reference": "fine"}, {"prompt": "And you?", "reference": None}]
    )
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(tiny),
        rewards,
        args=args,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(tiny),
    )
    trainer.train()
    logs = trainer.state.log_history[0]
    assert logs["length/tokens"] == logs["completions/mean_length"]
    assert logs["rewards/length/mean"] == pytest.approx(min(1, logs["length/tokens"] / 2))
    assert {"rewards/distinct_2grams/mean", "rewards/rougeL/mean", "sentiment/POSITIVE"} <= set(logs)


@pytest.mark.parametrize(
    "thing",
    [
        pytest.param(thing, marks=needs_bubblewrap if thing is functions.CodeTests else ())
        for name in functions.__all__
        if ">>>" in ((thing := getattr(functions, name)).__doc__ or "")
    ]
    + [last_block],
    ids=lambda thing: thing.__name__,
)
def test_examples_in_the_docstrings(thing):
    example = doctest.DocTestParser().get_doctest(thing.__doc__.replace("```", ""), {}, thing.__name__, None, 0)
    assert example.examples and doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize("name", functions.__all__)
def test_each_has_an_example(name):
    assert "Example:\n\n    ```python\n" in getattr(functions, name).__doc__
