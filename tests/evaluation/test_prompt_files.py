"""Prompt files: what is wrong in one is named by file, row and field."""

import json

import pytest

from rlhf_ext.evaluation.prompt_files import Rows
from rlhf_ext.evaluation.safety import load_harmbench, load_strongreject
from rlhf_ext.types import text_of

HEADER = "category,source,forbidden_prompt\n"


def write(tmp_path, text, name="set.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_the_same_rows_are_read_from_each_kind_of_file(tmp_path):
    rows = [{"category": "a", "source": "b", "forbidden_prompt": f"Do {n}, please.\nNow."} for n in range(3)]
    paths = [
        write(tmp_path, HEADER + "".join(f'a,b,"Do {n}, please.\nNow."\n' for n in range(3))),
        write(tmp_path, "\n\n".join(map(json.dumps, rows)), "set.jsonl"),
        write(tmp_path, json.dumps(rows), "set.json"),
    ]
    for path in paths:
        assert [text_of(case.prompt) for case in load_strongreject(path)] == [row["forbidden_prompt"] for row in rows]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    assert load_strongreject(write(tmp_path, "\ufeff" + HEADER + "a,b,Do it.\n"))[0].category == "a"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("kind,prompt\na,b\n", r"set\.csv line 2 has no field `forbidden_prompt`; its fields are kind, prompt"),
        (
            HEADER + "a,b,Do it.\na,b,\n",
            r"set\.csv line 3: `forbidden_prompt` should be text that is not empty, got ''",
        ),
        (HEADER + "a,b\n", r"line 2: `forbidden_prompt` should be text that is not empty, got None"),
        (HEADER + "a,b,Do it, now.\n", r"line 2 has more values than the header.* is a comma not quoted"),
        (HEADER + 'a,b,"Do it.\n', r"set\.csv line 2 is not CSV: unexpected end of data"),
        (HEADER, r"set\.csv has no rows"),
        ("", r"set\.csv has no rows"),
        (
            HEADER + "a,b,Do it.\nc,d,do  IT.\n",
            r"line 2 and line 3 have the same prompt, 'do it\.'.*`duplicates='first'`",
        ),
    ],
)
def test_what_is_wrong_in_a_csv_file_is_named(tmp_path, text, match):
    with pytest.raises(ValueError, match=match):
        load_strongreject(write(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("set.jsonl", '{"category": "a"}\n{"cat', r"set\.jsonl line 2 is not JSON"),
        ("set.jsonl", "[1]", r"set\.jsonl line 1 should be an object, got \[1\]"),
        (
            "set.jsonl",
            '\n{"category": "a", "forbidden_prompt": 3}',
            r"line 2: `forbidden_prompt` should be text.*got 3",
        ),
        ("set.json", "{}", r"set\.json should hold a list of objects, got dict"),
        ("set.json", "[[]]", r"set\.json row 0 should be an object, got \[\]"),
        ("set.json", "[", r"set\.json is not JSON"),
        ("set.txt", "a", r"Cannot read .*set\.txt: expected a file that ends in \.csv, \.jsonl, \.json"),
    ],
)
def test_what_is_wrong_in_a_json_file_is_named(tmp_path, name, text, match):
    with pytest.raises(ValueError, match=match):
        load_strongreject(write(tmp_path, text, name))


def test_a_missing_file_and_another_encoding_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file: .*gone\.csv"):
        Rows.read(tmp_path / "gone.csv")
    (tmp_path / "set.csv").write_bytes(HEADER.encode() + b"a,b,caf\xe9\n")
    with pytest.raises(ValueError, match=r"set\.csv is not UTF-8"):
        Rows.read(tmp_path / "set.csv")


def test_of_duplicates_the_first_can_be_kept(tmp_path):
    path = write(tmp_path, HEADER + "a,b,Do it.\nc,d,do it.\ne,f,Do that.\n")
    assert [case.category for case in load_strongreject(path, duplicates="first")] == ["a", "e"]
    with pytest.raises(ValueError, match="`duplicates` should be 'refuse' or 'first', got 'last'"):
        load_strongreject(path, duplicates="last")


def test_two_rows_with_one_id_are_refused_even_then(tmp_path):
    rows = [
        {"Behavior": b, "FunctionalCategory": "standard", "SemanticCategory": "x", "BehaviorID": "i"} for b in "ab"
    ]
    path = write(tmp_path, json.dumps(rows), "set.json")
    with pytest.raises(ValueError, match=r"row 0 and row 1 have the same id, 'i'"):
        load_harmbench(path, duplicates="first")
