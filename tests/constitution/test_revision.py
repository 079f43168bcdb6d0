import json

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_ext import LocalGenerator, ScriptedGenerator, assistant_preferences
from rlhf_ext.constitution import Constitution, Revisions, critique_and_revise, summarise, to_preferences, to_sft

from .helpers import Judge, Model, always, named, obedient, quoted_answer

PROMPTS = ["Why is the sky blue?", "How do magnets work?", "Who wrote Hamlet?"]


def run(generator, prompts=PROMPTS, constitution=None, rounds=2, **options):
    options.setdefault("progress", False)
    return critique_and_revise(
        generator, prompts, constitution or named("tone", "truth", "brevity"), rounds, **options
    )


def test_every_step_is_returned_in_order():
    revisions = run(obedient())
    assert [row.prompt for row in revisions] == PROMPTS
    for row in revisions:
        assert row.first == f"First answer to {row.prompt}"
        assert row.last == row.first + " Better. Better."
        assert [step.round for step in row.steps] == [1, 2]
        assert len({step.principle for step in row.steps}) == 2
        assert [(step.critique, step.verdict) for step in row.steps] == [("It could be better.", "revise")] * 2
        assert all(step.accepted for step in row.steps)
        assert (row.stopped, row.improvement, row.revised, row.objected) == ("rounds", None, True, True)
        assert row.principles == [step.principle for step in row.steps]


def test_a_round_is_three_batched_calls_and_not_three_a_prompt():
    model, judge = obedient(), Judge(lambda *row: 0.9)
    run(model, PROMPTS * 10, rounds=3, judge=judge)
    assert model.batches == [("answer", 30)] + [("critique", 30), ("revise", 30)] * 3
    assert [len(call[0]) for call in judge.calls] == [30, 30, 30, 30]  # each round, then last against first


def test_batches_hold_at_most_batch_size_prompts_and_change_nothing():
    model = obedient()
    revisions = run(model, PROMPTS, batch_size=2)
    assert (
        model.batches
        == [("answer", 2)]
        + [("critique", 2), ("revise", 2)] * 2
        + [("answer", 1)]
        + [
            ("critique", 1),
            ("revise", 1),
        ]
        * 2
    )
    assert revisions == run(obedient(), PROMPTS)


def test_given_answers_are_not_asked_for():
    model = obedient()
    messages = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    answers = ["a a a", [{"role": "assistant", "content": "b b b"}], "c c c"]
    revisions = run(model, messages, responses=answers, rounds=1)
    assert [row.first for row in revisions] == ["a a a", "b b b", "c c c"]
    assert model.requests("answer") == []
    assert run(obedient(), responses=["", "b", "c"], rounds=1)[0].last == "Better."


def test_the_seed_draws_the_principles_and_each_call_has_its_own():
    drawn = lambda revisions: [step.principle for row in revisions for step in row.steps]  # noqa: E731
    many = [f"Question {n}?" for n in range(12)]
    assert drawn(run(obedient(), many)) == drawn(run(obedient(), many))
    assert drawn(run(obedient(), many, seed=1)) != drawn(run(obedient(), many))
    # whatever stands beside it
    assert drawn(run(obedient(), many[:3])) == drawn(run(obedient(), many))[:6]
    # the same prompt twice is two rows, not one row twice
    twice = run(obedient(), ["Why?"] * 12, rounds=1)
    assert len(set(drawn(twice))) == 3
    model = obedient()
    run(model, many, batch_size=6)
    seeds = [sampling["seed"] for _, sampling in model.calls]
    assert len(set(seeds)) == len(model.batches) == 10
    again = obedient()
    run(again, many, batch_size=6)
    assert seeds == [sampling["seed"] for _, sampling in again.calls]


def test_sampling_reaches_every_call():
    model = obedient()
    run(model, temperature=0.3)
    assert {(s["temperature"], s["max_new_tokens"]) for _, s in model.calls} == {(0.3, 512)}
    model = obedient()
    run(model, max_new_tokens=9)
    assert {s["max_new_tokens"] for _, s in model.calls} == {9}


