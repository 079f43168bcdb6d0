"""Several experiments at once, without one meddling with another unasked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .experiment import Experiment


class Experiments:
    """All experiments of a service.

    Two on the same traffic are refused: each would change what the other measures. Where that is wanted (a prompt beside a model, each
    dealt on its own), they are put in layers of their own, and every request is in one of each layer. Assignments in different layers
    are independent.

    Args:
        experiments (`Sequence[Experiment]`):
            With a name each.

    Raises:
        ValueError: If two have one name, or are on the same traffic in one layer.

    Example:
    ```python
    >>> from rlhf_ext.deployment.experiments import Experiment, Experiments

    >>> models = Experiment("models", {"sft": 0.5, "dpo": 0.5}, salt="1", traffic="assistant")
    >>> prompts = Experiment("prompts", {"short": 0.5, "long": 0.5}, salt="1", layer="prompt")
    >>> [one.name for one in Experiments([models, prompts]).on("assistant")]
    ['models', 'prompts']

    ```
    """

    def __init__(self, experiments: Sequence[Experiment] = ()):
        self._all = {one.name: one for one in experiments}
        if len(self._all) < len(experiments):
            twice = next(
                one.name for i, one in enumerate(experiments) if one.name in [e.name for e in experiments[:i]]
            )
            raise ValueError(f"Two experiments have the name {twice!r}; assignments would be the same for both.")
        for i, one in enumerate(experiments):
            for other in experiments[:i]:
                if one.layer == other.layer and (one.traffic == other.traffic or "*" in (one.traffic, other.traffic)):
                    raise ValueError(
                        f"The experiments {other.name!r} and {one.name!r} are on the same traffic ({other.traffic!r} and "
                        f"{one.traffic!r}) in the layer {one.layer!r}, and each would change what the other measures. Give them "
                        "other `traffic`, or a `layer` of its own to one, if every request is to be in both."
                    )

    def on(self, traffic: str) -> tuple[Experiment, ...]:
        """The experiments that a request is in: at most one a layer.

        Args:
            traffic (`str`): The model that the request asks for.
        """
        return tuple(one for one in self if one.traffic in ("*", traffic))

    def __getitem__(self, name: str) -> Experiment:
        if name not in self._all:
            raise KeyError(f"There is no experiment {name!r}; there are {', '.join(self._all) or 'none'}.")
        return self._all[name]

    def __iter__(self) -> Iterator[Experiment]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)
