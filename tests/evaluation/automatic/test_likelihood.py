"""Perplexity and KL against a plain forward pass of one text at a time."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlhf_ext.evaluation.automatic import Perplexity, ReferenceKL
from rlhf_ext.evaluation.automatic.metrics import Answers
from rlhf_ext.evaluation.suite import Case
from rlhf_ext.generation import LocalGenerator, ScriptedGenerator

PROMPTS = ["How do I boil an egg?", [{"role": "user", "content": "Tell me about owls, please."}], "Why?", "When?"]
ANSWERS = ["Put it into boiling water for eight minutes.", "Owls hunt at night.", "", "Now"]


@pytest.fixture
def other(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return model


def ids_of(tokenizer, prompt, answer):
    if isinstance(prompt, list):
        text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        given = tokenizer(text, add_special_tokens=False)["input_ids"]
    else:
        given = tokenizer(prompt)["input_ids"] if prompt else [tokenizer.bos_token_id or tokenizer.eos_token_id]
    return given, tokenizer(answer, add_special_tokens=False)["input_ids"]


def logprobs(model, given, said):
    with torch.no_grad():
        logits = model(torch.tensor([given + said])).logits[0]
    return logits[len(given) - 1 : -1].log_softmax(-1)


def test_perplexity_is_that_of_one_text_at_a_time(tiny, policy, tokenizer):
    for conditional in (True, False):
        found = Perplexity(tiny, batch_size=3, conditional=conditional)(prompts=PROMPTS, completions=ANSWERS)
        assert found[2] is None
        for prompt, answer, value in zip(PROMPTS, ANSWERS, found, strict=True):
            if answer:
                given, said = ids_of(tokenizer, prompt if conditional else None, answer)
                chosen = logprobs(policy, given, said)[range(len(said)), said]
                assert value == pytest.approx(math.exp(-chosen.mean().item()), rel=1e-4)


def test_the_corpus_counts_tokens(tiny):
    metric = Perplexity(tiny)
    cases = [Case(str(n), prompt) for n, prompt in enumerate(PROMPTS)]
    whole, each = metric.measure(Answers(cases, ANSWERS))
    rows = [row for row in metric.nats(PROMPTS, ANSWERS) if row is not None]
    known = [value for value in whole.values if value is not None]
    assert len(known) == 3 and whole.values[2] is None and whole.corpus
    assert sum(known) / 3 == pytest.approx(math.exp(sum(n for n, _ in rows) / sum(t for _, t in rows)))
    assert each.values[0] == pytest.approx(rows[0][0] / rows[0][1]) and each.values[2] is None


def test_texts_that_are_too_long_lose_the_beginning_of_the_prompt_first(tiny, policy, tokenizer):
    given, said = ids_of(tokenizer, PROMPTS[0], ANSWERS[0])
    limit = len(said) + 3
    (value,) = Perplexity(tiny, max_length=limit)(prompts=PROMPTS[:1], completions=ANSWERS[:1])
    chosen = logprobs(policy, given[-3:], said)[range(len(said)), said]
    assert value == pytest.approx(math.exp(-chosen.mean().item()), rel=1e-4)
    (cut,) = Perplexity(tiny, max_length=5)(prompts=PROMPTS[:1], completions=ANSWERS[:1])
    chosen = logprobs(policy, given[-1:], said[:4])[range(4), said[:4]]
    assert cut == pytest.approx(math.exp(-chosen.mean().item()), rel=1e-4)


def test_kl_is_exact_over_the_vocabulary_and_0_from_itself(tiny, policy, other, tokenizer):
    found = ReferenceKL(tiny, other, batch_size=2)(prompts=PROMPTS, completions=ANSWERS)
    assert found[2] is None
    for prompt, answer, value in zip(PROMPTS, ANSWERS, found, strict=True):
        if answer:
            given, said = ids_of(tokenizer, prompt, answer)
            mine, reference = logprobs(other, given, said), logprobs(policy, given, said)
            expected = (mine.exp() * (mine - reference)).sum(-1).mean().item()
            assert value == pytest.approx(expected, rel=1e-3) and value > 1e-3
    same = ReferenceKL(tiny, policy)(prompts=PROMPTS[:2], completions=ANSWERS[:2])
    assert same == pytest.approx([0, 0], abs=1e-5)


def test_the_direction_is_that_of_the_policy(tiny, policy, other):
    one = ReferenceKL(tiny, other)(prompts=PROMPTS[:1], completions=ANSWERS[:1])
    back = ReferenceKL(other, policy)(prompts=PROMPTS[:1], completions=ANSWERS[:1])
    assert one != pytest.approx(back, rel=1e-3)


def test_modes_stay_as_they_were(tiny, other):
    other.train()
    ReferenceKL(tiny, other)(prompts=PROMPTS[:1], completions=ANSWERS[:1])
    assert other.training


def test_the_policy_is_the_generators(tiny, other, tokenizer):
    metric = ReferenceKL(tiny)
    with pytest.raises(ValueError, match="has no policy"):
        metric(prompts=["a"], completions=["b"])
    bound = metric.of(LocalGenerator(other, tokenizer))
    (column,) = bound.measure(Answers([Case("a", PROMPTS[0])], ANSWERS[:1]))
    assert column.values == ReferenceKL(tiny, other)(prompts=PROMPTS[:1], completions=ANSWERS[:1])
    assert bound.settings == metric.settings and metric.policy is None
    with pytest.raises(ValueError, match="not an endpoint"):
        metric.of(ScriptedGenerator(["a"]))


def test_other_vocabularies_are_refused(tiny, other, tokenizer):
    tokenizer.add_tokens(["<new>"])
    with pytest.raises(ValueError, match="different vocabularies"):
        ReferenceKL(tiny).of(LocalGenerator(other, tokenizer))
    other.resize_token_embeddings(other.config.vocab_size + 5)
    with pytest.raises(ValueError, match="The policy predicts"):
        ReferenceKL(tiny, other)


def test_messages_need_a_chat_template(tiny, policy, tokenizer):
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="conditional=False"):
        Perplexity(policy, tokenizer)(prompts=PROMPTS[1:2], completions=["a"])
    assert Perplexity(policy, tokenizer, conditional=False)(prompts=PROMPTS[1:2], completions=["a"])[0] > 1
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        Perplexity(policy, tokenizer, batch_size=0)
