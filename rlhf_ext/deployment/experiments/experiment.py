"""Who gets which variant: by a salted hash of the user, the same on every machine and for as long as the weights stand."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Why = Literal["hash", "override", "holdout"]


@dataclass(frozen=True)
class Assignment:
    """What a user gets.

    Args:
        experiment (`str`), variant (`str`):
            Their names.
        why (`Literal["hash", "override", "holdout"]`):
            By lot; because an override says so; or because the user is held out, and gets the control. Only `"hash"` was
            randomised: the others are in no analysis.
    """

    experiment: str
    variant: str
    why: Why


@dataclass(frozen=True)
class Experiment:
    """Variants that share traffic, and who gets which.

    Each variant runs a race of its own for each user, with a time drawn from the exponential distribution of the
    variant's weight by a salted hash; the first wins. So the same user gets the same variant everywhere, shares are the
    weights, and when weights change as few users move as can be: where one variant's share grows and the others keep their
    proportion, users move to it and never between the others or back. Source: Moulton and Jiang, "Maximally Consistent
    Sampling and the Jaccard Index of Probability Distributions" (2018, arXiv:1809.04052).

    Args:
        name (`str`):
            Of the experiment; part of the hash, so that experiments are independent of one another.
        variants (`Mapping[str, float]`):
            Share of each variant, in [0, 1]; they must sum to 1. The first is the control.
        salt (`str`):
            Part of the hash: another salt deals all users anew.
        holdout (`float`, *optional*, defaults to `0.0`):
            Share of users in [0, 1) that is kept out of the experiment, and gets the control. It can grow: who is held out
            stays so.
        overrides (`Mapping[str, str]`, *optional*):
            Variants of users by name, whatever the hash says. They may name one with weight 0.
        shadow (`Mapping[str, float]`, *optional*):
            For each variant that only listens, the share of requests in [0, 1] that it gets a copy of.
        traffic (`str`, *optional*, defaults to `"*"`):
            Which requests it is about: the model that they ask for; `"*"` is all.
        layer (`str`, *optional*, defaults to `"default"`):
            Experiments on the same traffic must be in layers of their own, see [`Experiments`].

    Raises:
        ValueError: If a share is not in its range, the weights do not sum to 1, a name is empty, or an override names no
            variant; the field is named.

    Example:
    ```python
    >>> from rlhf_ext.deployment.experiments import Experiment

    >>> experiment = Experiment("dpo-2", {"sft": 0.9, "dpo": 0.1}, salt="2026-05", overrides={"ada": "dpo"})
    >>> experiment.assign("ada")
    Assignment(experiment='dpo-2', variant='dpo', why='override')
    >>> more = experiment.with_weights({"sft": 0.5, "dpo": 0.5})
    >>> users = [f"user {i}" for i in range(1000)]
    >>> any(experiment.assign(u).variant == "dpo" and more.assign(u).variant == "sft" for u in users)
    False

    ```
    """

    name: str
    variants: Mapping[str, float]
    salt: str
    holdout: float = 0.0
    overrides: Mapping[str, str] = field(default_factory=dict)
    shadow: Mapping[str, float] = field(default_factory=dict)
    traffic: str = "*"
    layer: str = "default"

    def __post_init__(self) -> None:
        for what in ("name", "salt", "traffic", "layer"):
            if not isinstance(getattr(self, what), str) or not getattr(self, what):
                raise ValueError(
                    f"`{what}` of an experiment must be a text that is not empty, got {getattr(self, what)!r}."
                )
        for what in ("variants", "overrides", "shadow"):
            if not isinstance(getattr(self, what), Mapping):
                raise ValueError(
                    f"`{what}` of the experiment {self.name!r} must be a mapping, got {getattr(self, what)!r}."
                )
        for what, shares in (("variants", self.variants), ("shadow", self.shadow)):
            for variant, share in shares.items():
                if not isinstance(variant, str) or not variant:
                    raise ValueError(f"`{what}` of {self.name!r}: a variant's name is a text, got {variant!r}.")
                _check_share(f"`{what}` of {self.name!r}: the share of {variant!r}", share)
        total = math.fsum(self.variants.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(
                f"`variants` of {self.name!r}: the shares must sum to 1, and {dict(self.variants)} sum to {total:g}."
            )
        _check_share(f"`holdout` of {self.name!r}", self.holdout)
        if self.holdout == 1:
            raise ValueError(f"`holdout` of {self.name!r} is 1: nobody would be in the experiment.")
        for user, variant in self.overrides.items():
            if not isinstance(user, str):
                raise ValueError(
                    f"`overrides` of {self.name!r}: a user is a text, got {user!r}, which nobody is called. In YAML put it in quotes."
                )
            if variant not in self.variants:
                raise ValueError(
                    f"`overrides` of {self.name!r}: {user!r} is to get {variant!r}, and there are {', '.join(self.variants)}."
                )

    @property
    def control(self) -> str:
        """The first variant: what the others are compared with, and what is served outside of the experiment."""
        return next(iter(self.variants))

    def assign(self, user: str) -> Assignment:
        """What a user gets.

        Args:
            user (`str`): Whoever must always get the same: a user, an account, a session.

        Raises:
            ValueError: If `user` is empty: everybody without a name would be one user.
        """
        if not isinstance(user, str) or not user:
            raise ValueError(f"A user is a text that is not empty, got {user!r}: requests without one are no one's.")
        if user in self.overrides:
            return Assignment(self.name, self.overrides[user], "override")
        if self.holdout and _uniform(self.salt, self.name, "holdout", user) < self.holdout:
            return Assignment(self.name, self.control, "holdout")
        times = {
            # Neither 0 nor 1, so that each time is positive and finite.
            variant: -math.log(_uniform(self.salt, self.name, f"variant {variant}", user)) / share
            for variant, share in self.variants.items()
            if share > 0
        }
        return Assignment(self.name, min(times, key=times.__getitem__), "hash")

    def shadows(self, request: str) -> tuple[str, ...]:
        """The variants that get a copy of a request, by its id. Their answers are thrown away or kept, never served."""
        return tuple(
            v for v, share in self.shadow.items() if _uniform(self.salt, self.name, f"shadow {v}", request) < share
        )

    def with_weights(self, variants: Mapping[str, float]) -> Experiment:
        """The same experiment with other shares; as few users move as can be.

        Raises:
            ValueError: As the class does.
        """
        return replace(self, variants=variants)


def _check_share(what: str, share: object) -> None:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"{what} must be a number in [0, 1], got {share!r}.")


def _uniform(*parts: str) -> float:
    """A number in (0, 1), uniform over whatever the last part is, the same everywhere."""
    # Lengths keep ("a", "bc") and ("ab", "c") apart; lone surrogates, which JSON can bring, have no UTF-8.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52
