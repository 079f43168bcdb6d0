"""AI feedback in a run: labels and revisions join the preferences before anything is trained."""

import json

import pytest

from rlhf_ext import RLHFConfig, RLHFTrainer, ScriptedGenerator, assistant_preferences
from rlhf_ext.constitution import Constitution, Principle
from rlhf_ext.labelers import Budget, PairwiseLabeler
from rlhf_ext.pipeline.feedback import Feedback, _joined

QUICK = {"gradient_checkpointing": False, "max_steps": 1}


def config(tiny, folder):
    return RLHFConfig(
        model_name=tiny,
        output_dir=str(folder),
        algorithm="dpo",
        batch_size=4,
        bf16=False,
        sft=QUICK,
        dpo=QUICK,
        eval_max_new_tokens=6,
    )


def judge():
    """Prefers the longer answer."""

    def probs(prompt, choices):
        first, second = (prompt[0]["content"].split(f"Answer {n}: ")[1].split("\n")[0] for n in (1, 2))
        return [0.9, 0.1] if (len(first), first) > (len(second), second) else [0.1, 0.9]

    return ScriptedGenerator([], choice_probs=probs)


@pytest.fixture
def data():
    return assistant_preferences("train").select(range(8)), assistant_preferences("heldout").select(range(6))


def test_labels_and_revisions_join_the_preferences_and_are_made_once(tiny, tmp_path, data):
    generator = judge()
    labeler = PairwiseLabeler(generator, "helpful", store=tmp_path / "store", model="judge")
    message = [{"role": "user", "content": "Name a fruit."}]
    unlabelled = [
        {
            "prompt": message,
            "responses": [[{"role": "assistant", "content": text}] for text in ("Fig.", "A ripe fig.")],
        },
        {"prompt": [{"role": "user", "content": "Name a colour."}]},
    ]
    kind = Constitution([Principle("kind", "Say where it is unkind.", "Make it kind.")])
    run = RLHFTrainer(config=config(tiny, tmp_path / "run"), labeler=labeler, constitution=kind)
    result = run.train(*data, unlabelled_dataset=unlabelled)
    labels = [json.loads(line) for line in (tmp_path / "run/labels/preferences.jsonl").read_text().splitlines()]
    assert labels[0]["chosen"][0]["content"] == "A ripe fig." and labels[0]["model"] == "judge"
    assert len(labels) + sum(1 for _ in (tmp_path / "run/labels/left_out.jsonl").open()) == 2
    assert (tmp_path / "run/revisions/steps.jsonl").is_file()
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert list(record["stages"])[:3] == ["before", "labels", "revisions"]
    assert record["identity"]["labeler"] == f"judge, {labeler.annotator}"
    asked = len(generator.calls)
    again = RLHFTrainer(config=config(tiny, tmp_path / "run"), labeler=labeler, constitution=kind)
    assert again.train(*data, unlabelled_dataset=unlabelled).policy_path == result.policy_path
    assert len(generator.calls) == asked
    other = Constitution([Principle("kind", "Say where it is rude.", "Make it kind.")])
    with pytest.raises(FileExistsError, match="another run: there `constitution`"):
        RLHFTrainer(config=config(tiny, tmp_path / "run"), labeler=labeler, constitution=other).train(
            *data, unlabelled_dataset=unlabelled
        )


def test_what_is_joined_keeps_its_strength_and_people_are_certain(data):
    added = [
        {
            "prompt": data[0][0]["prompt"],
            "chosen": data[0][0]["chosen"],
            "rejected": data[0][0]["rejected"],
            "preference_strength": 0.7,
            "model": "m",
        }
    ]
    joined = _joined(data[0].remove_columns("preference_strength"), added)
    assert joined["preference_strength"][:] == [1.0] * 8 + [0.7]
    assert joined.num_rows == 9 and "model" not in joined.column_names


def test_a_budget_that_ends_too_early_stops_the_run_and_a_larger_one_goes_on(tiny, tmp_path, data):
    rows = [
        {
            "prompt": [{"role": "user", "content": "Q?"}],
            "chosen": [{"role": "assistant", "content": "long"}],
            "rejected": [{"role": "assistant", "content": "l"}],
        }
    ] * 1
    short = PairwiseLabeler(judge(), "helpful", store=tmp_path / "store", budget=Budget(1), model="judge")
    with pytest.raises(ValueError, match="budget is used up with 1 comparisons open"):
        RLHFTrainer(config=config(tiny, tmp_path / "run"), labeler=short).train(*data, unlabelled_dataset=rows)
    enough = PairwiseLabeler(judge(), "helpful", store=tmp_path / "store", model="judge")
    RLHFTrainer(config=config(tiny, tmp_path / "run"), labeler=enough).train(*data, unlabelled_dataset=rows)
    assert (tmp_path / "run/labels/preferences.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, None, []), "`unlabelled_dataset` is empty"),
        ((None, None, [{"prompt": "Q?"}]), "`unlabelled_dataset` needs a `labeler`"),
        ((object(), None, None), "`labeler` has nothing to label"),
        ((object(), None, [{"prompt": "Q?"}, {"question": "?"}]), "row 1 has no `prompt`; it has question"),
    ],
)
def test_feedback_with_half_of_what_it_needs_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Feedback(*arguments)
