"""Regular expressions for texts that are not there yet: where a match might still begin.

A stream may let go only of what no match can begin in, whatever comes. For that a second expression is made from the first: it
matches what could be the beginning of a match, up to the end of what has come. For `ab?c` that is `a`, `ab` and `abc`. Python's
`re` runs both; nothing is approximated but lookaround at the very end, which counts as fulfilled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from .folding import fold

LONGEST = 20_000
"""Characters that a match may have at most: so long a text can be held back."""


_NEAR = 64


class BoundedPattern:
    """A regular expression whose matches are bounded, matched against folded text ([`~folding.fold`]).

    Args:
        pattern (`str`):
            For Python's `re`, case not minded. Repetition must be bounded (`{1,64}`, not `*` or `+`); lookaround may look at
            one character; there are no anchors (`^`, `$`), back references or flags.

    Raises:
        ValueError: If it is no pattern, or not such a one; it says what to write instead.

    Example:
    ```python
    >>> from rlhf_ext.deployment.filters.patterns import BoundedPattern

    >>> pattern = BoundedPattern(r"\\bcode \\d{4}\\b")
    >>> pattern.longest, pattern.may_begin("the cod", 0), pattern.may_begin("the cow", 0)
    (9, 4, 7)

    ```
    """

    def __init__(self, pattern: str):
        try:
            tree = parser.parse(pattern, re.IGNORECASE)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}.") from error
        if tree.state.flags & ~(re.IGNORECASE | re.UNICODE):
            raise ValueError(
                f"{pattern!r} sets flags: patterns are matched without regard to case, and with no other flag."
            )
        self.pattern = pattern
        shortest, self.longest = (int(width) for width in tree.getwidth())
        _check(pattern, tree)
        if shortest < 1:
            raise ValueError(f"{pattern!r} matches nothing at all (the empty text), which is everywhere.")
        if self.longest > LONGEST:
            raise ValueError(
                f"{pattern!r} can match {self.longest:,} characters, and a stream would have to hold them back. Bound the repetition, "
                f"{{1,64}} in place of + or *, to {LONGEST:,} in all."
            )
        self._match = re.compile(pattern, re.IGNORECASE)
        self._begin = re.compile(_beginnings(list(tree)), re.IGNORECASE)

    def search(self, text: str, start: int, before: int) -> tuple[int, int] | None:
        """The first match that begins at `start` or later, but before `before`; lookbehind sees what stands before `start`."""
        if before - start > _NEAR:
            found = self._match.search(text, start)
            return None if found is None or found.start() >= before else found.span()
        # A search would go on behind `before`, where long beginnings of matches may wait: each time anew.
        for place in range(start, before):
            if (found := self._match.match(text, place)) is not None:
                return found.span()
        return None

    def may_begin(self, text: str, start: int) -> int:
        """The first place from `start` where a match may begin that what comes after `text` decides; its end if there is none."""
        start = max(start, len(text) - self.longest)
        found = self._begin.search(text, start)
        return len(text) if found is None else found.start()


def any_of(words: Sequence[str]) -> str:
    """A pattern that matches any of the words, folded, longest first; made as a tree, so that thousands of them stay quick.

    White space in a word matches any white space, of up to four characters.
    """
    tree: dict[str, Any] = {}
    for word in words:
        branch = tree
        for character in re.sub(r"\s+", " ", fold(word)).strip():
            branch = branch.setdefault(character, {})
        branch[""] = {}
    return _branches(tree)


def _branches(tree: dict[str, Any]) -> str:
    # The end of a word comes last: of "secret" and "secretary" the longer is tried first.
    parts = [(r"\s{1,4}" if c == " " else re.escape(c)) + _branches(rest) for c, rest in tree.items() if c]
    if "" in tree:
        parts.append("")
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def _check(pattern: str, tree: Any) -> None:
    """Refuses what cannot be decided on a stream."""
    for op, argument in tree:
        if op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
            if argument[1] == ops.MAXREPEAT:
                raise ValueError(
                    f"{pattern!r} repeats without bound, and a stream would be held back without bound. Write how often at most: "
                    "{1,64} in place of +, {0,64} in place of *."
                )
            _check(pattern, argument[2])
        elif op is ops.BRANCH:
            for branch in argument[1]:
                _check(pattern, branch)
        elif op is ops.SUBPATTERN:
            if argument[1] or argument[2]:
                raise ValueError(
                    f"{pattern!r} sets flags for a part: patterns are matched without regard to case, with no other flag."
                )
            _check(pattern, argument[3])
        elif op in (ops.ASSERT, ops.ASSERT_NOT):
            if argument[1].getwidth()[1] > 1:
                raise ValueError(
                    f"{pattern!r} looks ahead or back by more than one character, which a stream may not have yet."
                )
            _check(pattern, argument[1])
        elif op is ops.AT and argument not in (ops.AT_BOUNDARY, ops.AT_NON_BOUNDARY):
            raise ValueError(
                f"{pattern!r} has an anchor (^, $, \\A or \\Z), and a stream has no lines to speak of. Use \\b."
            )
        elif op in (ops.LITERAL, ops.NOT_LITERAL):
            _check_letter(pattern, chr(argument))
        elif op is ops.IN:
            for kind, member in argument:
                if kind is ops.LITERAL:
                    _check_letter(pattern, chr(member))
        elif op not in (ops.AT, ops.ANY):
            raise ValueError(
                f"{pattern!r} has a back reference, a condition or a possessive part, which a stream cannot have."
            )


def _check_letter(pattern: str, letter: str) -> None:
    if not letter.isascii() and fold(letter) != letter.lower():
        raise ValueError(
            f"{pattern!r} has {letter!r}, which never stands in folded text: there it is {fold(letter)!r}. Write that instead."
        )


def _beginnings(tree: list[Any]) -> str:
    """An expression for all beginnings of matches of a part, up to the end of the text; the whole and the empty one among them."""
    if not tree:
        return r"\Z"
    (op, argument), rest = tree[0], tree[1:]
    first, after = _written([tree[0]]), _beginnings(rest)
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
        _, most, part = argument
        # Some whole turns and the beginning of another, or all turns and the beginning of what follows.
        own = f"(?:{_written(list(part))}){{0,{most - 1}}}{_group(_beginnings(list(part)))}" if most else r"\Z"
    elif op is ops.BRANCH:
        own = "|".join(_beginnings(list(branch)) for branch in argument[1])
    elif op is ops.SUBPATTERN:
        own = _beginnings(list(argument[3]))
    else:
        own = r"\Z"
    if not rest and op in (ops.BRANCH, ops.SUBPATTERN):
        return _group(own)  # the whole part is among its beginnings
    if not rest and own == r"\Z":
        return f"{_group(first)}?{own}"
    return f"(?:{own}|{first}{_group(after)})"


def _group(pattern: str) -> str:
    return f"(?:{pattern})"


def _written(tree: list[Any]) -> str:
    """A parsed part, written out again."""
    return "".join(_written_one(op, argument) for op, argument in tree)


def _written_one(op: Any, argument: Any) -> str:
    if op is ops.LITERAL:
        return re.escape(chr(argument))
    if op is ops.NOT_LITERAL:
        return f"[^{_member(ops.LITERAL, argument)}]"
    if op is ops.ANY:
        return "."
    if op is ops.IN:
        return f"[{''.join(_member(kind, member) for kind, member in argument)}]"
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
        least, most, part = argument
        return f"(?:{_written(list(part))}){{{least},{most}}}{'?' if op is ops.MIN_REPEAT else ''}"
    if op is ops.BRANCH:
        return f"(?:{'|'.join(_written(list(branch)) for branch in argument[1])})"
    if op is ops.SUBPATTERN:
        return f"(?:{_written(list(argument[3]))})"
    if op is ops.AT:
        return r"\b" if argument is ops.AT_BOUNDARY else r"\B"
    back = "<" if argument[0] < 0 else ""
    return f"(?{back}{'=' if op is ops.ASSERT else '!'}{_written(list(argument[1]))})"


_CATEGORIES = {
    ops.CATEGORY_DIGIT: r"\d",
    ops.CATEGORY_NOT_DIGIT: r"\D",
    ops.CATEGORY_SPACE: r"\s",
    ops.CATEGORY_NOT_SPACE: r"\S",
    ops.CATEGORY_WORD: r"\w",
    ops.CATEGORY_NOT_WORD: r"\W",
}


def _member(kind: Any, member: Any) -> str:
    """One member of a character class."""
    if kind is ops.NEGATE:
        return "^"
    if kind is ops.CATEGORY:
        return _CATEGORIES[member]
    if kind is ops.RANGE:
        return f"\\U{member[0]:08x}-\\U{member[1]:08x}"
    return f"\\U{member:08x}"
