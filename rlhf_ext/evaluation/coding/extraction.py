"""The code in an answer: a fenced block, a continuation of a prompt, or code among prose."""

from __future__ import annotations

import re

from ...rewards.functions.blocks import blocks
from ...rewards.functions.code import PYTHON

_STARTS = re.compile(r"(def|async def|class|import|from)\s|@\w")
"""How a line of code begins that no prose begins with."""
_CODE = re.compile(
    r"(def|async def|class|import|from|if|for|while|with|try|else|elif|except|finally|return|raise|assert|del|global|print)\b[\s\w(:\"'\[{-]"
    r"|(else|try|finally):|[@#)\]}]|'''|\"\"\"|[A-Za-z_][\w.\[\]'\", ]*\s*(:[^=]+)?[-+*/|&^%]?=[^=]|[A-Za-z_][\w.]*\(.*\)\s*$"
)
"""How a line of code may begin."""


def extract_code(answer: str, prefix: str = "", entry_point: str = "") -> str | None:
    """The program in an answer.

    - With fenced Python blocks: the last one that defines `entry_point`, or else the last. One that is never closed counts.
    - Without: from the first line that defines `entry_point` (or with none, the first that defines or imports anything)
      to where code ends: prose, a call at the top level such as `print(...)`, `if __name__ == ...`.
    - With a `prefix` and neither: the answer continues it, up to the first line that is not indented (the next `def`,
      `class`, `if __name__`, `print`), as base models answer HumanEval's prompts.

    The imports and helpers of the prefix stand before code that repeats its function. Nothing of an answer is run or compiled.

    Args:
        answer (`str`):
            What a model wrote.
        prefix (`str`, *optional*):
            Code that it was to complete, the signature of `entry_point` in it.
        entry_point (`str`, *optional*):
            The function that it was to write.

    Returns:
        `str` or `None`: the code, `None` where there is none.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.coding import extract_code
    >>> extract_code("Sure!\\n~~~python\\ndef one():\\n    return 1\\n~~~\\nDone.")
    'def one():\\n    return 1\\n'
    >>> extract_code("    return a + b\\n\\nprint(add(1, 2))", "def add(a, b):\\n", "add")
    'def add(a, b):\\n    return a + b\\n'

    ```
    """
    fenced = blocks(answer, PYTHON, unclosed=True)
    if fenced:
        defining = [block for block in fenced if entry_point and _definition(entry_point).search(block)]
        return _with_prefix((defining or fenced)[-1], prefix, entry_point)
    lines = answer.splitlines()
    starts = _definition(entry_point) if entry_point and _definition(entry_point).search(answer) else _STARTS
    first = next((place for place, line in enumerate(lines) if starts.match(line)), None)
    if first is not None and (starts is not _STARTS or not prefix):
        while starts is not _STARTS and first and _CODE.match(lines[first - 1]):  # imports and helpers before it
            first -= 1
        return _with_prefix(_upto_prose(lines[first:]), prefix, entry_point)
    if prefix:
        return prefix + _body(lines) if answer.strip() else None
    code = [line for line in lines if line.strip()]
    return answer if code and all(line[0].isspace() or _CODE.match(line) for line in code) else None


def _definition(name: str) -> re.Pattern[str]:
    return re.compile(rf"^(async def|def|class)\s+{re.escape(name)}\b|^{re.escape(name)}\s*=", re.MULTILINE)


def _with_prefix(code: str, prefix: str, entry_point: str) -> str:
    """Code that repeats the function after what comes before it in the prefix; a bare body after all of it."""
    if not prefix:
        return code
    if (own := _definition(entry_point).search(prefix)) and _definition(entry_point).search(code):
        return f"{prefix[: own.start()]}\n{code}"
    return prefix + _body(code.splitlines())


def _body(lines: list[str]) -> str:
    """The body of a function up to the first line that is not indented, indented where the answer left that out."""
    while lines and not lines[0].strip():
        lines = lines[1:]
    if lines and not lines[0][0].isspace():
        following = next((line for line in lines[1:] if line.strip()), "")
        depth = len(following) - len(following.lstrip())
        opens = lines[0].rstrip().endswith(":")
        # Of a text that was stripped the first line alone has lost its indentation; else the whole body has.
        whole = depth == 0 or (opens and depth < 8)
        lines = [f"    {line}" if whole or not place else line for place, line in enumerate(lines)]
    kept = []
    for line in lines:
        if line.strip() and not line[0].isspace():
            break
        kept.append(line)
    return "\n".join(kept).rstrip() + "\n"


def _upto_prose(lines: list[str]) -> str:
    kept: list[str] = []
    for place, line in enumerate(lines):
        top = bool(line) and not line[0].isspace()
        if top and place and (not _CODE.match(line) or re.match(r"if __name__\b|print\(", line)):
            break
        kept.append(line)
    return "\n".join(kept).rstrip() + "\n"
