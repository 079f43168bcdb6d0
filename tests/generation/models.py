"""Two tiny models with random weights and a tokenizer made here, and what they give when asked by hand."""

import math
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

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


def greedy_by_hand(model: Any, ids: list[int], steps: int) -> list[int]:
    """One forward pass a token over the whole text: no cache, no padding, no `generate`."""
    ids, start = list(ids), len(ids)
    for _ in range(steps):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == 259:
            break
    return ids[start:]


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
