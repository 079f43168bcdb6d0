"""Ensembles: equal to their members run alone, on one trunk or not, and clear about what they cannot do."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from rlhf_ext import RewardModel
from rlhf_ext.embedded import tiny_model
from rlhf_ext.rewards.combining import UncertaintyWeighted
from rlhf_ext.rewards.ensemble import RewardEnsemble
from rlhf_ext.rewards.ensemble_scores import EnsembleScores
from rlhf_ext.rewards.mixing import RewardMixer
from rlhf_ext.rewards.shared_trunk import AdaptersOnOneBase, HeadsOnOneBase, run_once
from rlhf_ext.types import RewardFunction

from ..conftest import THINKING

TEXTS = ["a", "how are you?", "no", "tell me a long story about a bird that could not fly", "and again", "end"]
PROMPTS = ["Question: " + text for text in TEXTS]


def make_adapter(base, folder, seed, layers):
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    modules = ["q_proj", "v_proj", "down_proj"]
    config = LoraConfig(task_type="SEQ_CLS", r=4, target_modules=modules, layers_to_transform=layers)
    model = get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("base") / "tiny4", pretrain_steps=0, num_hidden_layers=4)


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    """Three members that adapt the last two of four layers."""
    root = tmp_path_factory.mktemp("adapters")
    return [make_adapter(base, root / f"member_{seed}", seed, [2, 3]) for seed in range(3)]


@pytest.fixture
def models(reward_folder, tmp_path):
    """Two whole models in folders of their own."""
    other = tmp_path / "other"
    shutil.copytree(reward_folder, other)
    model = AutoModelForSequenceClassification.from_pretrained(reward_folder, dtype=torch.float32)
    torch.manual_seed(5)
    torch.nn.init.normal_(model.score.weight, std=0.5)
    model.save_pretrained(other)
    return [reward_folder, str(other)]


def alone(folders, **options):
    return torch.stack([RewardModel(folder, **options).score(PROMPTS, TEXTS) for folder in folders])


def layer_calls(reader, layers):
    """How often each layer computes; the module's own `forward` is what is counted."""
    calls = [0] * len(layers)

    def counted(number, forward):
        def run(*args, **kwargs):
            calls[number] += 1
            return forward(*args, **kwargs)

        return run

    for number, layer in enumerate(layers):
        layer.forward = counted(number, layer.forward)
    return calls


# --- members ---------------------------------------------------------------------------------------------------------


def test_whole_models_score_as_alone(models):
    assert torch.equal(RewardEnsemble(models).score_members(PROMPTS, TEXTS), alone(models))


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_adapters_on_one_trunk_score_as_alone(adapters, batch_size):
    ensemble = RewardEnsemble(adapters, batch_size=batch_size)
    expected = alone(adapters, batch_size=batch_size)
    for _ in range(2):  # the first batch is checked, later ones are not
        assert torch.allclose(ensemble.score_members(PROMPTS, TEXTS), expected, atol=1e-5)
    assert len(ensemble._parts[0][0].trunk) == 2


def test_the_trunk_runs_once_a_batch(adapters):
    ensemble = RewardEnsemble(adapters, batch_size=3)
    ensemble.score_members(PROMPTS, TEXTS)
    shared = ensemble._parts[0][0]
    layers = shared.reader.model.base_model.model.model.layers
    calls = layer_calls(shared.reader, layers)
    ensemble.score_members(PROMPTS, TEXTS)
    assert calls == [2, 2, 6, 6]  # two batches; three members from the third layer on


def test_adapters_of_different_depth_share_what_none_of_them_adapts(base, adapters, tmp_path):
    folders = [adapters[0], make_adapter(base, tmp_path / "deep", 9, [1, 2, 3])]
    ensemble = RewardEnsemble(folders)
    assert torch.allclose(ensemble.score_members(PROMPTS, TEXTS), alone(folders), atol=1e-5)
    assert len(ensemble._parts[0][0].trunk) == 1


