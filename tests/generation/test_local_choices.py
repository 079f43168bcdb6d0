"""Log-probabilities of choices by a model in this process, against passes by hand."""

import math

import pytest
import torch
from tokenizers import normalizers

from rlhf_ext.generation import LocalGenerator

from .models import PROMPTS, TEMPLATE, choices_by_hand, make_tokenizer


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
        choices_by_hand(llama, tokenizer, "<s>user:Which?\n<s>assistant:", ["x", "yz"]), abs=1e-4
    )


def test_choices_that_the_tokenizer_does_not_tell_apart(llama):
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(ValueError, match=r"After prompts\[0\].*as the same"):
        LocalGenerator(llama, tokenizer).choice_logprobs(["b"], ["x", "X"])
