"""Many at once equal one by one; places are freed; seeds and adapters stay with their requests."""

from __future__ import annotations

import queue
import threading
import time

import pytest
import torch
from peft import LoraConfig, get_peft_model

from rlhf_ext.generation import LocalGenerator, PromptTooLong
from rlhf_ext.generation.engine import BatchEngine
from rlhf_ext.generation.writing import Writing, held_back

from .models import PROMPTS, greedy_by_hand, make_model


class Reader:
    """Collects what is written to one request."""

    def __init__(self, engine, prompt, adapter=None, **sampling):
        self.parts, self.end, self.engine = [], queue.Queue(), engine
        self.job = engine.submit(engine.reader.ids(prompt), {"temperature": 0, **sampling}, self.tell, adapter)

    def tell(self, written):
        self.parts.append(written.text)
        if written.finish_reason:
            self.end.put(written)

    def wait(self):
        self.last = self.end.get(timeout=20)
        return "".join(self.parts)


@pytest.fixture
def engine(model, tokenizer):
    engine = BatchEngine(model, tokenizer, max_batch=4)
    yield engine
    engine.close()


def test_who_joins_and_leaves_changes_nothing(engine, model, tokenizer):
    """Prompts of all lengths, more than there are places, that come and go at different times."""
    expected = [
        tokenizer.decode(greedy_by_hand(model, tokenizer(prompt)["input_ids"], n), skip_special_tokens=True)
        for n, prompt in zip((3, 20, 7, 12, 1, 30), PROMPTS, strict=True)
    ]
    for pause in (0.0, 0.003, 0.01):
        readers = []
        for n, prompt in zip((3, 20, 7, 12, 1, 30), PROMPTS, strict=True):
            readers.append(Reader(engine, prompt, max_new_tokens=n))
            time.sleep(pause)
        assert [reader.wait() for reader in readers] == expected
    assert engine.running == 0


def test_it_writes_what_the_local_generator_writes(engine, model, tokenizer):
    expected = LocalGenerator(model, tokenizer).generate(PROMPTS, max_new_tokens=16, temperature=0, stop=["e", "AB"])
    readers = [Reader(engine, prompt, max_new_tokens=16, stop=["e", "AB"]) for prompt in PROMPTS]
    assert [reader.wait() for reader in readers] == expected


def test_a_seed_gives_the_same_text_alone_and_among_others(llama, tokenizer):
    engine = BatchEngine(llama, tokenizer, max_batch=4)
    options = {"temperature": 1.0, "max_new_tokens": 16}
    alone = [Reader(engine, "Hello", seed=seed, **options).wait() for seed in range(3)]
    others = [Reader(engine, prompt, **options) for prompt in PROMPTS[:2]]
    among = [Reader(engine, "Hello", seed=seed, **options) for seed in range(3)]
    assert [one.wait() for one in among] == alone and len(set(alone)) == 3
    for one in others:
        one.wait()
    assert len({Reader(engine, "Hello", **options).wait() for _ in range(4)}) > 1, "without a seed they differ"
    engine.close()


def test_sampling_keeps_to_top_k_and_top_p(llama, tokenizer):
    engine = BatchEngine(llama, tokenizer, max_batch=16)
    with torch.no_grad():
        logits = llama(**tokenizer("Hello", return_tensors="pt")).logits[0, -1]
    best = [tokenizer.decode([token]) for token in logits.topk(3).indices]
    share = logits.softmax(-1).sort(descending=True).values
    drawn = [Reader(engine, "Hello", temperature=2.0, max_new_tokens=1, top_k=3, seed=n) for n in range(60)]
    assert {one.wait() for one in drawn} == set(best)
    just_two = float(share[0] + share[1] / 2)
    drawn = [Reader(engine, "Hello", temperature=1.0, max_new_tokens=1, top_p=just_two, seed=n) for n in range(60)]
    assert {one.wait() for one in drawn} <= set(best[:2])
    drawn = [Reader(engine, "Hello", temperature=1.0, max_new_tokens=1, seed=n) for n in range(400)]
    found = sum(one.wait() == best[0] for one in drawn) / 400
    assert found == pytest.approx(float(share[0]), abs=0.1), "temperature 1 is the model's own distribution"
    engine.close()


def test_who_leaves_frees_the_place(llama, tokenizer):
    engine = BatchEngine(llama, tokenizer, max_batch=2)
    first, second = (Reader(engine, prompt, max_new_tokens=80) for prompt in ("a", "b"))
    third = Reader(engine, "c", max_new_tokens=2)
    first.job.cancel()
    third.wait()
    second.wait()
    assert first.end.empty() and len(first.parts) < 80 and engine.running == 0
    engine.close()