def test_adapters_down_to_the_first_layer_still_work_and_say_what_it_costs(base, tmp_path, caplog):
    folders = [make_adapter(base, tmp_path / f"m{seed}", seed, None) for seed in range(2)]
    ensemble = RewardEnsemble(folders)
    assert "no layer in common, so that scoring takes 2 forward passes" in caplog.text
    assert torch.allclose(ensemble.score_members(PROMPTS, TEXTS), alone(folders), atol=1e-5)


def test_kinds_may_be_mixed_and_keep_their_order(models, adapters):
    folders = [adapters[0], models[0], adapters[1], models[1], adapters[2]]
    ensemble = RewardEnsemble(folders)
    assert ensemble.names == ["member_0", "reward", "member_1", "other", "member_2"]
    assert torch.allclose(ensemble.score_members(PROMPTS, TEXTS), alone(folders), atol=1e-5)


def test_models_in_memory_are_members(models):
    members = [RewardModel(models[0]), AutoModelForSequenceClassification.from_pretrained(models[1])]
    ensemble = RewardEnsemble(members, tokenizer=AutoTokenizer.from_pretrained(models[0]))
    assert torch.equal(ensemble.score_members(PROMPTS, TEXTS), alone(models))


def test_the_adapters_of_a_model_in_memory_are_members(adapters):
    model = RewardModel(adapters[0]).model
    model.load_adapter(adapters[1], adapter_name="second")
    ensemble = RewardEnsemble.from_adapters(model, AutoTokenizer.from_pretrained(adapters[0]), combine="lower")
    assert ensemble.names == ["default", "second"]
    assert ensemble.combine == "lower"
    assert torch.allclose(ensemble.score_members(PROMPTS, TEXTS), alone(adapters[:2]), atol=1e-5)


def test_heads_on_one_backbone_score_as_that_label_alone(base, tmp_path):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3, dtype=torch.float32)
    model.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.save_pretrained(tmp_path)
    ensemble = RewardEnsemble.from_heads(tmp_path, batch_size=2, combine="worst_case")
    got = ensemble.score_members(PROMPTS, TEXTS)
    model.eval()
    for row, (prompt, text) in enumerate(zip(PROMPTS, TEXTS, strict=True)):
        ids = tokenizer(prompt + text + tokenizer.eos_token, return_tensors="pt")
        with torch.no_grad():
            assert torch.allclose(got[:, row], model(**ids).logits[0], atol=1e-5)
    calls = layer_calls(ensemble._parts[0][0].reader, ensemble._parts[0][0].trunk)
    ensemble.score_members(PROMPTS[:2], TEXTS[:2])
    assert calls == [1] * 4


def test_a_model_whose_labels_are_taken_for_heads_is_not_changed(base):
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    RewardEnsemble.from_heads(model, AutoTokenizer.from_pretrained(base))
    assert model.config.num_labels == 2
    assert isinstance(model.score, torch.nn.Linear)


SMALL = {"vocab_size": 400, "num_labels": 2}
ARCHITECTURES = {
    "gpt2": lambda: GPT2ForSequenceClassification(GPT2Config(n_embd=32, n_layer=3, n_head=2, **SMALL)),
    "bert": lambda: BertForSequenceClassification(
        BertConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, **SMALL)
    ),
    "llama_sliding": lambda: LlamaForSequenceClassification(
        LlamaConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, **SMALL)
    ),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_other_architectures_share_their_trunk_too(architecture, tokenizer):
    torch.manual_seed(0)
    model = ARCHITECTURES[architecture]().eval()
    shared = HeadsOnOneBase(model, tokenizer, batch_size=2)
    model.config.pad_token_id = tokenizer.pad_token_id
    got = shared.score(PROMPTS, TEXTS)
    assert len(shared.trunk) == 3  # it is on the first batch that sharing would be given up
    ids = [shared.reader._tokenize(prompt, text) for prompt, text in zip(PROMPTS, TEXTS, strict=True)]
    with torch.no_grad():
        for row, tokens in enumerate(ids):
            assert torch.allclose(got[:, row], model(input_ids=torch.tensor([tokens])).logits[0], atol=1e-5)


