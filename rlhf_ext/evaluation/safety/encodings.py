"""Texts as a jailbreak hides them, and back: base64, rot13, leetspeak."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Iterator

_LEET = str.maketrans({"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"})
_UNLEET = str.maketrans({"4": "a", "3": "e", "1": "i", "0": "o", "5": "s", "7": "t"})
_LEET_WORD = re.compile(r"\b(?:1\b|(?=[\d'’]*[a-z])[a-z\d'’]+)", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_COMMON = re.compile(
    r"\b(?:a|and|are|as|be|but|by|can|do|for|from|have|how|i|if|in|is|it|me|my|not|of|on|or|so|that|the|this|to|was|we|what|"
    r"will|with|you|your)\b",
    re.IGNORECASE,
)


def to_base64(text: str) -> str:
    """The text in base64."""
    return base64.b64encode(text.encode()).decode()


def from_base64(text: str) -> str:
    """The text with every stretch that decodes to printable words replaced by them."""

    def decoded(match: re.Match[str]) -> str:
        words = _decode(match[0])
        return words if words is not None and words.isprintable() and words.strip() else match[0]

    return _BASE64.sub(decoded, text)


def base64_readings(text: str) -> Iterator[str]:
    """Whatever the stretches of base64 in a text may decode to, wherever in a stretch the code begins: for searching in."""
    for stretch in {found for source in (text, "".join(text.split())) for found in _BASE64.findall(source)}:
        code = stretch.rstrip("=").translate(_STANDARD)
        for start in range(4):
            whole = code[start : start + (len(code) - start) // 4 * 4]
            yield base64.b64decode(whole).decode("latin-1")
            if rest := code[start + len(whole) :]:
                with_rest = whole + rest + "=" * (-len(rest) % 4)
                if len(rest) > 1:
                    yield base64.b64decode(with_rest).decode("latin-1")


def rot13(text: str) -> str:
    """Letters moved by 13: there and back."""
    return codecs.encode(text, "rot13")


def to_leetspeak(text: str) -> str:
    """Some letters as digits that look like them."""
    return text.lower().translate(_LEET)


def from_leetspeak(text: str) -> str:
    """Digits within words as the letters they look like, and a lone 1 as "i"; other numbers stay."""
    return _LEET_WORD.sub(lambda word: word[0].translate(_UNLEET), text)


def more_english(first: str, second: str) -> str:
    """Of two readings of a text the one with more common English words; the first where neither has."""
    return second if len(_COMMON.findall(second)) > len(_COMMON.findall(first)) else first


def _decode(code: str) -> str | None:
    code = code.rstrip("=").translate(_STANDARD)
    try:
        return base64.b64decode(code + "=" * (-len(code) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


_STANDARD = str.maketrans("-_", "+/")
