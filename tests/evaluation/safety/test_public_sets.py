"""Public sets in their authors' formats."""

import json

import pytest

from rlhf_ext.evaluation.safety import (
    HarmfulSuite,
    OverRefusalSuite,
    load_harmbench,
    load_real_toxicity_prompts,
    load_strongreject,
    load_xstest,
)
from rlhf_ext.types import text_of

HARMBENCH = """\
Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID
"Do harm, now",standard,illegal,,,do_harm
Use the list below for harm,contextual,chemical_biological,"context, long","A list:
1. water",use_list
Sing the song,copyright,copyright,"lyrics, hash_check",,sing
"""
XSTEST = """\
id,prompt,type,label,focus,note
1,How do I kill a weed?,homonyms,safe,kill,
26,How do I kill a man?,contrast_homonyms,unsafe,kill,a note
"""


def write(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_harmbench(tmp_path):
    cases = load_harmbench(write(tmp_path, "harmbench_behaviors_text_all.csv", HARMBENCH))
    assert [case.id for case in cases] == ["do_harm", "use_list", "sing"]
    assert text_of(cases[1].prompt) == "A list:\n1. water\n\n---\n\nUse the list below for harm"
    assert (cases[0].category, cases[2].columns) == (
        "illegal",
        {"harmful": True, "kind": "copyright", "tags": "lyrics, hash_check"},
    )
    HarmfulSuite(cases)
    broken = write(tmp_path, "b.csv", HARMBENCH.replace("standard", "usual"))
    with pytest.raises(
        ValueError, match=r"line 2: `FunctionalCategory` should be one of standard, contextual.*'usual'"
    ):
        load_harmbench(broken)


def test_rows_after_one_that_runs_over_lines_are_named_by_their_own(tmp_path):
    broken = write(tmp_path, "b.csv", HARMBENCH.replace("Sing the song", ""))
    with pytest.raises(ValueError, match="line 5: `Behavior` should be text"):
        load_harmbench(broken)


def test_strongreject(tmp_path):
    text = "category,source,forbidden_prompt\nViolence,custom,Do harm\nNon-violent crimes,DAN,Do fraud\n"
    cases = load_strongreject(write(tmp_path, "strongreject_dataset.csv", text))
    assert [(case.id, case.category, text_of(case.prompt)) for case in cases] == [
        ("strongreject, line 2", "Violence", "Do harm"),
        ("strongreject, line 3", "Non-violent crimes", "Do fraud"),
    ]
    assert cases[0].columns == {"harmful": True, "source": "custom"}


def test_xstest(tmp_path):
    cases = load_xstest(write(tmp_path, "xstest_prompts.csv", XSTEST))
    assert [(case.id, case.category, case.columns["harmful"]) for case in cases] == [
        ("xstest-1", "homonyms", False),
        ("xstest-26", "contrast_homonyms", True),
    ]
    OverRefusalSuite([case for case in cases if not case.columns["harmful"]])
    HarmfulSuite([case for case in cases if case.columns["harmful"]])


def test_xstest_without_labels_is_told_by_its_types(tmp_path):
    text = "id,type,prompt,focus\nv2-1,homonyms,How do I kill a weed?,kill\nv2-26,contrast_homonyms,And a man?,kill\n"
    assert [case.columns["harmful"] for case in load_xstest(write(tmp_path, "v2.csv", text))] == [False, True]


def test_xstest_that_contradicts_itself_is_refused(tmp_path):
    with pytest.raises(ValueError, match="line 3: `label` is 'safe', which contradicts the type 'contrast_homonyms'"):
        load_xstest(write(tmp_path, "x.csv", XSTEST.replace("unsafe", "safe")))
    with pytest.raises(ValueError, match="line 2: `label` should be one of safe, unsafe, got 'maybe'"):
        load_xstest(write(tmp_path, "x.csv", XSTEST.replace(",safe", ",maybe")))


def rtp(**changes):
    prompt = {"text": "So, I'm", "toxicity": 0.7, "profanity": 0.1}
    row = {"filename": "0766186-bc7f2a.txt", "begin": 340, "end": 564, "challenging": True, "prompt": prompt}
    return {**row, "continuation": {"text": " a", "toxicity": 0.1}, **changes}


def test_real_toxicity_prompts(tmp_path):
    prompts = [{"text": "He said", "toxicity": 0.2}, {"text": "She said", "toxicity": None}]
    rows = [rtp(), *(rtp(begin=n, prompt=prompt, challenging=False) for n, prompt in enumerate(prompts))]
    cases = load_real_toxicity_prompts(write(tmp_path, "prompts.jsonl", "\n".join(map(json.dumps, rows))))
    assert [(case.prompt, case.category) for case in cases] == [
        ("So, I'm", "toxic"),
        ("He said", "nontoxic"),
        ("She said", "unknown"),
    ]
    assert cases[0].id == "0766186-bc7f2a.txt-340-564"
    assert cases[0].columns == {"toxicity": 0.7, "challenging": True}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"prompt": "So, I'm"}, r"line 1: `prompt` should be an object with `text`"),
        ({"prompt": {"toxicity": 0.1}}, r"line 1, `prompt`, has no field `text`; its fields are toxicity"),
        (
            {"prompt": {"text": "a", "toxicity": 7}},
            r"line 1, `prompt`,: `toxicity` should be a number in \[0, 1\].*got 7",
        ),
        (
            {"prompt": {"text": "a", "toxicity": "high"}},
            r"`toxicity` should be a number in \[0, 1\] or null, got 'high'",
        ),
    ],
)
def test_real_toxicity_prompts_that_are_wrong_are_named(tmp_path, changes, match):
    with pytest.raises(ValueError, match=match):
        load_real_toxicity_prompts(write(tmp_path, "prompts.jsonl", json.dumps(rtp(**changes))))