def test_an_architecture_that_cannot_share_is_found_out_on_the_first_batch(adapters, caplog):
    """Here the layers above the trunk change its output in place, so that later members would read something else."""
    ensemble = RewardEnsemble(adapters)
    shared = ensemble._parts[0][0]

    def in_place(module, args):
        args[0].mul_(1.5)

    shared.reader.model.base_model.model.model.layers[2].register_forward_pre_hook(in_place)
    expected = []
    for k in range(3):
        shared.select(k)
        expected.append(shared.reader.score(PROMPTS, TEXTS))
    assert torch.allclose(ensemble.score_members(PROMPTS, TEXTS), torch.stack(expected), atol=1e-5)
    assert "the members are run one by one" in caplog.text
    assert torch.allclose(ensemble.score_members(PROMPTS, TEXTS), torch.stack(expected), atol=1e-5)


def test_layers_that_run_once_are_left_as_they_were():
    layers = [torch.nn.Linear(2, 2) for _ in range(3)]
    layers[1].forward = own = lambda x: x
    with pytest.raises(RuntimeError), run_once(layers):
        assert layers[0].forward is not torch.nn.Linear.forward
        raise RuntimeError
    assert "forward" not in layers[0].__dict__
    assert layers[1].forward is own


# --- statistics ------------------------------------------------------------------------------------------------------


@pytest.fixture
def known(models, monkeypatch):
    """An ensemble of four members with given scores (4, 2)."""
    scores = torch.tensor([[1.0, 4.0], [2.0, 4.0], [3.0, 4.0], [6.0, 4.0]])
    ensemble = RewardEnsemble(models * 2)
    monkeypatch.setattr(ensemble, "score_members", lambda prompts, responses: scores[:, : len(responses)])
    return ensemble


def test_mean_bounds_and_disagreement_are_those_of_the_definitions(known):
    known.bounds = 2.0
    scores = known.predict(["a", "b"], ["c", "d"])
    spread = (14 / 3) ** 0.5  # sample standard deviation of 1, 2, 3, 6
    assert isinstance(scores, EnsembleScores)
    assert scores.mean.tolist() == pytest.approx([3.0, 4.0])
    assert scores.disagreement.tolist() == pytest.approx([spread, 0.0])
    assert scores.lower.tolist() == pytest.approx([3 - 2 * spread, 4.0])
    assert scores.upper.tolist() == pytest.approx([3 + 2 * spread, 4.0])
    known.bounds = "min_max"
    scores = known.predict(["a", "b"], ["c", "d"])
    assert scores.lower.tolist() == [1.0, 4.0]
    assert scores.upper.tolist() == [6.0, 4.0]


@pytest.mark.parametrize(
    ("combine", "expected"),
    [
        ("mean", 3.0),
        ("worst_case", 1.0),
        ("lower", 3 - (14 / 3) ** 0.5),
        ("uncertainty_weighted", 3 - 0.1 * 14 / 4),
        (UncertaintyWeighted(0.5), 3 - 0.5 * 14 / 4),
        (lambda scores, weights, groups: scores.max(axis=1), 6.0),
    ],
)
def test_the_reward_is_combined_as_asked(known, combine, expected):
    known.combine = combine
    assert known(prompts=["a", "b"], completions=["c", "d"]) == pytest.approx([expected, 4.0])


def test_trl_is_shown_each_statistic(known):
    metrics, columns = {}, {}
    known(
        prompts=["a", "b"],
        completions=["c", "d"],
        other=[1, 2],
        log_metric=metrics.__setitem__,
        log_extra=columns.__setitem__,
    )
    assert metrics["reward_ensemble/mean"] == pytest.approx(3.5)
    assert metrics["reward_ensemble/disagreement"] == pytest.approx((14 / 3) ** 0.5 / 2)
    assert metrics["reward_ensemble/lower"] < metrics["reward_ensemble/mean"] < metrics["reward_ensemble/upper"]
    assert columns["reward_ensemble/disagreement"] == pytest.approx([(14 / 3) ** 0.5, 0.0])


