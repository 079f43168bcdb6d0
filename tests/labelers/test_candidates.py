"""Candidates, and the best of them."""

import doctest
import importlib
import math
import threading
import warnings
from collections import Counter

import pytest
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from rlhf_ext import LocalGenerator, ScriptedGenerator
from rlhf_ext.generation import EndpointGenerator, Unanswered
from rlhf_ext.generation.probing import Abilities
from rlhf_ext.labelers import Budget, ScoreLabeler, best_of_n, best_of_n_dataset, sample_candidates


@pytest.mark.parametrize("name", ["candidates", "best_of", "best_graded"])
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"rlhf_ext.labelers.{name}")).failed == 0


def numbered(name="x"):
    """Another answer each time: x1, x2, ..."""
    count = iter(range(1, 10_000))
    return ScriptedGenerator(lambda prompt, sampling: f"{name}{next(count)}")


def length(prompts, completions, **columns):
    return [float(len(text if isinstance(text, str) else text[0]["content"])) for text in completions]


# --- sampling ------------------------------------------------------------------------------------------------------


def test_one_model_answers_n_times():
    model = numbered()
    data = sample_candidates(model, ["p", "q"], n=3, max_new_tokens=9, temperature=0.5)
    assert data.column_names == ["prompt", "responses", "models"]
    assert data["responses"][:] == [["x1", "x2", "x3"], ["x4", "x5", "x6"]]
    assert set(sum(data["models"][:], [])) == {"ScriptedGenerator"}
    assert {(sampling["max_new_tokens"], sampling["temperature"]) for _, sampling in model.calls} == {(9, 0.5)}
    assert len({sampling["seed"] for _, sampling in model.calls}) == 6


def test_models_take_turns_from_prompt_to_prompt():
    models = {"a": numbered("a"), "b": numbered("b"), "c": numbered("c")}
    data = sample_candidates(models, [f"p{i}" for i in range(6)], n=2)
    assert data["models"][:] == [["a", "b"], ["a", "c"], ["b", "c"]] * 2
    assert all(text[0] == name for row in data for text, name in zip(row["responses"], row["models"], strict=True))
    assert Counter(sum(data["models"][:], [])) == {"a": 4, "b": 4, "c": 4}


def test_the_same_seed_samples_the_same_and_another_does_not():
    by_seed = lambda: ScriptedGenerator(lambda prompt, sampling: str(sampling["seed"]))  # noqa: E731
    one, same, other = (sample_candidates(by_seed(), ["p"], n=4, seed=seed)["responses"][:] for seed in (1, 1, 2))
    assert one == same and not set(one[0]) & set(other[0])


def test_equal_answers_are_kept_once_and_a_prompt_with_one_stays():
    data = sample_candidates(
        {"a": ScriptedGenerator(["Yes", "No", "Hm", "Hm"]), "b": ScriptedGenerator([" Yes\n", "Well", "Hm ", " Hm"])},
        [{"prompt": "p", "id": 1}, {"prompt": "q", "id": 2}],
        n=4,
    )
    assert data[0] == {"prompt": "p", "id": 1, "responses": ["Yes", "No", "Well"], "models": ["a", "a", "b"]}
    assert data[1]["responses"] == ["Hm"] and data[1]["models"] == ["a"]


def test_messages_are_answered_with_messages_that_labelers_take():
    prompt = [{"role": "user", "content": "p"}]
    data = sample_candidates(numbered(), [prompt], n=2)
    assert data[0]["responses"] == [[{"role": "assistant", "content": f"x{i}"}] for i in (1, 2)]
    judge = ScriptedGenerator(lambda prompt, sampling: "3" if '"x1"' in prompt[0]["content"] else "7")
    (label,) = ScoreLabeler(judge, "Be second.").label(data).preferences
    assert label["chosen"] == [{"role": "assistant", "content": "x2"}]
    assert label["chosen_model"] == label["rejected_model"] == "ScriptedGenerator"


def test_it_goes_on_where_it_was_stopped(tmp_path):
    store, prompts = tmp_path / "store.sqlite", ["p", "q", "r"]
    models = {"a": numbered("a"), "b": numbered("b")}
    with pytest.raises(RuntimeError, match="budget is used up: 7 of 12 answers are sampled"):
        sample_candidates(models, prompts, n=4, store=store, budget=Budget(max_requests=7))
    assert len(models["a"].calls) + len(models["b"].calls) == 7
    data = sample_candidates(models, prompts, n=4, store=store, budget=Budget(max_requests=12))
    assert len(models["a"].calls) == len(models["b"].calls) == 6
    assert sample_candidates(models, prompts, n=4, store=store)["responses"][:] == data["responses"][:]
    more = sample_candidates(models, prompts, n=6, store=store)
    assert len(models["a"].calls) == len(models["b"].calls) == 9
    assert all(set(old) < set(new) for old, new in zip(data["responses"], more["responses"], strict=True))