def test_how_it_ends(engine, tokenizer):
    reader = Reader(engine, "Hello", max_new_tokens=4)
    reader.wait()
    assert (reader.last.finish_reason, reader.last.tokens) == ("length", 4)
    whole = Reader(engine, "Hello", max_new_tokens=12).wait()
    stopped = Reader(engine, "Hello", max_new_tokens=12, stop=[whole[3:6]])
    assert stopped.wait() == whole[: whole.index(whole[3:6])] and stopped.last.finish_reason == "stop"
    with pytest.raises(PromptTooLong):
        Reader(engine, "x" * 90, max_new_tokens=20)
    with pytest.raises(ValueError, match="temperature"):
        Reader(engine, "x", temperature=-1)


def test_adapters_share_a_batch(tokenizer):
    """Rows of two adapters and of the base, together, each as if alone."""
    texts = {}
    for name in ("one", "two", None):
        model = make_model("llama")
        if name is not None:
            model = _adapted(model, name)
            model.set_adapter(name)
        texts[name] = LocalGenerator(model, tokenizer).generate(PROMPTS, max_new_tokens=10, temperature=0)
    assert texts["one"] != texts["two"] != texts[None] != texts["one"]
    both = _adapted(make_model("llama"), "one", "two")
    engine = BatchEngine(both, tokenizer, max_batch=8)
    readers = [(name, Reader(engine, prompt, name, max_new_tokens=10)) for prompt in PROMPTS for name in texts]
    got = {name: [reader.wait() for found, reader in readers if found == name] for name in texts}
    assert got == texts
    short = Reader(engine, PROMPTS[0], "one", max_new_tokens=2)  # it leaves, and the others keep their adapters
    others = [Reader(engine, PROMPTS[0], name, max_new_tokens=10) for name in ("two", None, "one")]
    short.wait()
    assert [one.wait() for one in others] == [texts[name][0] for name in ("two", None, "one")]
    engine.close()


def _adapted(model, *names):
    for name in names:
        config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "o_proj"], init_lora_weights=False)
        torch.manual_seed(len(name) + ord(name[0]))
        if hasattr(model, "peft_config"):
            model.add_adapter(name, config)
        else:
            model = get_peft_model(model, config, adapter_name=name)
    return model.eval()


def test_an_engine_that_is_closed_tells_who_waits(llama, tokenizer):
    engine = BatchEngine(llama, tokenizer, max_batch=1)
    readers = [Reader(engine, "a", max_new_tokens=90) for _ in range(3)]
    engine.close()
    ends = [reader.end.get(timeout=5) for reader in readers]
    assert {end.finish_reason for end in ends} <= {"error", "length"} and ends[-1].error == "the engine was closed"
    assert "engine" not in {thread.name for thread in threading.enumerate()}


def test_a_failing_batch_fails_those_in_it_and_no_others(llama, tokenizer, monkeypatch):
    engine = BatchEngine(llama, tokenizer, max_batch=2)
    step = engine._batch.step

    def once(tokens):
        monkeypatch.setattr(engine._batch, "step", step)
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(engine._batch, "step", once)
    first = Reader(engine, "Hello", max_new_tokens=5)
    assert first.end.get(timeout=10).finish_reason == "error"
    assert Reader(engine, "Hello", max_new_tokens=5).wait() != ""
    engine.close()


@pytest.mark.parametrize("text", ["naïve 😀 characters — of several bytes 你好", "plain"])
def test_text_comes_in_whole_characters(tokenizer, text):
    writing = Writing(tokenizer, [])
    parts = [writing.push(token) for token in tokenizer(text)["input_ids"]]
    assert "".join(parts) + writing.finish() == text and all("\ufffd" not in part for part in parts)
    assert sum(bool(part) for part in parts) > 2


def test_what_may_be_a_stop_string_waits(tokenizer):
    writing = Writing(tokenizer, ["END", "xyz"])
    parts = [writing.push(token) for token in tokenizer("a EN b END c")["input_ids"]]
    assert "".join(parts) + writing.finish() == "a EN b " and writing.stopped
    assert held_back("xyxy", ["xyz"]) == 2 and held_back("abc", []) == 0
    half = Writing(tokenizer, ["END"])
    shown = [half.push(token) for token in tokenizer("It EN")["input_ids"]]
    assert "".join(shown) == "It " and half.finish() == "EN", "at the end it was none"
