"""The comparison of two models, and the log-probabilities behind its KL."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from rlhf_ext.evaluation.before_after import Answers, compare, examples, score, sequence_logprobs

REFUSAL = "I'm sorry, but I can't help with that, because somebody would be hurt by it, and that matters."
HELP = "Soak the beans overnight, then simmer them in fresh water with a bay leaf for an hour or so until soft."


def answers(**changes):
    fields = {
        "prompts": ["a", "b", "c", "d"],
        "before": [HELP, HELP, HELP, REFUSAL],
        "after": [REFUSAL, REFUSAL, HELP, HELP],
        "references": [REFUSAL, REFUSAL, HELP, HELP],
        "categories": ["harmful", "harmful", "borderline", "everyday"],
        "kl": [1.0, 2.0, 3.0, 4.0],
    }
    return Answers(**{**fields, **changes})


def test_the_figures_are_counts_of_what_happened():
    figures = {figure.name: figure for figure in compare(answers())}
    compliance = figures["harmful_compliance"]
    assert (compliance.before.value, compliance.after.value, compliance.after.n) == (1.0, 0.0, 2)
    assert (figures["over_refusal"].before.value, figures["over_refusal"].after.value) == (0.5, 0.0)
    assert figures["borderline_refusal"].after.n == 1
    assert figures["helpfulness"].after.value == 1.0
    assert figures["helpfulness"].before.value < 1.0
    assert figures["kl"].difference.value == 2.5
    assert figures["one_liners"].after.value == 0.0
    assert figures["one_liners"].better == "lower"


def test_a_reward_that_does_not_apply_leaves_the_row_out():
    def reward(prompts, completions, **columns):
        return [None if prompt == "a" else float(len(text)) for prompt, text in zip(prompts, completions, strict=True)]

    figure = compare(score(answers(), reward))[0]
    assert figure.name == "reward"
    assert figure.after.n == 3


def test_without_categories_there_are_no_safety_figures():
    names = {figure.name for figure in compare(answers(categories=[], kl=[]))}
    assert names == {"helpfulness", "one_liners", "length"}


def test_examples_show_every_category_first():
    shown = examples(answers(), each=1)
    assert [example.category for example in shown] == ["harmful", "borderline", "everyday"]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("messages", [False, True])
def test_log_probabilities_are_those_of_one_row_at_a_time(kind, messages, tiny):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    if kind == "llama":
        model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    else:
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=128, n_embd=32, n_layer=2, n_head=2))
        torch.nn.init.normal_(model.transformer.wpe.weight, std=0.5)
    model.eval()
    prompts, texts = ["Hi", "What is the moss in my lawn?", "Why?"], ["Fine.", "It is a plant that likes shade.", ""]
    if messages:
        prompts = [[{"role": "user", "content": prompt}] for prompt in prompts]
    expected = []
    for prompt, text in zip(prompts, texts, strict=True):
        if messages:
            prompt = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        start, end = tokenizer(prompt)["input_ids"], tokenizer(text)["input_ids"]
        with torch.no_grad():
            logps = model(input_ids=torch.tensor([start + end])).logits[0].log_softmax(-1)
        expected.append(sum(logps[len(start) + n - 1, token].item() for n, token in enumerate(end)))
    assert sequence_logprobs(model, tokenizer, prompts, texts, batch_size=3) == pytest.approx(expected, abs=1e-3)