def failing(prompt, sampling):
    if "bad" in prompt:
        raise Unanswered("filtered")
    return "fine"


def test_a_prompt_without_answers_is_named_or_left_out():
    with pytest.raises(RuntimeError, match="1 of 2 prompts got no answer; row 1: filtered"):
        sample_candidates(ScriptedGenerator(failing), ["good", "bad"], n=2)
    with pytest.warns(UserWarning, match="1 of 2 prompts got no answer; row 1: filtered.* left out"):
        data = sample_candidates(ScriptedGenerator(failing), ["good", "bad"], n=2, skip_failed=True)
    assert data["prompt"][:] == ["good"]
    with pytest.raises(RuntimeError, match="2 of 2 prompts"):
        sample_candidates(ScriptedGenerator(failing), ["bad 1", "bad 2"], n=2, skip_failed=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        some = sample_candidates({"a": ScriptedGenerator(failing), "b": numbered("b")}, ["bad"], n=2)
    assert some[0]["models"] == ["b"]


def test_a_local_model_samples_answers_that_differ(policy, tokenizer):
    generator = LocalGenerator(policy, tokenizer, batch_size=4)
    ask = lambda seed: sample_candidates(generator, ["Say:", "Go:"], n=3, seed=seed, max_new_tokens=6)  # noqa: E731
    one, same, other = ask(0), ask(0), ask(1)
    assert one["responses"][:] == same["responses"][:] != other["responses"][:]
    assert all(len(answers) > 1 for answers in one["responses"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0}, ValueError, "`n` should be at least 1"),
        ({"temperature": 0}, ValueError, "4 answers of one model at temperature 0"),
        ({"prompts": []}, ValueError, "There are no prompts"),
        ({"prompts": "p"}, ValueError, "a list of one is"),
        ({"prompts": ["p", ""]}, ValueError, "Row 1 has no `prompt`"),
        ({"prompts": [{"role": "user", "content": "p"}]}, ValueError, "is one message"),
        ({"generators": []}, ValueError, "no generators"),
        ({"generators": [numbered(), numbered()]}, ValueError, "pass a dict with a name for each"),
        ({"generators": {"a": object()}}, TypeError, "'a' needs a method `each`"),
        ({"heat": 1}, TypeError, "Unknown sampling argument 'heat'"),
    ],
)
def test_bad_input_to_sampling(arguments, error, message):
    model = numbered()
    with pytest.raises(error, match=message):
        sample_candidates(**{"generators": model, "prompts": ["p"], "n": 4, **arguments})
    assert not model.calls


class Stuck(EndpointGenerator):
    """An endpoint that was found not to sample."""

    def probe(self):
        return Abilities(sampling=False, logprobs=True, n=True, json=True)


def test_an_endpoint_that_does_not_sample_is_refused_before_anything_is_asked():
    model, stuck = numbered(), Stuck("http://127.0.0.1:9/v1", "m")
    with pytest.raises(NotImplementedError, match="127.0.0.1:9/v1 gave the same answer twice .* Ask for one answer"):
        sample_candidates({"a": model, "b": stuck}, ["p"], n=4)
    assert not model.calls


def test_models_at_temperature_0_may_answer_once_each():
    data = sample_candidates({"a": numbered("a"), "b": numbered("b")}, ["p"], n=2, temperature=0)
    assert data[0]["responses"] == ["a1", "b1"]


# --- best of n -----------------------------------------------------------------------------------------------------


def test_the_best_of_n_is_the_first_with_the_highest_reward():
    model = ScriptedGenerator(["aa", "bbb", "ccc", "d", "eeee", "ff"])
    assert best_of_n(model, ["p", "q"], length, n=3, return_scores=True) == (["bbb", "eeee"], [3.0, 4.0])
    assert [prompt for prompt, _ in model.calls] == ["p"] * 3 + ["q"] * 3


def test_answers_without_a_reward_are_never_chosen():
    def reward(prompts, completions, **columns):
        return [None if "x" in text else -float(len(text)) for text in completions]

    assert best_of_n(ScriptedGenerator(["x", "bbb", "cc"]), ["p"], reward, n=3) == ["cc"]
    with pytest.raises(ValueError, match="None for all 2 answers to prompt 1, 'second'"):
        best_of_n(ScriptedGenerator(["a", "x", "x", "x"]), ["first", "second"], reward, n=2)


