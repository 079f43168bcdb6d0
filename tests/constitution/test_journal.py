import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf_ext.constitution import critique_and_revise
from rlhf_ext.data.journal import Journal

from .helpers import Judge, named, obedient

DRIVER = Path(__file__).with_name("kill_driver.py")
PROMPTS = ["Why is the sky blue?", "How do magnets work?", "Who wrote Hamlet?"]


def run(store, generator=None, prompts=PROMPTS, rounds=2, constitution=None, **options):
    constitution = constitution or named("tone", "truth", "brevity")
    return critique_and_revise(
        generator or obedient(), prompts, constitution, rounds, store=store, progress=False, **options
    )


@pytest.fixture
def store(tmp_path):
    return tmp_path / "deep" / "store.jsonl"


def test_the_same_call_asks_nothing_again(store):
    judge = Judge(lambda *row: 0.9)
    whole = run(store, judge=judge)
    content, again, silent = store.read_bytes(), obedient(), Judge(lambda *row: 0.9)
    assert run(store, again, judge=silent) == whole
    assert not again.calls and not silent.calls and store.read_bytes() == content


def test_from_any_byte_on_it_goes_to_the_same_end_and_asks_only_for_what_is_missing(store):
    whole = run(store)
    content = store.read_bytes()
    ends = [n + 1 for n, byte in enumerate(content) if byte == ord("\n")]
    stages = [json.loads(line).get("stage") for line in content.splitlines()]
    assert stages == [None, "answers", *["critiques", "revisions", "relevance"] * 2]
    paid = [end for end, stage in zip(ends, stages, strict=True) if stage not in (None, "relevance")]
    cuts = {0, 1, 20, *ends, *(end - 1 for end in ends), *random.Random(0).sample(range(len(content)), 40)}
    for cut in sorted(cuts):
        store.write_bytes(content[:cut])
        model = obedient()
        assert run(store, model) == whole
        assert store.read_bytes() == content
        assert len(model.batches) == sum(end > cut for end in paid)


def test_prompts_can_be_added_and_come_in_any_order(store):
    whole, model = run(store), obedient()
    more = run(store, model, ["New?", *reversed(PROMPTS), PROMPTS[0]])
    assert more.rows[1:4] == whole.rows[::-1]
    assert model.requests("answer") == ["New?", PROMPTS[0]]  # the second time is another row


def test_another_run_is_refused_by_what_differs(store):
    run(store)
    content = store.read_bytes()
    others = {
        "constitution": {"constitution": named("tone")},
        "rounds": {"rounds": 3},
        "patience": {"patience": 1},
        "seed": {"seed": 1},
        "sampling": {"temperature": 0.5},
        "first answers": {"responses": ["a", "b", "c"]},
        "judge": {"judge": Judge(lambda *row: 0.9)},
        "min_relevance": {"min_relevance": 0.3},
        "relevance": {"relevance": lambda prompts, completions, **columns: [1.0] * len(prompts)},
    }
    for name, options in others.items():
        model = obedient()
        with pytest.raises(
            FileExistsError, match=f"store.jsonl is the store of another run: there `{name}` is .*, now it is"
        ):
            run(store, model, **options)
        assert not model.calls and store.read_bytes() == content
    with pytest.raises(FileExistsError, match="there `model` is None, now it is 'tiny'"):
        run(store, model="tiny")


@pytest.mark.parametrize("content", [b"hello", b'{"prompt": "x"}\n', b"\n", b"\x00" * 9])
def test_a_file_of_another_kind_is_left_alone(store, content):
    store.parent.mkdir()
    store.write_bytes(content)
    with pytest.raises(FileExistsError, match="store.jsonl is no store of revisions"):
        run(store)
    assert store.read_bytes() == content


def test_damage_in_the_middle_is_named(store):
    run(store)
    lines = store.read_bytes().splitlines(keepends=True)
    store.write_bytes(b"".join([*lines[:2], b'{"stage": \n', *lines[3:]]))
    with pytest.raises(ValueError, match=r"store.jsonl line 3 is damaged"):
        run(store)


def test_two_processes_do_not_share_a_store(store):
    with (
        Journal(store, {"a": 1}, "revisions"),
        pytest.raises(BlockingIOError, match=r"Another process is writing the store .*store.jsonl"),
    ):
        Journal(store, {"a": 1}, "revisions")
    with Journal(store, {"a": 1}, "revisions"):
        pass


def test_an_error_keeps_what_was_answered_before_it(store):
    def fail(request):
        raise RuntimeError("no connection")

    broken, model = obedient(revise=fail), obedient()
    with pytest.raises(RuntimeError, match="no connection"):
        run(store, broken)
    run(store, model)
    assert model.batches == [("revise", 3), ("critique", 3), ("revise", 3)]


def test_without_a_store_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(None)
    assert not list(tmp_path.iterdir())


def test_texts_of_any_kind_survive(store):
    odd = "\u2028 \x85 \r\n \U0001f600 \x00 \udc80 end"
    with Journal(store, {}, "revisions") as journal:
        journal.ask("s", 1, ["k"], lambda asked: [odd])
    with Journal(store, {}, "revisions") as journal:
        assert journal.ask("s", 1, ["k"], lambda asked: pytest.fail("asked again")) == [odd]


def test_killed_at_random_points_it_ends_the_same_and_pays_for_a_call_in_flight_at_most(tmp_path):
    result = subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path), "7"], capture_output=True, text=True, check=True, timeout=100
    )
    kills = int(result.stdout)
    assert kills >= 10
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    for name in ("out.json", "store.jsonl"):
        assert (rough / name).read_bytes() == (calm / name).read_bytes()
    asked = [(folder / "asked").read_text().splitlines() for folder in (calm, rough)]
    assert set(asked[0]) == set(asked[1]) and len(set(asked[0])) == len(asked[0])
    assert len(asked[0]) < len(asked[1]) <= len(asked[0]) + kills
    assert json.loads(asked[0][0])[1] == 8
