"""Text from a model in this process, against passes by hand."""

import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import processors
from transformers import T5Config, T5ForConditionalGeneration

from rlhf_ext.generation import LocalGenerator, PromptTooLong
from rlhf_ext.types import Generator

from .models import PROMPTS, TEMPLATE, choices_by_hand, greedy_by_hand, make_model, make_tokenizer


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
