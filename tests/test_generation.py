"""Tests of rlhf_ext.generation: two tiny models with random weights, a tokenizer made here, a server on loopback."""

import asyncio
import doctest
import json
import math
import pickle
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from rlhf_ext.generation import (
    EndpointGenerator,
    LocalGenerator,
    PromptTooLong,
    ScriptedGenerator,
    Unanswered,
    check_sampling,
)
from rlhf_ext.types import Generator

PROMPTS = ["Hello", "a much longer prompt, with more in it", "b", "middling one", "Hello there", "x y z"]
TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}:{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant:{% endif %}"
)


def make_tokenizer(**kwargs: Any) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer: every text survives it, and 'AB' is one token, so that prompt and choice can merge."""
    vocab = {token: n for n, token in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), "AB", "ĠA"])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[("A", "B"), ("Ġ", "A")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{"bos_token": "<s>", "eos_token": "</s>", **kwargs})


def make_model(kind: str) -> Any:
    torch.manual_seed(0)
    shared = {"vocab_size": 260, "initializer_range": 0.6, "bos_token_id": 258, "eos_token_id": 259}
    if kind == "gpt2":
        model: Any = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=96, **shared))
    else:
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        model = LlamaForCausalLM(LlamaConfig(**sizes, max_position_embeddings=96, **shared))
    with torch.no_grad():  # ids from 94 on are not printable: less likely, so that texts can be compared with stops
        model.get_output_embeddings().weight[94:] = 0
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> Any:
    return make_model(request.param)


@pytest.fixture
def llama() -> Any:
    return make_model("llama")


def greedy_by_hand(model: Any, ids: list[int], steps: int) -> list[int]:
    """One forward pass a token over the whole text: no cache, no padding, no `generate`."""
    ids, start = list(ids), len(ids)
    for _ in range(steps):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == 259:
            break
    return ids[start:]


# ---------------------------------------------------------------------------------------------- LocalGenerator


def test_batched_and_mixed_lengths_equal_one_by_one_by_hand(model, tokenizer):
    expected = [
        tokenizer.decode(greedy_by_hand(model, tokenizer(prompt)["input_ids"], 12), skip_special_tokens=True)
        for prompt in PROMPTS
    ]
    assert len(set(expected)) == len(PROMPTS)  # so that a mixed-up order shows
    for batch_size in (1, 4, 16):
        generator = LocalGenerator(model, tokenizer, batch_size=batch_size)
        assert generator.generate(PROMPTS, max_new_tokens=12, temperature=0) == expected


def test_is_a_generator_and_takes_no_prompts(llama, tokenizer):
    generator = LocalGenerator(llama, tokenizer)
    assert isinstance(generator, Generator)
    assert generator.generate([]) == []
    assert generator.choice_logprobs([], ["a", "b"]) == []


def test_seed_gives_the_same_texts_and_leaves_the_global_state(llama, tokenizer):
    generator = LocalGenerator(llama, tokenizer, batch_size=2)
    torch.manual_seed(1)
    first = generator.generate(PROMPTS, max_new_tokens=8, seed=5)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert generator.generate(PROMPTS, max_new_tokens=8, seed=5) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert generator.generate(PROMPTS, max_new_tokens=8, seed=6) != first


def test_repeated_prompts_give_different_samples(llama, tokenizer):
    texts = LocalGenerator(llama, tokenizer).generate(["Hello"] * 6, max_new_tokens=8, temperature=5.0, seed=0)
    assert len(set(texts)) > 1


def test_samples_the_models_own_distribution_whatever_its_generation_config(llama, tokenizer):
    generator = LocalGenerator(llama, tokenizer, batch_size=500)
    expected = llama(**tokenizer("Hello", return_tensors="pt")).logits[0, -1].softmax(-1).detach()
    own = llama.generation_config
    own.update(top_p=0.1, top_k=2, temperature=0.1, repetition_penalty=9.0, min_p=0.9, do_sample=True, max_length=7)
    before = own.to_dict()
    token = int(expected.topk(2).indices[1])
    texts = generator.generate(["Hello"] * 1000, max_new_tokens=1, seed=0)
    share = sum(text == tokenizer.decode([token]) for text in texts) / 1000
    p = expected[token].item()
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 1000)
    assert llama.generation_config is own and own.to_dict() == before


def test_top_k_one_and_tiny_top_p_are_greedy(llama, tokenizer):
    generator = LocalGenerator(llama, tokenizer)
    greedy = generator.generate(PROMPTS, max_new_tokens=6, temperature=0)
    assert generator.generate(PROMPTS, max_new_tokens=6, top_k=1) == greedy
    assert generator.generate(PROMPTS, max_new_tokens=6, top_p=1e-6) == greedy
    assert generator.generate(PROMPTS, max_new_tokens=6, temperature=3.0, seed=0) != greedy


def test_stop_cuts_the_text_and_ends_early(llama, tokenizer):
    generator = LocalGenerator(llama, tokenizer)
    whole = generator.generate(PROMPTS, max_new_tokens=40, temperature=0)
    stops = [whole[0][6], whole[1][3]]
    cut = generator.generate(PROMPTS, max_new_tokens=40, temperature=0, stop=stops)
    assert cut == [min((text.split(stop)[0] for stop in stops), key=len) for text in whole]
    assert len(cut[0]) <= 6 and len(cut[1]) <= 3
    passes: list[int] = []
    llama.register_forward_hook(lambda *_: passes.append(1))
    generator.generate(PROMPTS[:2], max_new_tokens=40, temperature=0, stop=stops)
    assert len(passes) < 20


def test_stop_is_not_completed_from_the_prompt(llama, tokenizer):
    generator = LocalGenerator(llama, tokenizer)
    texts = dict(zip(PROMPTS, generator.generate(PROMPTS, max_new_tokens=10, temperature=0), strict=True))
    prompt, text = next(iter(texts.items()))
    stop = prompt[-1] + text[0]
    assert len(text) > 1 and stop not in text
    assert generator.generate([prompt], max_new_tokens=10, temperature=0, stop=[stop]) == [text]


def test_stop_of_several_tokens(llama, tokenizer):
    generator = LocalGenerator(llama, tokenizer)
    whole = generator.generate(["b"], max_new_tokens=30, temperature=0)[0]
    stop = whole[4:9]
    assert generator.generate(["b"], max_new_tokens=30, temperature=0, stop=[stop]) == [whole[: whole.index(stop)]]


def test_stop_that_is_a_special_token(llama):
    tokenizer = make_tokenizer(additional_special_tokens=["<|end|>"])
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    llama.resize_token_embeddings(len(tokenizer))
    generator = LocalGenerator(llama, tokenizer)
    ids = greedy_by_hand(llama, tokenizer("Hello")["input_ids"], 10)
    assert end not in ids
    with torch.no_grad():  # now it beats the fourth of them wherever that would be written
        llama.lm_head.weight[end] = llama.lm_head.weight[ids[3]] * 1.5
    expected = tokenizer.decode(ids[: ids.index(ids[3])])
    assert generator.generate(["Hello"], max_new_tokens=10, temperature=0) != [expected]
    assert generator.generate(["Hello"], max_new_tokens=10, temperature=0, stop=["<|end|>"]) == [expected]


def test_ends_at_every_eos_of_model_and_tokenizer(model, tokenizer):
    generator = LocalGenerator(model, tokenizer)
    ids = greedy_by_hand(model, tokenizer("Hello")["input_ids"], 10)
    model.generation_config.eos_token_id = [259, ids[4]]
    assert generator.generate(["Hello"], max_new_tokens=10, temperature=0) == [
        tokenizer.decode(ids[: ids.index(ids[4])])
    ]
    model.generation_config.eos_token_id = None
    other = make_tokenizer(eos_token=tokenizer.convert_ids_to_tokens(ids[2]))
    text = LocalGenerator(model, other).generate(["Hello", "b"], max_new_tokens=10, temperature=0)[0]
    assert text == tokenizer.decode(ids[: ids.index(ids[2])])


def test_padding_after_the_end_is_not_text(llama):
    # No pad token: rows that end early are filled up with something, which must not show.
    tokenizer = make_tokenizer(eos_token=None, bos_token=None)
    generator = LocalGenerator(llama, tokenizer)
    whole = generator.generate(PROMPTS, max_new_tokens=10, temperature=0)
    llama.generation_config.eos_token_id = greedy_by_hand(llama, tokenizer("Hello")["input_ids"], 4)[3]
    ended = generator.generate(PROMPTS, max_new_tokens=10, temperature=0)
    assert all(long.startswith(short) for long, short in zip(whole, ended, strict=True)) and ended[0] != whole[0]


def test_messages_go_through_the_chat_template(model, tokenizer):
    chats = [[{"role": "user", "content": text}] for text in PROMPTS]
    with pytest.raises(ValueError, match=r"set `tokenizer.chat_template`"):
        LocalGenerator(model, tokenizer).generate(chats, max_new_tokens=2)
    chatty = make_tokenizer(chat_template=TEMPLATE)
    # A template writes the special tokens itself; this tokenizer would add a second BOS to them.
    chatty.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 256)]
    )
    ids = [chatty.encode(f"<s>user:{text}\n<s>assistant:", add_special_tokens=False) for text in PROMPTS]
    expected = [chatty.decode(greedy_by_hand(model, row, 8), skip_special_tokens=True) for row in ids]
    assert LocalGenerator(model, chatty).generate(chats, max_new_tokens=8, temperature=0) == expected


def test_eos_that_the_tokenizer_adds_is_not_part_of_the_prompt(llama, tokenizer):
    closing = make_tokenizer()
    end = closing.eos_token_id
    closing.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", end)]
    )
    assert closing("b")["input_ids"][-1] == end
    expected = LocalGenerator(llama, tokenizer)
    generator = LocalGenerator(llama, closing)
    assert generator.generate(PROMPTS, max_new_tokens=5, temperature=0) == expected.generate(
        PROMPTS, max_new_tokens=5, temperature=0
    )
    assert generator.choice_logprobs(["b"], ["x", "yz"]) == expected.choice_logprobs(["b"], ["x", "yz"])


def test_leaves_model_and_tokenizer_as_they_were(model, tokenizer):
    model.train()
    model.get_submodule("transformer" if hasattr(model, "transformer") else "model").eval()
    model.gradient_checkpointing_enable()
    modes = [module.training for module in model.modules()]
    config, sides = model.generation_config.to_dict(), (tokenizer.padding_side, tokenizer.pad_token)
    assert len(set(modes)) == 2 and sides == ("right", None)
    generator = LocalGenerator(model, tokenizer)
    generator.generate(PROMPTS, max_new_tokens=2)
    generator.choice_logprobs(PROMPTS, ["a", "b"])
    with pytest.raises(RuntimeError, match="out of memory"), generator._evaluating(seed=1):
        assert not any(module.training for module in model.modules())
        raise RuntimeError("out of memory")
    assert [module.training for module in model.modules()] == modes and model.is_gradient_checkpointing
    assert model.generation_config.to_dict() == config
    assert (tokenizer.padding_side, tokenizer.pad_token) == sides


def test_training_mode_does_not_change_the_texts(model, tokenizer):
    expected = LocalGenerator(model, tokenizer).generate(PROMPTS, max_new_tokens=6, temperature=0)
    model.train()
    with torch.inference_mode():
        assert LocalGenerator(model, tokenizer).generate(PROMPTS, max_new_tokens=6, temperature=0) == expected
        LocalGenerator(model, tokenizer).choice_logprobs(PROMPTS, ["a", "b"])


def test_peft_model(llama, tokenizer):
    plain = LocalGenerator(llama, tokenizer).generate(PROMPTS, max_new_tokens=6, temperature=0)
    peft = get_peft_model(
        llama, LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    )
    generator, own = LocalGenerator(peft.train(), tokenizer), llama.generation_config
    ids = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    expected = [tokenizer.decode(greedy_by_hand(peft.eval(), row, 6), skip_special_tokens=True) for row in ids]
    peft.train()
    assert generator.generate(PROMPTS, max_new_tokens=6, temperature=0) == expected != plain
    assert peft.training and llama.generation_config is own
    row = generator.choice_logprobs(["b"], ["x", "yz"])[0]
    assert row == pytest.approx(choices_by_hand(peft.eval(), tokenizer, "b", ["x", "yz"]), abs=1e-5)


def test_empty_prompt_starts_from_bos_or_eos(llama):
    for special in ({}, {"bos_token": None}):
        tokenizer = make_tokenizer(**special)
        llama.generation_config.bos_token_id = None
        start = tokenizer.bos_token_id if special == {} else tokenizer.eos_token_id
        expected = tokenizer.decode(greedy_by_hand(llama, [start], 6), skip_special_tokens=True)
        generator = LocalGenerator(llama, tokenizer)
        assert generator.generate(["Hello", ""], max_new_tokens=6, temperature=0)[1] == expected
    with pytest.raises(ValueError, match=r"prompts\[1\] has no tokens"):
        LocalGenerator(llama, make_tokenizer(bos_token=None, eos_token=None)).generate(["Hello", ""])


def test_refuses_what_gpt2_has_no_positions_for(tokenizer):
    gpt2, llama = (LocalGenerator(make_model(kind), tokenizer) for kind in ("gpt2", "llama"))
    assert len(gpt2.generate(["a" * 90], max_new_tokens=7, temperature=0)) == 1  # the 97th token is not fed back
    with pytest.raises(ValueError, match=r"prompts\[1\].*97 positions.*the model has 96"):
        gpt2.generate(["b", "a" * 90], max_new_tokens=8)
    with pytest.raises(ValueError, match=r"prompts\[0\].*97 positions"):
        gpt2.choice_logprobs(["a" * 97], ["a", "b"])
    llama.generate(["a" * 90], max_new_tokens=20)  # rotary positions have no end


def test_one_by_one_what_is_longer_than_the_window_comes_back_as_an_error(llama, tokenizer):
    window = llama.config.max_position_embeddings
    long = "a " * (window + 5)
    assert len(tokenizer(long)["input_ids"]) > window
    generator = LocalGenerator(llama, tokenizer)
    for options in ({"max_new_tokens": 2}, {"choices": ["a", "b"]}):
        answers = dict(generator.each(["short", long], **options))
        assert isinstance(answers[1], PromptTooLong) and not isinstance(answers[0], Exception)


def test_progress_bar(llama, tokenizer, capsys):
    LocalGenerator(llama, tokenizer, progress=True).generate(["a", "b"], max_new_tokens=1)
    assert "generating: 100%" in (shown := capsys.readouterr().err) and "2/2" in shown
    LocalGenerator(llama, tokenizer).generate(["a", "b"], max_new_tokens=1)
    assert capsys.readouterr().err == ""


def test_refuses_wrong_models_and_sizes(llama, tokenizer):
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=8, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    with pytest.raises(ValueError, match="T5ForConditionalGeneration is an encoder-decoder"):
        LocalGenerator(t5, tokenizer)
    with pytest.raises(ValueError, match="batch_size should be at least 1, got 0"):
        LocalGenerator(llama, tokenizer, batch_size=0)


def choices_by_hand(model: Any, tokenizer: Any, prompt: str, choices: list[str]) -> list[float]:
    """For texts that tokenize as prompt, then choice: a pass a choice, a sum over its tokens."""
    start, sums = len(tokenizer(prompt)["input_ids"]), []
    for choice in choices:
        ids = tokenizer(prompt)["input_ids"] + tokenizer(choice)["input_ids"]
        with torch.no_grad():
            logprobs = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        sums.append(sum(float(logprobs[n - 1, ids[n]]) for n in range(start, len(ids))))
    total = math.log(sum(map(math.exp, sums)))
    return [value - total for value in sums]


def test_choice_logprobs_equal_a_slow_calculation(model, tokenizer):
    for choices in (["A", "B"], ["yes", "n", " maybe so"], ["only"]):
        rows = LocalGenerator(model, tokenizer, batch_size=4).choice_logprobs(PROMPTS, choices)
        for prompt, row in zip(PROMPTS, rows, strict=True):
            assert row == pytest.approx(choices_by_hand(model, tokenizer, prompt, choices), abs=1e-4)
            assert sum(map(math.exp, row)) == pytest.approx(1)


def test_choices_of_one_token_share_a_pass(llama, tokenizer):
    shapes: list[torch.Size] = []
    llama.register_forward_hook(
        lambda module, args, kwargs, output: shapes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    LocalGenerator(llama, tokenizer).choice_logprobs(["abc", "de"], ["1", "2", "3", "4"])
    assert shapes == [(2, 3)]


def test_choice_whose_first_token_spans_the_end_of_the_prompt(llama, tokenizer):
    # "xA" + "B" is the tokens x, AB: compared with x, A, C from x on.
    ids = {text: tokenizer(text)["input_ids"] for text in ("xA", "xAB", "xAC")}
    assert [len(row) for row in ids.values()] == [2, 2, 3]
    logprobs = {text: llama(input_ids=torch.tensor([row])).logits[0].log_softmax(-1) for text, row in ids.items()}
    b = logprobs["xAB"][0, ids["xAB"][1]]
    c = logprobs["xAC"][0, ids["xAC"][1]] + logprobs["xAC"][1, ids["xAC"][2]]
    expected = torch.stack([b, c]).log_softmax(-1).tolist()
    assert LocalGenerator(llama, tokenizer).choice_logprobs(["xA"], ["B", "C"])[0] == pytest.approx(expected, abs=1e-5)


def test_choices_after_an_empty_prompt_and_a_chat(llama):
    tokenizer = make_tokenizer(chat_template=TEMPLATE)
    generator = LocalGenerator(llama, tokenizer)
    assert generator.choice_logprobs([""], ["x", "yz"])[0] == pytest.approx(
        choices_by_hand(llama, tokenizer, "<s>", ["x", "yz"]), abs=1e-5
    )
    chat = [{"role": "user", "content": "Which?"}]
    assert generator.choice_logprobs([chat], ["x", "yz"])[0] == pytest.approx(
        choices_by_hand(llama, tokenizer, "<s>user:Which?\n<s>assistant:", ["x", "yz"]), abs=1e-5
    )


def test_choices_that_the_tokenizer_does_not_tell_apart(llama):
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(ValueError, match=r"After prompts\[0\].*as the same"):
        LocalGenerator(llama, tokenizer).choice_logprobs(["b"], ["x", "X"])


@pytest.mark.parametrize("choices", [[], ["a", "a"], ["a", ""], "ab", [1, 2]])
def test_refuses_choices(choices):
    with pytest.raises(ValueError, match="choices should be a list of non-empty strings"):
        ScriptedGenerator([], choice_probs=lambda prompt, choices: [1.0] * len(choices)).choice_logprobs(
            ["p"], choices
        )


# ---------------------------------------------------------------------------------------------- sampling arguments


def test_sampling_defaults():
    defaults = {"max_new_tokens": 256, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "stop": [], "seed": None}
    assert check_sampling({}) == check_sampling(dict.fromkeys(defaults)) == defaults
    assert check_sampling({"temperature": 0, "top_p": 1}) == {**defaults, "temperature": 0.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 0), ("max_new_tokens", 2.5), ("temperature", -0.1), ("temperature", math.nan),
        ("temperature", math.inf), ("top_p", 0), ("top_p", 1.1), ("top_k", -1), ("top_k", "5"), ("stop", "END"),
        ("stop", [""]), ("stop", [1]), ("seed", -1), ("seed", 0.5),
    ],
)  # fmt: skip
def test_refuses_sampling_values(name, value):
    with pytest.raises(ValueError, match=f"^{name} should be .*, got {re.escape(repr(value))}"):
        ScriptedGenerator(["a"]).generate(["p"], **{name: value})


def test_refuses_unknown_sampling_names(llama, tokenizer):
    for generator in (LocalGenerator(llama, tokenizer), EndpointGenerator("http://x", "m"), ScriptedGenerator(["a"])):
        with pytest.raises(TypeError, match="Unknown sampling argument 'max_tokens'.*max_new_tokens, temperature"):
            generator.generate(["p"], max_tokens=3)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [("one", "got one string"), ([{"role": "user", "content": "x"}], r"prompts\[0\]"), (["a", []], r"prompts\[1\]"),
     (["a", None], r"prompts\[1\]"), ([["a"]], r"prompts\[0\]")],
)  # fmt: skip
def test_refuses_prompts(prompts, message):
    with pytest.raises(TypeError, match=message):
        ScriptedGenerator(["a", "b"]).generate(prompts)


# ---------------------------------------------------------------------------------------------- EndpointGenerator


class Server:
    """Speaks /v1/chat/completions; `answer(body, n)` gives (status, JSON) for the n-th request, n from 0."""

    def __init__(self, answer: Callable[[dict[str, Any], int], tuple[int, Any]]):
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.open = self.most_open = 0
        server, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    n = len(server.bodies)
                    server.bodies.append({"path": self.path, **body})
                    server.keys.append(self.headers["Authorization"])
                    server.open += 1
                    server.most_open = max(server.most_open, server.open)
                status, content = answer(body, n)
                with lock:
                    server.open -= 1
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("retry-after-ms", "5")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    started: list[tuple[Server, threading.Thread]] = []

    def start(answer: Callable[[dict[str, Any], int], tuple[int, Any]]) -> Server:
        server = Server(answer)
        thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def reply(content: str | None, finish_reason: str = "stop", **choice: Any) -> tuple[int, dict[str, Any]]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content},
        "finish_reason": finish_reason,
        **choice,
    }
    return 200, {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


def echo(body: dict[str, Any], n: int) -> tuple[int, dict[str, Any]]:
    return reply("re: " + body["messages"][-1]["content"])


def test_endpoint_sends_messages_and_sampling(serve):
    server = serve(echo)
    generator = EndpointGenerator(server.url, "some-model")
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "two"}]
    assert generator.generate(["one"], max_new_tokens=5, temperature=0, top_p=0.5, stop=["e"], seed=3) == ["r"]
    assert generator.generate([chat]) == ["re: two"]
    assert generator.generate(["one two three"], stop=["three", "two"]) == ["re: one "]  # the server did not cut
    assert server.bodies[:2] == [
        {"path": "/v1/chat/completions", "model": "some-model", "messages": [{"role": "user", "content": "one"}],
         "max_tokens": 5, "temperature": 0.0, "top_p": 0.5, "stop": ["e"], "seed": 3},
        {"path": "/v1/chat/completions", "model": "some-model", "messages": chat, "max_tokens": 256,
         "temperature": 1.0, "top_p": 1.0},
    ]  # fmt: skip
    assert isinstance(generator, Generator) and generator.generate([]) == []


def test_endpoint_keeps_order_and_bounds_concurrency(serve):
    def slow_first(body: dict[str, Any], n: int) -> tuple[int, Any]:
        time.sleep(0.2 / (1 + int(body["messages"][0]["content"])))
        return echo(body, n)

    server = serve(slow_first)
    prompts = [str(n) for n in range(9)]
    assert EndpointGenerator(server.url, "m", max_concurrency=3).generate(prompts) == [f"re: {p}" for p in prompts]
    assert server.most_open == 3
    with pytest.raises(ValueError, match="max_concurrency should be at least 1, got 0"):
        EndpointGenerator(server.url, "m", max_concurrency=0)


def test_endpoint_gives_each_prompt_its_own_seed(serve):
    server = serve(echo)
    EndpointGenerator(server.url, "m").generate(["same"] * 3, seed=7)
    assert sorted(body["seed"] for body in server.bodies) == [7, 8, 9]


def test_endpoint_tries_again(serve):
    server = serve(lambda body, n: ((429, 500)[n], {"error": {"message": "busy"}}) if n < 2 else echo(body, n))
    assert EndpointGenerator(server.url, "m").generate(["a"]) == ["re: a"]
    assert len(server.bodies) == 3


def test_endpoint_gives_up(serve):
    server = serve(lambda body, n: (500, {"error": {"message": "broken"}}))
    with pytest.raises(Unanswered, match=r"prompts\[0\]: .*/v1 gave no answer in 2 attempts .*broken") as error:
        EndpointGenerator(server.url, "m", max_retries=1, max_concurrency=1).generate(["a", "b", "c", "d"])
    assert isinstance(error.value.__cause__, openai.InternalServerError)
    assert len(server.bodies) < 8  # the others are not asked after the first has failed


def test_endpoint_timeout(serve):
    server = serve(lambda body, n: time.sleep(0.3) or echo(body, n))  # type: ignore[func-returns-value]
    with pytest.raises(Unanswered, match="timed out"):
        EndpointGenerator(server.url, "m", timeout=0.05, max_retries=0).generate(["a"])


@pytest.mark.parametrize("message", [{"role": "assistant", "content": None}, {"role": "assistant"}, None])
def test_endpoint_answer_without_content(serve, message):
    server = serve(
        lambda b, n: reply(None, "content_filter", message=message) if "b" in str(b["messages"]) else echo(b, n)
    )
    with pytest.raises(RuntimeError, match=r"prompts\[1\]: .*has no content \(finish_reason: 'content_filter'\)"):
        EndpointGenerator(server.url, "m").generate(["a", "b", "c"])


def test_endpoint_answer_without_choices(serve):
    server = serve(lambda body, n: (200, {"id": "x", "object": "chat.completion", "choices": []}))
    with pytest.raises(RuntimeError, match=r"prompts\[0\]"):
        EndpointGenerator(server.url, "m").generate(["a"])


def test_endpoint_refuses_top_k():
    with pytest.raises(NotImplementedError, match="top_k"):
        EndpointGenerator("http://x", "m").generate(["a"], top_k=5)


def test_endpoint_in_a_running_event_loop(serve):
    server = serve(echo)

    async def notebook_cell() -> list[str]:
        return EndpointGenerator(server.url, "m").generate(["a", "b"])

    assert asyncio.run(notebook_cell()) == ["re: a", "re: b"]


def test_endpoint_key_comes_from_the_environment_and_shows_nowhere(serve, monkeypatch):
    server = serve(lambda body, n: (401, {"error": {"message": "no secret-123"}}) if n == 2 else echo(body, n))
    generator = EndpointGenerator(server.url, "m", api_key_env="MY_KEY")
    generator.generate(["a"])
    monkeypatch.setenv("MY_KEY", "secret-123\n")  # a newline from a file is no part of the key
    generator.generate(["a"])
    assert server.keys == ["Bearer not-needed", "Bearer secret-123"]
    generator = EndpointGenerator(server.url, "m", api_key_env="MY_KEY")
    with pytest.raises(PermissionError, match="refuses the key in MY_KEY") as error:
        generator.generate(["a"])
    assert "secret-123" not in repr(generator) + repr(vars(generator)) + repr(error.value) + str(error.value)


def test_endpoint_progress(serve, capsys):
    EndpointGenerator(serve(echo).url, "m", progress=True).generate(["a", "b"])
    assert "generating: 100%" in (shown := capsys.readouterr().err) and "2/2" in shown


def test_endpoint_without_openai(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r"pip install rlhf_ext\[label\]"):
        EndpointGenerator("http://x", "m")


def first_token(**shares: float) -> dict[str, Any]:
    tops = [
        {"token": token.replace("_", " "), "logprob": math.log(share), "bytes": None}
        for token, share in shares.items()
    ]
    return {"content": [{**tops[0], "top_logprobs": tops}], "refusal": None}


def test_endpoint_choice_logprobs(serve):
    answers = {"p": first_token(A=0.5, _A=0.1, B=0.2, x=0.1), "q": first_token(B=0.9, a=0.1)}
    server = serve(lambda body, n: reply("A", "length", logprobs=answers[body["messages"][0]["content"]]))
    rows = EndpointGenerator(server.url, "m").choice_logprobs(["p", "q"], [" A", "B"])
    assert rows[0] == pytest.approx([math.log(0.75), math.log(0.25)])
    assert rows[1] == [-math.inf, 0.0]
    options = {name: value for name, value in server.bodies[0].items() if name not in ("path", "model", "messages")}
    assert options == {"max_tokens": 1, "temperature": 1.0, "logprobs": True, "top_logprobs": 20}


def test_endpoint_choice_logprobs_that_cannot_be_had(serve):
    none = serve(lambda body, n: reply("A"))
    with pytest.raises(NotImplementedError, match="returned no logprobs for 'm'"):
        EndpointGenerator(none.url, "m").choice_logprobs(["p"], ["A", "B"])
    server = serve(lambda body, n: reply("A", logprobs=first_token(Yes=0.6, No=0.3)))
    with pytest.raises(NotImplementedError, match="'No way' should be one token.*'No'"):
        EndpointGenerator(server.url, "m").choice_logprobs(["p"], ["Yes", "No way"])
    with pytest.raises(RuntimeError, match=r"prompts\[0\]: none of \['A', 'B'\]"):
        EndpointGenerator(server.url, "m").choice_logprobs(["p"], ["A", "B"])


# ---------------------------------------------------------------------------------------------- ScriptedGenerator


def test_scripted_list_is_given_out_in_turn_and_used_up():
    generator = ScriptedGenerator(["a", "b", "c"])
    assert generator.generate(["p", "q"], temperature=0) + generator.generate(["p"]) == ["a", "b", "c"]
    assert generator.calls == [("p", {"temperature": 0}), ("q", {"temperature": 0}), ("p", {})]
    with pytest.raises(LookupError, match="All 3 scripted responses are used up"):
        generator.generate(["last"])
    assert isinstance(generator, Generator)


def test_scripted_dict():
    generator = ScriptedGenerator({"p": "always", "q": ["first", "second"]})
    chat = [{"role": "user", "content": "q"}]
    assert generator.generate(["p", "q", "p", chat]) == ["always", "first", "always", "second"]
    with pytest.raises(LookupError, match="All 2 .*'q'"):
        generator.generate(["q"])
    with pytest.raises(LookupError, match="No response is scripted for the prompt 'r'"):
        generator.generate(["r"])


def test_scripted_function():
    generator = ScriptedGenerator(lambda prompt, sampling: f"{prompt}{sampling['seed']}")
    assert generator.generate(["p"], seed=4) == ["p4"]
    with pytest.raises(TypeError, match="should be a string, got None to the prompt 'p'"):
        ScriptedGenerator(lambda prompt, sampling: None).generate(["p"])  # type: ignore[arg-type, return-value]
    for wrong in ("text", None, 3):
        with pytest.raises(TypeError, match="a list, a dict or a function"):
            ScriptedGenerator(wrong)  # type: ignore[arg-type]


def test_scripted_choice_logprobs():
    generator = ScriptedGenerator([], choice_probs=lambda prompt, choices: [3, 1] if prompt == "p" else [0, 1])
    rows = generator.choice_logprobs(["p", "q"], ["A", "B"])
    assert rows[0] == pytest.approx([math.log(0.75), math.log(0.25)]) and rows[1] == [-math.inf, 0.0]
    assert generator.calls == [("p", {"choices": ["A", "B"]}), ("q", {"choices": ["A", "B"]})]
    with pytest.raises(NotImplementedError, match="choice_probs"):
        ScriptedGenerator([]).choice_logprobs(["p"], ["A", "B"])
    for wrong in ([1.0], [0, 0], [-1, 2], [math.nan, 1]):
        with pytest.raises(ValueError, match="2 weights >= 0"):
            ScriptedGenerator([], choice_probs=lambda prompt, choices, wrong=wrong: wrong).choice_logprobs(
                ["p"], ["A", "B"]
            )


def test_scripted_pickles():
    generator = ScriptedGenerator(["a", "b"])
    generator.generate(["p"])
    assert pickle.loads(pickle.dumps(generator)).generate(["p"]) == ["b"]


@pytest.mark.parametrize("thing", [check_sampling, ScriptedGenerator])
def test_examples_in_the_docstrings(thing):
    text = thing.__doc__.replace("```", "")
    example = doctest.DocTestParser().get_doctest(text, {}, thing.__name__, None, 0)
    assert example.examples and doctest.DocTestRunner().run(example).failed == 0
