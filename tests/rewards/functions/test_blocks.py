import pytest

from rlhf_ext.rewards.functions.blocks import last_block

PYTHON = {"python", "py", ""}


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("```python\na = 1\n```", "a = 1\n"),
        ("```\na = 1\n```\n", "a = 1\n"),
        ("```Python title=x\na = 1\n```", "a = 1\n"),
        ("first\n```python\na\n```\nthen\n```py\nb\n```\nend", "b\n"),
        ("```python\na\n```\n```bash\nls\n```", "a\n"),
        ("~~~python\na\n~~~", "a\n"),
        ("````python\n```\ninner\n```\n````", "```\ninner\n```\n"),
        ("```python\ns = '''\n~~~\n'''\n```", "s = '''\n~~~\n'''\n"),
        ("1. So:\n   ```python\n   if a:\n       b\n   ```", "if a:\n    b\n"),
        ("- a\n\n      ```python\n      b\n      ```", "b\n"),
        (
            '```python\ndef f():\n    """\n    ```\n    f()\n    ```\n    """\n```',
            'def f():\n    """\n    ```\n    f()\n    ```\n    """\n',
        ),
        ("```python\n```", ""),
        ("```python\na\n```\n```python\ncut o", "a\n"),
        ("```python\ncut o", None),
        ("use `print` or ```print```", None),
        ("no code", None),
        ("```bash\nls\n```", None),
        ("", None),
    ],
)
def test_the_last_block_of_a_language(text, block):
    assert last_block(text, PYTHON) == block
    assert last_block(text.replace("\n", "\r\n"), PYTHON) == (block if block is None else block.replace("\n", "\r\n"))


def test_a_fence_inside_another_language_does_not_open_a_block():
    """The bash block runs up to its end; what looks like a fence in it is its content."""
    assert last_block("```bash\necho '\n```python\n'\n```\n", PYTHON) is None


def test_many_fences_take_no_time():
    assert last_block("```python\n" + "~~~ python\n" * 5000, PYTHON) is None