def test_on_the_reference_texts_each_member_has_mean_0_and_deviation_1(models):
    ensemble = RewardEnsemble(models).standardize(PROMPTS, TEXTS)
    scores = ensemble.score_members(PROMPTS, TEXTS)
    assert torch.allclose(scores.mean(dim=1), torch.zeros(2), atol=1e-5)
    assert torch.allclose(scores.std(dim=1), torch.ones(2), atol=1e-5)
    ensemble.standardize(PROMPTS, TEXTS, scale=False)
    raw = alone(models)
    assert torch.allclose(ensemble.score_members(PROMPTS, TEXTS), raw - raw.mean(dim=1, keepdim=True), atol=1e-5)


def test_a_member_without_a_scale_is_named(models):
    ensemble = RewardEnsemble(models)
    ensemble.standardize(PROMPTS, TEXTS)
    before = ensemble.centre
    with torch.no_grad():
        ensemble._parts[1][0].model.score.weight.zero_()
    with pytest.raises(ValueError, match="Member other gives all 6 reference texts the same score, 0"):
        ensemble.standardize(PROMPTS, TEXTS)
    with pytest.raises(ValueError, match="at least two reference texts, got 1"):
        ensemble.standardize(PROMPTS[:1], TEXTS[:1])
    assert ensemble.centre is before


def test_members_that_were_not_put_on_one_scale_are_pointed_out(models, caplog):
    ensemble = RewardEnsemble(models)
    for _ in range(2):
        ensemble.predict(PROMPTS, TEXTS)
    assert caplog.text.count("not put on a common scale") == 1
    caplog.clear()
    ensemble.standardize(PROMPTS, TEXTS).predict(PROMPTS, TEXTS)
    assert not caplog.text


# --- as a reward function --------------------------------------------------------------------------------------------


def test_it_is_a_reward_function_for_texts_and_messages(adapters, models):
    for folders in (adapters, models):
        ensemble = RewardEnsemble(folders).standardize(PROMPTS, TEXTS)
        assert isinstance(ensemble, RewardFunction)
        prompts = [[{"role": "user", "content": "a"}]] * 2
        completions = [[{"role": "assistant", "content": text}] for text in ("b", "c d")]
        rewards = ensemble(prompts=prompts, completions=completions, other=[1, 2])
        assert rewards == pytest.approx(ensemble.predict(prompts, ["b", "c d"]).mean.tolist(), abs=1e-6)
        assert all(isinstance(reward, float) for reward in rewards)
        assert ensemble(prompts=[], completions=[], log_metric=lambda *_: pytest.fail("no mean of nothing")) == []


@pytest.mark.parametrize("kind", ["adapters", "models", "heads"])
def test_it_pickles(kind, adapters, models, base):
    if kind == "heads":
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
        ensemble = RewardEnsemble.from_heads(model, AutoTokenizer.from_pretrained(base))
    else:
        ensemble = RewardEnsemble({"adapters": adapters, "models": models}[kind], combine="lower")
    ensemble.standardize(PROMPTS, TEXTS)
    again = pickle.loads(pickle.dumps(ensemble))
    assert torch.equal(again.score_members(PROMPTS, TEXTS), ensemble.score_members(PROMPTS, TEXTS))
    assert again.combine == ensemble.combine


# --- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_members_are_refused(count, models):
    with pytest.raises(ValueError, match=f"at least two members, got {count}"):
        RewardEnsemble(models[:count])