def test_the_critic_sees_the_latest_answer():
    model = obedient()
    run(model, PROMPTS[:1])
    first = f"First answer to {PROMPTS[0]}"
    assert [quoted_answer(request) for request in model.requests("critique")] == [first, first + " Better."]
    assert [request[1]["content"] for request in model.requests("revise")] == [first, first + " Better."]
    assert '"It could be better."' in model.requests("revise")[0][2]["content"]  # without the verdict


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ("Why?", {}, "prompts should be a list of prompts, got one string"),
        (["Why?", " "], {}, r"prompts\[1\] is empty"),
        (
            ["Why?", [{"role": "user", "content": "Hi"}]],
            {},
            r"prompts\[1\] is messages where those before it are text",
        ),
        (["Why?", 3], {}, r"prompts\[1\] should be text or a list of messages, got 3"),
        (PROMPTS, {"responses": ["a"]}, r"one answer a prompt \(3\), got 1"),
        (PROMPTS, {"responses": "abc"}, "`responses` should be a list"),
        (PROMPTS, {"rounds": 0}, "`rounds` should be an integer of at least 1, got 0"),
        (PROMPTS, {"rounds": True}, "`rounds` should be an integer of at least 1, got True"),
        (PROMPTS, {"patience": 0}, "`patience` should be an integer of at least 1, got 0"),
        (PROMPTS, {"batch_size": 0}, "`batch_size` should be an integer of at least 1, got 0"),
        (PROMPTS, {"temperature": -1}, "temperature should be a number of at least 0"),
        (PROMPTS, {"temprature": 1}, "Unknown sampling argument 'temprature'"),
        (PROMPTS, {"seed": -1}, "seed should be an integer"),
        (PROMPTS, {"judge": "gpt"}, "`judge` should have a method `compare`, got str"),
    ],
)
def test_arguments_are_checked_before_anything_is_asked(tmp_path, prompts, options, message):
    model, store = obedient(), tmp_path / "store.jsonl"
    with pytest.raises((TypeError, ValueError), match=message):
        run(model, prompts, store=store, **options)
    assert not model.calls and not store.exists()
    with pytest.raises(TypeError, match="`generator` should have a method `generate`, got str"):
        run("gpt2")


def test_no_prompts_no_calls():
    model = obedient()
    assert len(run(model, [])) == 0 and not model.batches


def test_what_the_model_gives_is_checked_and_an_error_says_in_which_call():
    class Short(ScriptedGenerator):
        each = None  # a generator of the user's own need not have it

        def generate(self, prompts, **sampling):
            return ["only one"]

    with pytest.raises(ValueError, match=r"gave \['only one'\] where 3 texts were asked for") as error:
        run(Short([]))
    assert "Raised by the call for answers on 3" in error.value.__notes__[0]

    def fail(request):
        raise RuntimeError("no content")

    with pytest.raises(RuntimeError, match="no content") as error:
        run(Model(always("a"), always("Verdict: REVISE"), fail))
    assert "Raised by the call for revisions in round 1 on 3" in error.value.__notes__[0]


def test_the_bar_counts_finished_prompts(capsys):
    run(obedient(), progress=True)
    shown = capsys.readouterr().err
    assert "revising: 100%" in shown and "3/3" in shown


def test_where_it_comes_from_is_kept():
    judge = Judge(lambda *row: 0.9)
    revisions = run(obedient(), model="tiny-1", judge=judge)
    assert (revisions.model, revisions.judge) == ("tiny-1", "Judge")
    assert revisions.source == named("tone", "truth", "brevity").provenance
    assert run(obedient()).judge is None


def test_the_default_constitution_is_used_where_none_is_given():
    revisions = critique_and_revise(obedient(), PROMPTS, rounds=1, progress=False)
    assert revisions.source == Constitution.default().provenance


def test_with_a_real_model_from_prompts_to_data_sets(tiny, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForCausalLM.from_pretrained(tiny)
    model.config.max_position_embeddings = 4096  # its tokenizer takes many ids for a word
    generator = LocalGenerator(model, tokenizer, batch_size=8)
    prompts = assistant_preferences("heldout")["prompt"][:6]
    options = {"max_new_tokens": 24, "store": tmp_path / "store.jsonl", "model": "tiny", "seed": 3}
    revisions = run(generator, prompts, Constitution.default(), **options)
    # A tiny model writes no verdicts: each critique is an objection, and there is something to revise.
    assert {step.verdict for row in revisions for step in row.steps} == {"unreadable"}
    assert any(row.revised for row in revisions)
    json.dumps(revisions.to_dict())
    assert run(ScriptedGenerator([]), prompts, Constitution.default(), **options) == revisions  # from the store alone
    assert run(generator, prompts, Constitution.default(), **{**options, "store": None}) == revisions  # seeded
    pairs, left_out = to_preferences(revisions)
    assert len(pairs) + len(left_out) == 6 and pairs[0]["chosen"][0]["role"] == "assistant"
    assert len(to_sft(revisions)[0]) >= len(pairs)
    assert summarise(revisions).revised.value == sum(row.revised for row in revisions) / 6
    revisions.save(tmp_path / "all.json")
    assert Revisions.load(tmp_path / "all.json") == revisions
