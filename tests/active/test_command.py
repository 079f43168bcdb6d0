"""`rlhf-ext select`, as a user runs it."""

import json

import pytest

from rlhf_ext import assistant_preferences
from rlhf_ext.cli import main


@pytest.fixture
def pool(tmp_path):
    rows = [
        {"prompt": f"Q{i}: ", "responses": [f"{i} yes", "no " * (i + 1), "so"], "category": "ab"[i % 2]}
        for i in range(8)
    ]
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def complaint(capsys):
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.strip().splitlines()[-1]


def test_among_responses_that_there_are(pool, tmp_path, reward_folder, capsys):
    output = tmp_path / "out.jsonl"
    arguments = ["select", "--prompts", str(pool), "--budget", "3", "--output", str(output)]
    assert main([*arguments, "--reward_model", reward_folder, "--quotas", "a=0.67"]) == 0
    assert "3 comparisons to ask about, of 8 prompts" in capsys.readouterr().out
    found = lines(output)
    assert [len(row["responses"]) for row in found] == [2, 2, 2] and {row["strategy"] for row in found} == {
        "d_optimal"
    }
    assert sorted(row["category"] for row in found) == ["a", "a", "b"]
    # What was asked is not asked again.
    again = tmp_path / "again.jsonl"
    assert main([*arguments[:-1], str(again), "--reward_model", reward_folder, "--asked", str(output)]) == 0
    assert not {row["prompt"] for row in found} & {row["prompt"] for row in lines(again)}


def test_an_ensemble_of_folders(pool, tmp_path, reward_folder):
    output = tmp_path / "out.jsonl"
    rewards = ["--reward_model", reward_folder, reward_folder, "--strategy", "bald", "--ask", "all"]
    assert main(["select", "--prompts", str(pool), "--budget", "2", "--output", str(output), *rewards]) == 0
    assert [len(row["responses"]) for row in lines(output)] == [3, 3]


@pytest.mark.parametrize("strategy", ["response_diversity", "predictive_entropy"])
def test_a_model_writes_the_responses(tiny, tmp_path, strategy):
    prompts, output = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    prompts.write_text(
        "".join(
            json.dumps({"prompt": row["prompt"]}) + "\n" for row in assistant_preferences("heldout").select(range(3))
        )
    )
    model = ["--model", tiny, "--n", "3", "--max_new_tokens", "5", "--strategy", strategy]
    assert main(["select", "--prompts", str(prompts), "--budget", "2", "--output", str(output), *model]) == 0
    assert len(lines(output)) == 2 and (tmp_path / "out.responses.sqlite").is_file()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--budget", "0"], "--budget is needed"),
        (["--strategy", "best"], "Unknown --strategy 'best'; there are d_optimal"),
        (["--strategy", "bald"], "'bald' needs an ensemble"),
        ([], "'d_optimal' needs embeddings"),
        (["--quotas", "a"], "written category=share, such as code=0.3, got 'a'"),
        (["--quotas", "a=2"], "quota of 'a' should be a share"),
        (["--n", "8"], "--n is for --model, which is not given"),
        (["--strategy", "random", "--reward_temperature", "0"], "`reward_temperature` should be a positive number"),
        (["--diversify", "far"], "invalid choice: 'far'"),
        (["--prompts", "gone.jsonl"], "No such file: gone.jsonl"),
    ],
)
def test_a_mistake_is_one_line(pool, tmp_path, extra, message, capsys):
    output = tmp_path / "out.jsonl"
    assert main(["select", "--prompts", str(pool), "--budget", "2", "--output", str(output), *extra]) == 2
    assert message in complaint(capsys)
    assert not output.exists()


def test_a_line_that_is_not_json_is_named(pool, capsys):
    pool.write_text(pool.read_text() + "{broken\n")
    assert main(["select", "--prompts", str(pool), "--budget", "2", "--strategy", "random"]) == 2
    assert "line 9 is not JSON" in complaint(capsys)
