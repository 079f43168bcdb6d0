"""A rollout cut into minibatches."""

import itertools

import torch

from rlhf_ext.trainers.minibatches import minibatches

from .ppo_helpers import make


def a_rollout(count=12):
    lengths = torch.randperm(count) + 1
    mask = (torch.arange(count)[None] < lengths[:, None]).long()
    whole = {
        "prompt_mask": torch.ones(count, 2).long(),
        "completion_mask": mask,
        "row": torch.arange(count),
        "texts": [str(i) for i in range(count)],
        "total": torch.tensor(7.0),
        "nothing": None,
    }
    return [
        {key: value[half] if key not in ("total", "nothing") else value for key, value in whole.items()}
        for half in (slice(0, 6), slice(6, 12))
    ]


def test_every_row_is_drawn_once_and_stays_together():
    torch.manual_seed(0)
    parts = a_rollout()
    drawn = minibatches(parts, 3)
    rows = torch.cat([part["row"] for part in drawn]).tolist()
    assert rows != list(range(12))
    assert sorted(rows) == list(range(12))
    masks = torch.cat([part["completion_mask"] for part in parts])
    for part in drawn:
        assert [int(text) for text in part["texts"]] == part["row"].tolist()
        assert torch.equal(part["completion_mask"], masks[part["row"]])
        assert part["total"] == 7
        assert part["nothing"] is None


def test_like_lengths_share_a_minibatch_in_random_order():
    torch.manual_seed(0)
    orders = set()
    for _ in range(8):
        drawn = minibatches(a_rollout(), 3, by_length=True)
        lengths = [part["completion_mask"].sum(1) for part in drawn]
        ranges = [(int(some.min()), int(some.max())) for some in lengths]
        assert sorted(ranges) == [(1, 4), (5, 8), (9, 12)]
        orders.add(tuple(ranges))
    assert len(orders) > 1


def test_a_trainer_groups_by_length_where_asked(tiny, prompts, quick):
    trainer = make(
        tiny, prompts, quick, group_by_length=True, steps_per_generation=4, max_completion_length=32, max_steps=8
    )
    trainer.model.train()
    rows = [prompts[i] for i in range(16)]
    for step in (0, 4):  # two epochs of the same rollout
        trainer._step = step
        first = trainer._prepare_inputs(rows)
        assert first is trainer._buffered_inputs[0]
        lengths = [part["prompt_mask"].sum(1) + part["completion_mask"].sum(1) for part in trainer._buffered_inputs]
        ranges = sorted((int(some.min()), int(some.max())) for some in lengths)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ranges))
    trainer._step = 0
    trainer._buffered_inputs = None
    trainer.train()
