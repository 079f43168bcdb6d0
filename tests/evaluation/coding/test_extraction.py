"""The code in answers of chat models, of base models, and of those that cannot decide."""

import pytest

from rlhf_ext.evaluation.coding import extract_code

PREFIX = 'from typing import List\n\n\ndef helper(x):\n    return x\n\n\ndef add(a: int, b: int) -> int:\n    """Adds.\n    >>> add(1, 2)\n    3\n    """\n'
BEFORE = PREFIX[: PREFIX.index("def add")]
ADD = "def add(a, b):\n    return a + b\n"


def result(code, call="add(1, 2)"):
    """What the code does: extraction is right where the program is."""
    space = {}
    exec(code, space)
    return eval(call, space)


FENCED = {
    "one block": f"Sure:\n```python\n{ADD}```\nIt adds.",
    "without a language": f"```\n{ADD}```",
    "the last that defines it": f"```python\ndef add(a, b):\n    return 0\n```\nBetter:\n```python\n{ADD}```\nUse:\n```python\nprint(add(1, 2))\n```",
    "never closed": f"```python\n{ADD}",
    "beside a shell": f"```python\n{ADD}```\n```bash\npython add.py\n```",
    "with another function": f"```python\nimport math\ndef double(x):\n    return 2 * x\n\n{ADD}\nprint(add(1, 1))\n```",
    "inside a list": "1. So:\n   ```python\n   def add(a, b):\n       return a + b\n   ```",
}


@pytest.mark.parametrize("name", FENCED)
@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_fenced_blocks(name, prefix):
    code = extract_code(FENCED[name], prefix, "add")
    assert result(code) == 3
    assert ("def helper" in code) == bool(prefix)


def test_a_block_with_the_body_alone_goes_on_with_the_prefix():
    assert result(extract_code("```python\n    return a + b\n```", PREFIX, "add")) == 3
    assert result(extract_code("```python\nreturn a + b\n```", PREFIX, "add")) == 3


def test_the_prefixs_imports_and_helpers_stand_before_what_repeats_its_function():
    answer = "```python\ndef add(a: List, b) -> int:\n    return helper(a) + b\n```"
    assert result(extract_code(answer, PREFIX, "add")) == 3
    with pytest.raises(NameError):
        result(extract_code(answer, "", "add"))


CONTINUED = {
    "the body": "    return a + b\n",
    "the body and more": "    return a + b\n\n\ndef other():\n    return 1\n\nprint(add(1, 2))\n",
    "the body and a class": "    return a + b\nclass Other:\n    x = 1\n",
    "the body and a main part": "    if a:\n        return a + b\n    return b\n\nif __name__ == '__main__':\n    input()\n",
    "the body and prose": "    return a + b\n\nThis function adds.",
    "the body, stripped": "return a + b",
    "the body, stripped, with a block": "if a > 0:\n        return a + b\n    return b",
    "the body without any indentation": "total = a\nfor _ in [b]:\n    total += b\nreturn total",
    "the body without any indentation, a block first": "for _ in [b]:\n    a += b\nreturn a",
    "after blank lines": "\n\n    return a + b",
    "with a nested function": "    def inner(x):\n        return x + b\n\n    return inner(a)\n",
    "with the signature again": f"{ADD}\nprint(add(1, 2))\n",
    "with all of it again": PREFIX + "    return a + b\n\nassert add(1, 2) == 3\n",
    "with a helper before the signature": "import math\ndef add(a, b):\n    return math.floor(a) + b\n",
    "signature after prose": f"Here is the function:\n\n{ADD}\nIt takes two numbers.",
}


@pytest.mark.parametrize("name", CONTINUED)
def test_answers_without_a_block(name):
    code = extract_code(CONTINUED[name], PREFIX, "add")
    assert result(code) == 3
    for after in ("print(", "def other", "class Other", "__main__", "This", "It takes", "Here"):
        assert after not in code


def test_words_without_a_prefix():
    assert extract_code("I cannot do that, sorry.") is None
    assert extract_code("") is None and extract_code("", PREFIX, "add") is None
    assert extract_code("```bash\nls\n```") is None
    assert result(extract_code(f"Here you go.\n\n{ADD}\nprint(add(1, 2))\nBye.", entry_point="add")) == 3
    assert extract_code("import sys\n\nfor line in sys.stdin:\n    print(line)") is not None
    assert extract_code("n = int(input())\nprint(n)") == "n = int(input())\nprint(n)"
    assert extract_code("def main():\n    x()\n\nThat is all.") == "def main():\n    x()\n"


def test_a_class_or_an_assigned_function_is_an_entry_point():
    answer = "```python\nclass Stack:\n    pass\n```\n```python\nStack()\n```"
    assert extract_code(answer, entry_point="Stack") == "class Stack:\n    pass\n"
    assert extract_code("```python\nadd = max\n```\n```\nx\n```", entry_point="add") == "add = max\n"


def test_a_name_that_only_begins_alike_is_another():
    answer = f"```python\n{ADD}```\n```python\ndef add_all(x):\n    return 1\n```"
    assert result(extract_code(answer, entry_point="add")) == 3
