"""What an assistant is to hold to: principles, and a constitution made of them."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from .._strict_yaml import read_yaml


@dataclass(frozen=True)
class Principle:
    """One thing that an answer is held to: how to look for a breach of it, and how to mend one.

    Args:
        name (`str`):
            A short name, unique in its constitution.
        critique_request (`str`):
            What a critic is asked about an answer.
        revision_request (`str`):
            What the writer is asked to change.
        weight (`float`, *optional*, defaults to `1.0`):
            Finite and above 0: how often it is drawn, and how much it counts in [`ConstitutionalReward`], in proportion
            to the other weights.
        category (`str`, *optional*, defaults to `"general"`):
            What it belongs to (harm, honesty, ...), for figures by category.
        rule (`str`, *optional*):
            What an answer does that keeps it, in a sentence, for judges who compare or grade; without it they are shown
            the critique request.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If a text is empty or the weight not finite and positive.

    Example:

    ```python
    >>> from rlhf_ext.constitution import Principle
    >>> Principle("brief", "Say what could be left out.", "Leave out what is not needed.", weight=2).weight
    2

    ```
    """

    name: str
    critique_request: str
    revision_request: str
    weight: float = 1.0
    category: str = "general"
    rule: str | None = None

    def __post_init__(self) -> None:
        for field in ("name", "critique_request", "revision_request", "category", "rule"):
            value = getattr(self, field)
            if value is None and field == "rule":
                continue
            if not isinstance(value, str):
                raise TypeError(f"`{field}` should be text, got {value!r}")
            if not value.strip():
                raise ValueError(f"`{field}` is empty")
        if isinstance(self.weight, bool) or not isinstance(self.weight, int | float):
            raise TypeError(f"`weight` should be a number, got {self.weight!r}")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(
                f"`weight` should be finite and above 0, got {self.weight!r}; leave out what is not to count"
            )

    @property
    def standard(self) -> str:
        """What a judge is shown: the rule, or else the critique request."""
        return self.rule or self.critique_request


@dataclass(frozen=True)
class Constitution:
    """Principles that an assistant's answers are criticised, revised, compared and scored by.

    Constitutional AI (Bai et al., [2212.08073](https://huggingface.co/papers/2212.08073)). In YAML:

    ```yaml
    name: mine
    version: "1"
    principles:
      - name: brief
        category: style
        weight: 2
        rule: The answer says what was asked and no more.
        critique_request: Say what in the answer could be left out.
        revision_request: Leave out what the question does not need.
    ```

    Args:
        principles (`Sequence[Principle]`):
            At least one, each with a name of its own.
        name (`str`, *optional*, defaults to `"constitution"`), version (`str`, *optional*, defaults to `"1"`):
            What it is called in the provenance of the data that it makes.

    Attributes:
        fingerprint (`str`):
            16 hex digits of the SHA-256 of everything in it: stores use it to tell constitutions apart, whatever they are
            called.

    Raises:
        TypeError, ValueError: If there is no principle, two share a name, or a name or version is empty.

    Example:

    ```python
    >>> from rlhf_ext.constitution import Constitution
    >>> constitution = Constitution.default()
    >>> constitution.categories
    ['harm', 'honesty', 'helpfulness', 'privacy', 'bias', 'over-refusal']
    >>> len(constitution.select("privacy", "bias"))
    4

    ```
    """

    principles: Sequence[Principle]
    name: str = "constitution"
    version: str = "1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "principles", tuple(self.principles))
        for field in ("name", "version"):
            value = getattr(self, field)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"`{field}` should be text that is not empty, got {value!r}")
        if not self.principles:
            raise ValueError("`principles` is empty: a constitution needs at least one")
        seen: set[str] = set()
        for number, principle in enumerate(self.principles, start=1):
            if not isinstance(principle, Principle):
                raise TypeError(f"principle {number} should be a Principle, got {principle!r}")
            if principle.name in seen:
                raise ValueError(f"principle {number}: the `name` {principle.name!r} is taken by one before it")
            seen.add(principle.name)

    @classmethod
    def default(cls) -> Constitution:
        """The constitution that comes with rlhf_ext: harm, honesty, helpfulness, privacy, bias and over-refusal."""
        return cls.from_file(Path(__file__).with_name("default.yaml"))

    @classmethod
    def from_file(cls, path: str | Path) -> Constitution:
        """Reads a constitution from YAML (or JSON, which is YAML).

        Raises:
            FileNotFoundError: If there is no such file.
            TypeError, ValueError: If it is no YAML or no constitution: the file, the principle and the field are named.
        """
        return cls.from_dict(read_yaml(path), source=str(path))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str = "constitution") -> Constitution:
        """Builds a constitution from what its YAML holds.

        Args:
            data (`Mapping`):
                `name`, `version` and `principles`, as in the file.
            source (`str`, *optional*):
                How errors name it.

        Raises:
            TypeError, ValueError: If it is no constitution; the principle and the field are named.
        """
        if not isinstance(data, Mapping):
            raise TypeError(f"{source} should hold `name`, `version` and `principles`, got {data!r}.")
        _check_keys(data, ("name", "version", "principles"), ("principles",), source)
        rows = data["principles"]
        if not isinstance(rows, list) or not rows:
            raise ValueError(f"{source}: `principles` should be a list of at least one principle, got {rows!r}.")
        principles = [_principle(row, f"{source}, principle {number}") for number, row in enumerate(rows, start=1)]
        options = {"name": data.get("name", "constitution"), "version": _version(data.get("version", "1"), source)}
        try:
            return cls(principles, **options)
        except ValueError as error:
            raise ValueError(f"{source}, {error}.") from error

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads, ready for JSON or YAML."""
        rows = [{key: value for key, value in asdict(p).items() if value is not None} for p in self.principles]
        return {"name": self.name, "version": self.version, "principles": rows}

    @cached_property
    def fingerprint(self) -> str:
        # 2 and 2.0 are the same weight.
        rows = [{**row, "weight": float(row["weight"])} for row in self.to_dict()["principles"]]
        text = json.dumps({**self.to_dict(), "principles": rows}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def provenance(self) -> str:
        """Name, version and fingerprint in one word, for a `source` column."""
        return f"constitution:{self.name}@{self.version}#{self.fingerprint}"

    @property
    def categories(self) -> list[str]:
        """The categories, each once, in order."""
        return list(dict.fromkeys(principle.category for principle in self.principles))

    def select(self, *categories: str) -> Constitution:
        """The same constitution with the principles of some categories alone.

        Raises:
            ValueError: If it has no such category.
        """
        if unknown := [category for category in categories if category not in self.categories]:
            raise ValueError(f"{self.name} has no category {unknown[0]!r}; it has {', '.join(self.categories)}.")
        kept = [principle for principle in self.principles if principle.category in categories]
        return Constitution(kept, self.name, self.version)

    def drawn(self, key: str, turn: int, seed: int = 0) -> Principle:
        """The principle whose turn it is for a row: drawn by weight, none again until all were.

        The same key, turn and seed give the same principle, in any process and whatever else was drawn.

        Args:
            key (`str`):
                What tells the row from others.
            turn (`int`):
                Draw number, from 0.
            seed (`int`, *optional*, defaults to `0`):
                Another seed gives another order.
        """
        cycle, place = divmod(turn, len(self.principles))
        digest = hashlib.sha256(json.dumps([seed, key, cycle]).encode()).digest()
        rng = random.Random(int.from_bytes(digest[:8], "big"))
        # In order of exponential waiting times with these rates: the order of successive draws by weight.
        waits = [-math.log(1 - rng.random()) / principle.weight for principle in self.principles]
        return self.principles[sorted(range(len(waits)), key=waits.__getitem__)[place]]

    def __len__(self) -> int:
        return len(self.principles)

    def __iter__(self) -> Iterator[Principle]:
        return iter(self.principles)


_FIELDS = tuple(field.name for field in fields(Principle))


def _principle(row: Any, where: str) -> Principle:
    if not isinstance(row, Mapping):
        raise TypeError(f"{where} should hold {', '.join(_FIELDS)}, got {row!r}.")
    where += f" ({row['name']!r})" if "name" in row else ""
    _check_keys(row, _FIELDS, ("name", "critique_request", "revision_request"), where)
    try:
        return Principle(**row)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}.") from error


def _check_keys(data: Mapping[Any, Any], known: tuple[str, ...], required: tuple[str, ...], where: str) -> None:
    if unknown := [key for key in data if key not in known]:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; the known ones are {', '.join(known)}.")
    if missing := [key for key in required if key not in data]:
        raise ValueError(f"{where}: `{missing[0]}` is missing.")


def _version(version: Any, source: str) -> str:
    # YAML reads 1.10 as the number 1.1: another version.
    if isinstance(version, bool) or not isinstance(version, str | int):
        raise TypeError(f'{source}: `version` should be text, got {version!r}; quote it: version: "1.10".')
    return str(version)
