"""Features of reward models, embeddings, log-probabilities: from real models, against plain forward passes."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from rlhf_ext import LocalGenerator, RewardModel
from rlhf_ext.active import LogProbs, RewardFeatures, TextEmbeddings

TEXTS = ["yes", "no, not at all, never", "maybe", "I would rather not say"]


def test_the_reward_is_a_linear_function_of_its_features(reward_folder):
    reward = RewardModel(reward_folder, batch_size=2)
    for prompts in (["Q: "] * 4, [[{"role": "user", "content": "Is it so?"}]] * 4):
        features = RewardFeatures(reward)(prompts, TEXTS)
        assert features.shape == (4, 64)
        head = reward.model.score.weight.detach().numpy()[0]
        np.testing.assert_allclose(features @ head, reward.score(prompts, TEXTS).numpy(), rtol=1e-4, atol=1e-5)
    assert not reward.model.score._forward_pre_hooks


def test_features_of_an_adapter(tiny, tmp_path):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1, dtype=torch.float32)
    adapted = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=2))
    from transformers import AutoTokenizer

    reward = RewardModel(adapted, AutoTokenizer.from_pretrained(tiny))
    features = RewardFeatures(reward)(["Q: "] * 4, TEXTS)
    head = adapted.base_model.model.score.modules_to_save["default"].weight.detach().numpy()[0]
    np.testing.assert_allclose(features @ head, reward.score(["Q: "] * 4, TEXTS).numpy(), rtol=1e-4, atol=1e-5)


def test_features_need_a_reward_model_with_a_head(reward_folder):
    with pytest.raises(TypeError, match="read from a `RewardModel`, got function"):
        RewardFeatures(lambda prompts, completions: [])
    reward = RewardModel(reward_folder)
    reward.model.head = reward.model.score
    del reward.model.score
    with pytest.raises(ValueError, match="no head named score or classifier"):
        RewardFeatures(reward)


def test_embeddings_are_of_length_one_and_of_the_response(tmp_path):
    from transformers import BertConfig, BertModel, BertTokenizer

    tokenizer = BertTokenizer(
        vocab={w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "yes", "no"])}
    )
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(vocab_size=7, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    )
    embed = TextEmbeddings(model, tokenizer)
    found = embed(["a", "b", "c"], ["yes no", "yes no", [{"role": "assistant", "content": "no"}]])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (found[0] == found[1]).all() and not np.allclose(found[0], found[2])


def test_log_probabilities_against_a_plain_forward_pass(policy, tokenizer):
    prompts, completions = ["The sun", "Tea"], [" is warm and bright today", " is hot"]
    found = LogProbs(policy, tokenizer, batch_size=2)(prompts=prompts, completions=completions)
    means = LogProbs(policy, tokenizer, mean=True)(prompts=prompts, completions=completions)
    for prompt, completion, total, mean in zip(prompts, completions, found, means, strict=True):
        given, ids = tokenizer(prompt)["input_ids"], tokenizer(prompt + completion)["input_ids"]
        assert ids[: len(given)] == given
        with torch.no_grad():
            logprobs = policy(torch.tensor([ids])).logits[0].log_softmax(-1)
        wanted = [float(logprobs[i - 1, ids[i]]) for i in range(len(given), len(ids))]
        assert total == pytest.approx(sum(wanted), rel=1e-4)
        assert mean == pytest.approx(sum(wanted) / len(wanted), rel=1e-4)


def test_log_probabilities_of_messages_leave_the_model_as_it_was(policy, tokenizer):
    policy.train()
    prompt = [{"role": "user", "content": "Tea?"}]
    texts = LocalGenerator(policy, tokenizer).generate([prompt] * 2, max_new_tokens=5, seed=0)
    found = LogProbs(policy, tokenizer)(
        prompts=[prompt] * 2, completions=[[{"role": "assistant", "content": t}] for t in texts]
    )
    assert policy.training and all(-200 < value < 0 for value in found)
    with pytest.raises(ValueError, match="Completion 1 has no tokens: ''"):
        LogProbs(policy, tokenizer)(prompts=["a", "b"], completions=["x", ""])
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        LogProbs(policy, tokenizer, batch_size=0)
