"""A store that a crowd with known tastes has filled."""

import numpy as np

from rlhf_ext.data.store import FeedbackItem, FeedbackRecord, FeedbackStore

STRENGTHS = {"ppo": 1.0, "dpo": 0.2, "sft": -1.2}


def filled(path, items=90, people=("ann", "ben", "cy"), seed=0, ties=0.15, judge=None, models=True):
    """Comparisons of three models by three people who each see every item; a judge that agrees as often as it is told to."""
    rng, store = np.random.default_rng(seed), FeedbackStore(path)
    names = list(STRENGTHS)
    asked, said = [], []
    for number in range(items):
        i, j = rng.choice(3, size=2, replace=False)
        pair = (names[i], names[j])
        answers = tuple(f"{name} answers {number} " + "x" * int(rng.integers(5, 60)) for name in pair)
        item = FeedbackItem("comparison", f"Question {number}?", answers, models=pair if models else ())
        asked.append(item)
        better = 1 / (1 + np.exp(STRENGTHS[pair[1]] - STRENGTHS[pair[0]]))
        for person in people:
            strength = 0.5 if rng.random() < ties else 0.83 if rng.random() < better else 0.17
            order = (0, 1) if rng.random() < 0.5 else (1, 0)
            said.append(FeedbackRecord("comparison", item.id, person, {"strength": strength}, shown_order=order))
        if judge is not None:
            strength = 0.9 if (better > 0.5) == (rng.random() < judge) else 0.1
            said.append(FeedbackRecord("judgement", item.id, "judge/v1", {"strength": strength}, source="ai"))
    store.add_items(asked)
    store.add(said)
    return store, asked