def test_one_folder_is_not_taken_for_a_list_of_letters(models):
    with pytest.raises(TypeError, match="`members` is a list of reward models, got one str"):
        RewardEnsemble(models[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"combine": "median"}, "No combination 'median': give .*'worst_case'.*'lower'"),
        ({"combine": "group"}, "compares the completions of a prompt"),
        ({"bounds": "quantile"}, "`bounds` is a number of standard deviations.*got 'quantile'"),
        ({"bounds": -2}, "`bounds` is a number"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_a_model_is_loaded(options, message):
    with pytest.raises(ValueError, match=message):
        RewardEnsemble(["/no/such/folder", "/nor/this"], **options)


def test_a_member_with_two_labels_is_refused(models, base, tmp_path):
    AutoModelForSequenceClassification.from_pretrained(base, num_labels=2).save_pretrained(tmp_path / "two")
    with pytest.raises(ValueError, match="a classifier with 2 labels"):
        RewardEnsemble([models[0], tmp_path / "two"])


def test_members_on_one_base_with_different_tokenizers_are_refused(adapters, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(adapters[1], other)
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(other)
    with pytest.raises(ValueError, match="other differ in their vocabulary"):
        RewardEnsemble([adapters[0], other])
    assert len(RewardEnsemble([adapters[0], other], tokenizer=AutoTokenizer.from_pretrained(adapters[0]))) == 2
    tokenizer = AutoTokenizer.from_pretrained(adapters[1])
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(other)
    with pytest.raises(ValueError, match="differ in their chat template"):
        RewardEnsemble([adapters[0], other])


@pytest.mark.parametrize("kind", ["adapters", "models"])
def test_a_score_that_is_not_finite_names_the_member(kind, adapters, models):
    folders = {"adapters": adapters, "models": models}[kind]
    ensemble = RewardEnsemble(folders)
    for module in [part.reader.model if kind == "adapters" else part.model for part, _ in ensemble._parts][-1:]:
        for name, parameter in module.named_parameters():
            if name.endswith("score.modules_to_save.member_1.weight") or name == "score.weight":
                parameter.data.fill_(torch.nan)
    with pytest.raises(ValueError, match=f"{'member_1' if kind == 'adapters' else 'other'} .*gave nan for row 0"):
        ensemble.score_members(PROMPTS, TEXTS)


def test_unequal_lengths_are_refused(adapters):
    with pytest.raises(ValueError, match="2 prompts but 1 responses"):
        RewardEnsemble(adapters).score_members(["a", "b"], ["c"])


def test_a_folder_that_is_no_ensemble_is_refused(reward_folder):
    with pytest.raises(FileNotFoundError, match="holds no ensemble: there is no ensemble.json"):
        RewardEnsemble.from_folder(reward_folder)


def test_an_adapter_without_its_head_is_refused(adapters, tmp_path):
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({**json.loads(Path(adapters[0], "adapter_config.json").read_text()), "modules_to_save": None})
    )
    with pytest.raises(ValueError, match="without its reward head"):
        RewardEnsemble([adapters[0], str(tmp_path)])


def test_labels_of_a_head_that_is_not_linear_are_refused(tokenizer):
    from transformers import RobertaConfig, RobertaForSequenceClassification

    model = RobertaForSequenceClassification(
        RobertaConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, **SMALL)
    )
    with pytest.raises(ValueError, match="has no linear head named score or classifier"):
        HeadsOnOneBase(model, tokenizer)


def test_what_is_adapted_below_the_layers_leaves_nothing_to_share(base, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    config = LoraConfig(task_type="SEQ_CLS", target_modules=["embed_tokens", "q_proj"])
    model = get_peft_model(model, config)
    assert AdaptersOnOneBase(model, AutoTokenizer.from_pretrained(base)).trunk == []


@pytest.fixture
def folder(adapters, tmp_path):
    """What `train_reward_ensemble` writes: adapters, and the scale of each."""
    for number, adapter in enumerate(adapters):
        shutil.copytree(adapter, tmp_path / f"member_{number}")
    members = [{"folder": f"member_{number}", "centre": 0.1 * number, "scale": 1.0} for number in range(3)]
    (tmp_path / "ensemble.json").write_text(json.dumps({"identity": {}, "members": members}))
    return str(tmp_path)


def test_a_chat_template_of_adapters_is_told_what_it_should_be(folder):
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    for told, number in ((off, 1), ({}, 0)):
        ensemble = RewardEnsemble.from_folder(folder, **told)
        ensemble._parts[0][0].reader.tokenizer.chat_template = THINKING
        reader = ensemble._parts[0][0].reader
        ids = reader._tokenize([{"role": "user", "content": "Hi."}], "Hello.")
        assert reader.tokenizer.decode(ids).count("<think></think>") == number


def test_the_folder_of_an_ensemble_is_a_component_of_a_mix_and_no_reward_model(folder):
    expected = RewardEnsemble.from_folder(folder)(prompts=PROMPTS, completions=TEXTS)
    assert RewardMixer({"all": folder})(prompts=PROMPTS, completions=TEXTS) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"holds an ensemble of reward models: give `RewardEnsemble.from_folder\("):
        RewardModel(folder)
