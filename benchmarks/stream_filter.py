"""What filters on a stream let through, lose, delay and cost.

    python benchmarks/stream_filter.py [--quick]

- leaks and losses: 500 streams with a forbidden span planted in harmless text (the project's own answers), written in a disguise
  (full width, other cases, letters taken apart, characters that cannot be seen), and cut at random chunk borders, within letters and
  their marks too. How many let the span out, as a reader would read it, and in how many is any harmless character missing or changed.
  500 harmless ones beside them. Target: none of either.
- delay: characters that have come and not left, after each chunk of a token's size, while harmless text streams: mean and 99th
  percentile, by what is looked for. A character always waits for the next, since a mark might stand on it.
- cost: microseconds of CPU time a character, and for a chunk (99th percentile); filters of a gateway run beside its event loop.

Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import time
import unicodedata
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

NAMES = ["blue heron", "secret plan", "Projekt Größe", "爆弾", "café noir"]
PERSONAL = ["ada.b@example.org", "+49 30 1234567", "4111 1111 1111 1111", "DE89370400440532013000", "10.20.30.40"]


def texts() -> list[str]:
    from rlhf_ext import assistant_preferences

    return [row["chosen"][-1]["content"] for row in assistant_preferences("train")]


def disguised(rng: random.Random, text: str) -> str:
    found = ""
    for letter in text:
        kind = rng.random()
        if kind < 0.15 and "!" <= letter <= "~":
            letter = chr(ord(letter) + 0xFEE0)
        elif kind < 0.3:
            letter = letter.upper()
        elif kind < 0.4:
            letter = unicodedata.normalize("NFD", letter)
        found += letter
        if rng.random() < 0.15:
            found += rng.choice(["\u200b", "\u200d", "\u00ad", "\ufeff", "\u0336", "\ufe0f", "\u2060"])
    return found


def read(text: str) -> str:
    """What a reader sees, by another way than the filters' own."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in plain if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
    return re.sub(r"\s+", " ", plain)


def cut(rng: random.Random, text: str) -> list[str]:
    places = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(1, max(2, len(text) // 4))))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def leaks(harmless: list[str], count: int) -> dict[str, int]:
    from rlhf_ext.deployment.filters import FilterSet, SpanFilter, StreamFilter, personal_data, words

    filters = FilterSet([SpanFilter("personal", personal_data()), SpanFilter("names", words(NAMES, "name"))])
    found = {"streams": count, "leaks": 0, "altered": 0, "harmless altered": 0, "harmless held": 0}
    for seed in range(count):
        rng = random.Random(seed)
        text, planted = rng.choice(harmless), rng.choice(NAMES + PERSONAL)
        place = rng.randint(0, len(text))
        before, after = text[:place] + " : ", " ; " + text[place:]
        stream = StreamFilter(filters)
        left = "".join([stream.push(c) for c in cut(rng, before + disguised(rng, planted) + after)]) + stream.finish()
        found["leaks"] += read(planted) in read(left)
        whole = left.startswith(before) and left.endswith(after)
        found["altered"] += not (whole and re.fullmatch(r"\[\w+\]", left[len(before) : len(left) - len(after)]))
        stream = StreamFilter(filters)
        left = "".join([stream.push(c) for c in cut(rng, text)]) + stream.finish()
        found["harmless altered"] += left != text
        found["harmless held"] += stream.held > 0
    return found


def delay(filters: Any, harmless: list[str]) -> dict[str, float]:
    import numpy as np

    from rlhf_ext.deployment.filters import StreamFilter

    held, took, characters = [], [], 0
    for text in harmless:
        stream = StreamFilter(filters)
        for chunk in re.findall(r"\s?\w{1,6}|\s|[^\w\s]", text):
            begun = time.thread_time()
            stream.push(chunk)
            took.append(time.thread_time() - begun)
            held.append(stream.held)
            characters += len(chunk)
        stream.finish()
    return {
        "held, mean": float(np.mean(held)),
        "held, 99 %": float(np.quantile(held, 0.99)),
        "us a character": 1e6 * sum(took) / characters,
        "us a chunk, 99 %": 1e6 * float(np.quantile(took, 0.99)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 streams, which show no more than that it runs")
    quick = parser.parse_args().quick
    from rlhf_ext.deployment.filters import Filter, FilterSet, SpanFilter, personal_data, words

    harmless = texts()[: 20 if quick else 300]
    rng = random.Random(0)
    many = ["".join(rng.choice("bcdfghjklmnpqrstvwxz") + rng.choice("aeiou") for _ in range(4)) for _ in range(2_000)]
    sets = {
        "no filter": FilterSet(),
        "5 names": FilterSet([SpanFilter("names", words(NAMES))]),
        "2,000 words": FilterSet([SpanFilter("words", words(many))]),
        "e-mail": FilterSet([SpanFilter("mail", personal_data(["email"]))]),
        "all personal data": FilterSet([SpanFilter("personal", personal_data())]),
        "a score, by sentences": FilterSet(
            [Filter("score", lambda completions, **_: [0.0] * len(completions), at_most=1)]
        ),
    }
    results: dict[str, Any] = {"planted": leaks(harmless, 20 if quick else 500)}
    results |= {name: delay(filters, harmless) for name, filters in sets.items()}
    for name, found in results.items():
        shown = "   ".join(
            f"{what} {value if isinstance(value, int) else f'{value:.1f}'}" for what, value in found.items()
        )
        sys.stdout.write(f"{name:<24}{shown}\n")
    sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
