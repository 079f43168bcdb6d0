"""Personal data and secrets, by rule: what has a form of its own.

Names, addresses and dates of birth have none: for those a model must look. And what has the form of a card number without being one
(one in ten numbers of the right length and beginning has the right check digit) is taken for one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence

from .rules import Rule

_EMAIL = r"[\w.+%'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}"
_PHONE = (
    # +49 (0)30 123-456, 0049 ...; (555) 123-4567, 555-123-4567; 030 1234567
    r"(?<![\w+])(?:(?:\+|00)[1-9](?:[ .()/-]{0,3}\d){6,14}"
    r"|\(?[2-9]\d{2}\)?[ .-]{1,2}[2-9]\d{2}[.-]\d{4}"
    r"|0[1-9]\d{1,4}[ /-]{1,3}\d{2,4}(?:[ -]?\d){2,8})(?!\d)"
)
_CARD = r"(?<!\d)\d(?:[ -]?\d){12,18}"
_IBAN = r"(?<![^\W_])[a-z]{2}\d{2}(?:[ -]?[a-z0-9]){11,30}"
_IPV4 = r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w])"
_IPV6 = r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}(?:[0-9a-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])"
_KEYS = (
    r"(?<![^\W_])(?:sk-[\w-]{16,300}|(?:sk|rk|pk)_(?:live|test)_\w{16,200}|gh[opsur]_\w{30,255}|github_pat_\w{22,255}"
    r"|glpat-[\w-]{20,100}|xox[abeoprs]-[\w-]{10,300}|ak[il]a[0-9a-z]{16}|asia[0-9a-z]{16}|aiza[\w-]{35}|hf_\w{30,100}|npm_\w{36}"
    r"|rlhf_\w{20,100}|eyj[\w-]{8,3000}\.eyj[\w-]{8,6000}\.[\w-]{8,2000})"
)
_PRIVATE_KEY = (
    # A body has single hyphens in its headers alone; two end it, so that beginnings without an end are soon none.
    r"-----begin (?:[a-z0-9]{1,20} ){0,3}private key(?: block)?-----(?:[\w\s+/=:,.]{0,400}-(?!-)){0,6}[\w\s+/=:,.]{0,9000}"
    r"-----end (?:[a-z0-9]{1,20} ){0,3}private key(?: block)?-----"
)
# Beginnings and lengths of payment cards; the check digit alone lets every tenth number pass.
_ISSUERS = (
    (r"4", (13, 16, 19)),
    (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),
    (r"3[47]", (15,)),
    (r"30[0-5]|3[689]", (14, 16)),
    (r"6011|64[4-9]|65|62", (16, 17, 18, 19)),
    (r"352[89]|35[3-8]", (16, 17, 18, 19)),
    (r"50|5[6-9]|6[0-9]", (16, 19)),
)


def _prefix(valid: Callable[[str], bool], lengths: range) -> Callable[[str], int | None]:
    """The longest beginning of a match that is valid without its spaces and hyphens, and ends where a group of characters does."""

    def check(match: str) -> int | None:
        plain = [(index, c) for index, c in enumerate(match) if c not in " -"]
        for length in reversed(lengths):
            if length > len(plain):
                continue
            end = plain[length - 1][0] + 1
            ends_group = end == len(match) or match[end] in " -"
            if ends_group and valid("".join(c for _, c in plain[:length])):
                return end
        return None

    return check


def _is_card(digits: str) -> bool:
    if not digits.isascii() or not digits.isdigit():
        return False
    issued = any(len(digits) in lengths and re.match(prefix, digits) for prefix, lengths in _ISSUERS)
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return issued and sum(n - 9 * (n > 9) for n in doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    if not text.isascii():
        return False
    moved = text[4:] + text[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _ipv6(match: str) -> int | None:
    try:
        address = ipaddress.IPv6Address(match)
    except ValueError:
        return None
    # a::b is C++ as often as an address.
    return len(match) if int(address) > 1 and len(re.findall("[0-9a-f]+", match)) >= 3 else None


_RULES = {
    "private_key": Rule("private_key", _PRIVATE_KEY),
    "key": Rule("key", _KEYS),
    "email": Rule("email", _EMAIL),
    "iban": Rule("iban", _IBAN, _prefix(_is_iban, range(15, 35))),
    "card": Rule("card", _CARD, _prefix(_is_card, range(13, 20))),
    "phone": Rule("phone", _PHONE),
    "ip": Rule("ip", _IPV4),
    "ipv6": Rule("ip", _IPV6, _ipv6),
}

KINDS = ("email", "phone", "card", "iban", "ip", "key")


def personal_data(kinds: Sequence[str] = KINDS) -> list[Rule]:
    """Rules for personal data and secrets.

    Args:
        kinds (`Sequence[str]`, *optional*):
            Of `"email"`, `"phone"` (international, North American, national with an area code), `"card"` (issuers' beginnings and
            Luhn's check digit), `"iban"` (ISO 13616, check digits), `"ip"` (4 and 6), `"key"` (API keys and tokens of known forms,
            private keys); by default all.

    Returns:
        `list[Rule]`: for a [`SpanFilter`].

    Raises:
        ValueError: If a kind is unknown.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(
            f"Unknown kind of personal data {unknown[0] if unknown else ''!r}; there are {', '.join(KINDS)}."
        )
    more = {"ip": ("ip", "ipv6"), "key": ("private_key", "key")}
    return [_RULES[name] for kind in kinds for name in more.get(kind, (kind,))]