def test_the_reward_gets_columns_and_messages():
    def reward(prompts, completions, solution, **columns):
        assert [len(prompt) for prompt in prompts] == [1] * 4
        return [float(one[0]["content"] == answer) for one, answer in zip(completions, solution, strict=True)]

    rows = [{"prompt": [{"role": "user", "content": c}], "solution": s} for c, s in (("p", "1"), ("q", "2"))]
    assert best_of_n(ScriptedGenerator(["2", "1", "2", "1"]), Dataset.from_list(rows), reward, n=2) == ["1", "2"]


def test_the_best_of_n_rises_with_n(policy, tokenizer):
    generator = LocalGenerator(policy, tokenizer, batch_size=16)
    means = []
    for n in (1, 8):
        _, scores = best_of_n(generator, [f"{i}:" for i in range(8)], length, n, return_scores=True, max_new_tokens=8)
        means.append(sum(scores) / len(scores))
    assert means[1] > means[0]


def test_bad_input_to_best_of_n():
    model = numbered()
    with pytest.raises(ValueError, match="`n` should be at least 1"):
        best_of_n(model, ["p"], length, n=0)
    with pytest.raises(ValueError, match="at temperature 0 would all be the same"):
        best_of_n_dataset(model, ["p"], length, n=2, temperature=0)
    with pytest.raises(ValueError, match="`batch_size` should be at least 1"):
        best_of_n_dataset(model, ["p"], length, batch_size=0)
    with pytest.raises(ValueError, match="no prompts"):
        best_of_n_dataset(model, [], length)
    assert not model.calls


# --- on the fly ----------------------------------------------------------------------------------------------------


def test_rows_are_made_when_they_are_asked_for():
    model, prompts = numbered("x" * 3), [f"p{i}" for i in range(6)]
    data = best_of_n_dataset(model, prompts, length, n=2, batch_size=2)
    assert list(data.features) == ["prompt", "completion", "score"] and not model.calls
    rows = iter(data)
    assert next(rows)["prompt"] == "p0" and len(model.calls) == 2  # the first batch is one prompt
    assert next(rows)["prompt"] == "p1" and len(model.calls) == 2 + 4
    assert [row["prompt"] for row in rows] == prompts[2:] and len(model.calls) == 12
    assert [row["prompt"] for row in data] == prompts and len(model.calls) == 24


def test_passes_are_alike_and_batches_are_not():
    by_seed = ScriptedGenerator(lambda prompt, sampling: str(sampling["seed"]))
    data = best_of_n_dataset(by_seed, ["p"] * 7, length, n=2, batch_size=3, seed=5)
    one, again = list(data), list(data)
    assert one == again
    assert [sampling["seed"] for _, sampling in by_seed.calls[:14:2]] == [5, 7, 7, 7, 13, 13, 13]


def test_nothing_is_pickled_on_the_way():
    model = numbered()
    model.lock = threading.Lock()  # what cannot be pickled: a client, a model on a device
    data = best_of_n_dataset(model, [[{"role": "user", "content": "p"}]], length, n=1)
    (row,) = data
    assert row == {
        "prompt": [{"content": "p", "role": "user"}],
        "completion": [{"content": "x1", "role": "assistant"}],
        "score": 2.0,
    }


@pytest.mark.parametrize("messages", [False, True])
def test_sft_trains_from_it(policy, tokenizer, quick, messages):
    prompts = [f"Count to {i}:" for i in range(12)]
    if messages:
        prompts = [[{"role": "user", "content": prompt}] for prompt in prompts]
    generator = LocalGenerator(policy, tokenizer, batch_size=16)
    written, before = [], policy.get_input_embeddings().weight.detach().clone()

    def reward(prompts, completions, **columns):
        written.append(len(completions))
        return length(prompts, completions)

    data = best_of_n_dataset(generator, prompts, reward, n=2, batch_size=4, max_new_tokens=6)
    args = SFTConfig(**quick, max_steps=2, learning_rate=1e-3, max_length=64)
    trainer = SFTTrainer(policy, args=args, train_dataset=data, processing_class=tokenizer)
    assert set(written) == {2} and len(written) <= 6  # TRL looks at the first row, and no further
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2 and all(map(math.isfinite, losses))
    assert not (policy.get_input_embeddings().weight == before).all()
    assert sum(written) <= 2 * 6 + 2 * (1 + 4 + 4 + 4)
