"""Reading what rows have in common once gives what reading each row whole gives."""

import inspect
import math
import random

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from rlhf_ext.generation.prefixes import LEAST, PrefixReader, common_length, plan

CACHE = "cache" if "cache" in inspect.signature(LlamaForCausalLM.forward).parameters else "past_key_values"


class OldOutput(dict):
    """What a model gave before the cache was renamed."""

    def __init__(self, logits, past_key_values):
        super().__init__(logits=logits, past_key_values=past_key_values)
        self.logits, self.past_key_values = logits, past_key_values


def ids(count, seed):
    return torch.randint(5, 300, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.fixture
def rows():
    """A rubric, four questions, each with its two answers in both orders, and a question of its own; as a judge is asked."""
    rubric, found = ids(60, 0), []
    for k in range(4):
        question, one, other = ids(30 + 3 * k, 10 + k), ids(10 + k, 20 + k), ids(6, 30 + k)
        found += [[*rubric, *question, *one, *other, 7, 9], [*rubric, *question, *other, *one, 7, 9]]
    return [*found, [*rubric, *ids(40, 99)]]


def models():
    torch.manual_seed(0)
    yield LlamaForCausalLM(
        LlamaConfig(vocab_size=343, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    )
    yield GPT2LMHeadModel(GPT2Config(vocab_size=343, n_embd=32, n_layer=2, n_head=2))
    yield OPTForCausalLM(
        OPTConfig(
            vocab_size=343,
            hidden_size=32,
            ffn_dim=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            word_embed_proj_dim=32,
        )
    )


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_logits_are_those_of_whole_rows(model, rows):
    model.eval()
    common, groups = plan(rows, tail=2, most=4)
    assert common == 60
    assert sorted(sorted(group.rows) for group in groups) == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
    reader = PrefixReader(model)
    with torch.no_grad():
        start = reader.begin(rows[0][:common])
        for _ in range(2):  # what was read in common serves again, unchanged
            found = reader.last_logits(start, rows, groups, count=2)
        for index, logits in zip([i for group in groups for i in group.rows], found, strict=True):
            whole = model(input_ids=torch.tensor([rows[index]])).logits[0]
            assert torch.allclose(logits[-2:], whole[-2:], atol=1e-4), index


def test_fewer_ids_are_read(rows):
    model = next(models()).eval()
    read = []
    model.model.embed_tokens.register_forward_hook(lambda module, args, output: read.append(args[0].numel()))
    common, groups = plan(rows, tail=1, most=4)
    with torch.no_grad():
        reader = PrefixReader(model)
        reader.last_logits(reader.begin(rows[0][:common]), rows, groups, count=1)
    assert sum(read) < 0.5 * sum(map(len, rows))


def test_a_cache_of_another_kind_is_not_shared():
    model = MambaForCausalLM(MambaConfig(vocab_size=343, hidden_size=32, num_hidden_layers=1, state_size=4)).eval()
    reader = PrefixReader(model)
    with torch.no_grad():
        assert reader.begin(ids(20, 0)) is None
        assert reader.begin(ids(20, 0)) is None


def divided(rows, most=16):
    return sorted(sorted(group.rows) for group in plan(rows, tail=1, most=most)[1])


def test_what_is_not_worth_it_is_read_whole():
    apart = [ids(50, seed) for seed in range(4)]
    assert plan(apart, tail=1, most=4)[0] == 0 and divided(apart) == [[0], [1], [2], [3]]
    little = [[*ids(8, 0), *row] for row in apart]
    assert plan(little, tail=1, most=4)[0] == 0
    assert plan([ids(50, 0)], tail=1, most=4)[0] == 0


def test_a_pair_keeps_its_long_beginning_where_others_begin_a_little_alike():
    rubric, words = ids(60, 0), ids(20, 1)
    pairs = [[*rubric, *words, *ids(200, 10 + k), *ids(10, 20 + k + n)] for k in range(3) for n in (0, 50)]
    assert divided(pairs) == [[0, 1], [2, 3], [4, 5]]
    single = [*rubric, *words, *ids(40, 99)]
    assert [6] in divided([*pairs, single])


def test_many_answers_to_one_question_go_together_as_far_as_a_batch_holds():
    question = ids(200, 0)
    rows = [[*question, *ids(90, 5 + k // 6), *ids(10, 20 + k)] for k in range(12)]
    assert divided(rows) == [list(range(6)), list(range(6, 12))]
    parts = divided(rows, most=4)
    assert len(parts) == 4 and max(map(len, parts)) <= 4 and sorted(sum(parts, [])) == list(range(12))


@pytest.mark.parametrize("seed", range(6))
def test_no_other_division_reads_less(seed):
    """Against all divisions of the sorted rows, one by one."""
    pick = random.Random(seed)
    rows = [ids(40, 0)]
    for k in range(7):  # each goes on from somewhere in another
        stem = pick.choice(rows)
        rows.append([*stem[: pick.randint(40, len(stem))], *ids(pick.randint(20, 60), 10 + k)])
    rows = rows[1:]
    common, groups = plan(rows, tail=1, most=3)
    assert common >= 30

    def read(run):
        begun = min(common_length([rows[i] for i in run]), min(len(rows[i]) for i in run) - 1)
        if len(run) > 1 and begun < common + LEAST:
            return math.inf
        begun = begun if len(run) > 1 else common
        return begun - common + sum(len(rows[i]) - begun for i in run)

    order = sorted(range(len(rows)), key=lambda i: rows[i])

    def least(n):
        return min((least(n - k) + read(order[n - k : n]) for k in (1, 2, 3) if k <= n), default=0)

    assert sum(group.read for group in groups) == least(len(rows)) == sum(read(group.rows) for group in groups)


def test_a_row_within_another_keeps_its_tail():
    short, long = ids(40, 0), [*ids(40, 0), *ids(5, 1)]
    assert common_length([short, long]) == 40
    common, _ = plan([short, long], tail=3, most=4)
    assert common == 37


@pytest.mark.parametrize("name", sorted({CACHE, "past_key_values"}))
def test_the_cache_goes_by_the_name_that_the_model_has_for_it(rows, name):
    model = next(models()).eval()
    forward, calls = model.forward, []

    if name == CACHE:

        def renamed(input_ids=None, **kwargs):
            calls.append({key: value for key, value in kwargs.items() if key != CACHE})
            return forward(input_ids=input_ids, **kwargs)

        renamed.__signature__ = inspect.signature(forward)
    else:  # as before transformers 5.24, in what models bring with them

        def renamed(input_ids=None, past_key_values=None, **kwargs):
            calls.append(kwargs)
            output = forward(input_ids=input_ids, **{CACHE: past_key_values}, **kwargs)
            return OldOutput(output.logits, output[CACHE])

    model.forward = renamed
    common, groups = plan(rows, tail=1, most=4)
    with torch.no_grad():
        reader = PrefixReader(model)
        found = reader.last_logits(reader.begin(rows[0][:common]), rows, groups, count=1)
        whole = forward(input_ids=torch.tensor([rows[groups[0].rows[0]]])).logits[0]
    assert torch.allclose(found[0][-1:], whole[-1:], atol=1e-4)
    assert calls and not any({"cache", "past_key_values"} & given.keys() for given in calls)
