"""The one call that validates a reward model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from datasets import Dataset

from ...data.preferences import prepare_preferences
from ...rewards.learning import standing_still
from ...types import Generator, RewardFunction
from . import pairs as of_pairs
from .best_of_n import Samples, best_of_n
from .calibration import calibration
from .ensemble import ensemble
from .probes import PROBES, probe
from .result import MEASURES, CannotMeasure, Measurement, RewardValidation
from .scoring import score_pairs


def validate_reward_model(
    reward_model: RewardFunction,
    preferences: Dataset | Sequence[dict[str, Any]],
    *,
    measures: Collection[str] = MEASURES,
    probes: Mapping[str, Callable[[str], str]] = PROBES,
    gold: RewardFunction | None = None,
    generator: Generator | None = None,
    n: int = 16,
    samples_column: str = "samples",
    sampling: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> RewardValidation:
    """Measures a reward model on held-out preferences: may anyone train against it?

    Figures, by the names that thresholds use:

    - `accuracy`, `accuracy.CATEGORY` (with a `category` column), `unscored`;
    - `strength.brier`, `strength.log_loss`, `strength.correlation` (with `preference_strength`);
    - `ece`, `temperature`, `ece_after_temperature`;
    - `length.correlation`, `length.partial_correlation`, `length.slope`, `length.accuracy_longer`,
      `length.accuracy_shorter`;
    - `margin`, with histograms of scores and margins;
    - `ensemble.disagreement`, `ensemble.unanimous`, `ensemble.auc` (where the reward has `score_members`);
    - `probes.PROBE.change`, `probes.PROBE.raised`;
    - `best_of_n.gain`, `best_of_n.drop`, `best_of_n.correlation` (with a `gold` reward).

    Accuracy alone scores each answer once; probes score the chosen answers once more and once for each edit, an ensemble's
    members all answers once more, and best-of-n all samples. A [`~rlhf_ext.rewards.mixing.RewardMixer`] learns nothing from it.

    Args:
        reward_model (`RewardFunction`):
            What is validated: a [`RewardModel`], an ensemble, any reward function. Called with keywords, the data's
            other columns among them.
        preferences (`datasets.Dataset` or `list[dict]`):
            Rows it was not trained on; for strengths on another scale than p(chosen is better) see
            [`~rlhf_ext.data.preferences.prepare_preferences`].
        measures (`Collection[str]`, *optional*):
            What to measure, of [`MEASURES`]; all by default. Accuracy always is.
        probes (`dict[str, Callable]`, *optional*):
            Edits that must not raise a score, text to text; [`PROBES`] by default. The answer to another prompt is
            always tried.
        gold (`RewardFunction`, *optional*):
            What the reward model stands for: a larger model, a checker, people's scores. Needed for best-of-n.
        generator (`Generator`, *optional*), n (`int`, *optional*, defaults to `16`), sampling (`dict`, *optional*):
            Writes that many samples a prompt for best-of-n; `sampling` is what it is told (`max_new_tokens`, ...).
        samples_column (`str`, *optional*, defaults to `"samples"`):
            Column with a list of samples a prompt, used without a generator.
        seed (`int`, *optional*, defaults to `0`):
            Of folds, the draw of other prompts, and the generator.

    Returns:
        [`RewardValidation`]: the figures with 95 % intervals, and why others are missing.

    Raises:
        ValueError: If a measure is unknown, the preferences or samples are bad, or a score is NaN or infinite.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.reward_models import validate_reward_model
    >>> def longer(prompts, completions, **columns):
    ...     return [float(len(text)) for text in completions]
    >>> rows = [{"prompt": f"{i}+1?", "chosen": f"{i + 1}", "rejected": f"about {i + 2}"} for i in range(20)]
    >>> validation = validate_reward_model(longer, rows)
    >>> print(validation.accuracy, validation.estimates["probes.filler.raised"])
    0.00 [0.00, 0.16] 1.00 [0.84, 1.00]

    ```
    """
    if unknown := sorted(set(measures) - set(MEASURES)):
        raise ValueError(f"There is no measure {unknown[0]!r}; there are {', '.join(MEASURES)}.")
    if gold is None and generator is not None:
        raise ValueError(
            "A `generator` writes samples for best-of-n, which needs a `gold` reward: give both, or neither."
        )
    data = prepare_preferences(preferences, name="preferences")
    samples = Samples(samples_column, generator, n, seed, dict(sampling or {}))
    if gold is not None and "best_of_n" in measures:
        samples.check(data)

    def best() -> Measurement:
        if gold is None:
            raise CannotMeasure("there is no gold reward")
        return best_of_n(reward_model, gold, data, samples)

    takers: dict[str, Callable[[], Measurement]] = {
        "accuracy": lambda: of_pairs.accuracy(pairs),
        "strength": lambda: of_pairs.strength(pairs),
        "calibration": lambda: calibration(pairs, seed),
        "length": lambda: of_pairs.length(pairs),
        "scores": lambda: of_pairs.scores(pairs),
        "ensemble": lambda: ensemble(reward_model, pairs),
        "probes": lambda: probe(reward_model, pairs, probes, seed),
        "best_of_n": best,
    }
    with standing_still(reward_model, gold):
        pairs = score_pairs(reward_model, data, without=[samples_column])
        return _collect({name: take for name, take in takers.items() if name == "accuracy" or name in measures})


def _collect(takers: Mapping[str, Callable[[], Measurement]]) -> RewardValidation:
    estimates, plots, missing = {}, [], {}
    for name, take in takers.items():
        try:
            found = take()
        except CannotMeasure as error:
            missing[name] = str(error)
            continue
        estimates.update(found.estimates)
        plots += found.plots
    return RewardValidation(estimates, missing, plots)
