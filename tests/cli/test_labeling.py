"""`rlhf-ext sample`, `label` and `revise`, run as a user runs them."""

import json
from pathlib import Path

import pytest
from datasets import Dataset

from rlhf_ext.cli import main
from rlhf_ext.generation import EndpointGenerator

from ..labelers.endpoint import Endpoint, rows
from ..test_cli import complaint


@pytest.fixture
def answers(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(12)))
    return str(path)


def test_label_with_an_endpoint_within_a_budget(answers, tmp_path, capsys):
    with Endpoint() as endpoint:
        command = ["label", "--data", answers, "--model", "judge", "--base_url", endpoint.url, "--rubric", "helpful"]
        command += ["--output_dir", str(tmp_path / "labels"), "--mode", "text"]
        assert main([*command, "--estimate", "--input_price", "1"]) == 0
        assert "24 questions, about 24 requests" in capsys.readouterr().out
        assert main([*command, "--max_requests", "24"]) == 1, "retries are set aside: the last ones are not reached"
        assert "the budget is used up" in capsys.readouterr().out
        assert main(command) == 0
    assert "12 labels, 0 rows left out" in capsys.readouterr().out
    labelled = [json.loads(line) for line in (tmp_path / "labels/preferences.jsonl").read_text().splitlines()]
    assert len(labelled) == 12 and all("good" in row["chosen"] and row["model"] == "judge" for row in labelled)
    assert max(count for content, count in endpoint.answered.items() if "Answer 1:" in content) == 1


def test_label_and_revise_with_a_model_on_this_machine(answers, tiny, tmp_path, capsys):
    command = [
        "label",
        "--data",
        answers,
        "--model",
        tiny,
        "--constitution",
        "default",
        "--on_disagreement",
        "average",
    ]
    assert main([*command, "--output_dir", str(tmp_path / "labels")]) == 0
    assert "orders agree" in capsys.readouterr().out
    command = [
        "revise",
        "--prompts",
        answers,
        "--model",
        tiny,
        "--rounds",
        "1",
        "--max_new_tokens",
        "8",
        "--judged",
        "true",
    ]
    assert main([*command, "--output_dir", str(tmp_path / "revisions")]) == 0
    out = capsys.readouterr().out
    assert "sft " in out and "preferences " in out
    names = {path.name for path in (tmp_path / "revisions").iterdir()}
    assert {"sft.jsonl", "sft_left_out.jsonl", "preferences.jsonl", "steps.jsonl"} <= names


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        ((), "--data is needed"),
        (("--data", "no/such.jsonl"), "No such file: no/such.jsonl"),
        (
            ("--data", "DATA", "--base_url", "http://127.0.0.1:9/v1"),
            "The endpoint cannot be used: http://127.0.0.1:9/v1",
        ),
        (("--data", "DATA", "--max_budget", "1"), "`max_cost` needs `input_price` and `output_price`"),
        (("--data", "DATA", "--constitution", "no.yaml"), "no.yaml"),
    ],
)
def test_a_mistake_in_labelling_is_one_line(answers, tiny, capsys, extra, match, monkeypatch):
    monkeypatch.setattr(
        "rlhf_ext.generation.endpoint.EndpointGenerator.__init__.__defaults__",
        ("OPENAI_API_KEY", 8, 1.0, 0, 600.0, False),
    )
    arguments = [answers if part == "DATA" else part for part in extra]
    assert main(["label", "--model", tiny, *arguments]) == 2
    assert match in complaint(capsys)


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Say {n}:", "id": n}) + "\n" for n in range(3)))
    return str(path)


def lines(*path):
    return [json.loads(line) for line in Path(*path).read_text().splitlines()]


def test_sample_then_grade_then_compare_on_this_machine(prompts, tiny, tmp_path, capsys):
    command = ["sample", "--prompts", prompts, "--writers", tiny, "--n", "3", "--max_new_tokens", "6"]
    command += ["--output_dir", str(tmp_path / "candidates")]
    assert main([*command, "--estimate"]) == 0
    assert f"estimate  {tiny}: 9 questions, about 9 requests" in capsys.readouterr().out
    assert main(command) == 0
    found = lines(tmp_path, "candidates/candidates.jsonl")
    assert [row["id"] for row in found] == [0, 1, 2] and all(len(row["responses"]) > 1 for row in found)
    assert (
        found[0]["models"] == [tiny] * len(found[0]["responses"])
        and lines(tmp_path, "candidates/left_out.jsonl") == []
    )
    data = str(tmp_path / "candidates/candidates.jsonl")
    assert str(data) in capsys.readouterr().out

    grade = ["label", "--data", data, "--model", tiny, "--method", "scores", "--aspects", "honesty", "--pairs", "all"]
    assert main([*grade, "--output_dir", str(tmp_path / "grades")]) == 0
    shown = capsys.readouterr().out
    assert "grade honesty: " in shown and "sft.jsonl (3 rows, 0 left out)" in shown
    best = lines(tmp_path, "grades/sft.jsonl")
    assert [row["prompt"] for row in best] == [row["prompt"] for row in found]
    assert all(
        row["completion"] in one["responses"] and row["model"] == tiny for row, one in zip(best, found, strict=True)
    )
    graded = lines(tmp_path, "grades/preferences.jsonl")
    assert all(row["margin"] > 0 and row["chosen_model"] == tiny for row in graded)
    strongest = max(graded, key=lambda row: row["margin"])
    assert strongest["chosen"] == next(row["completion"] for row in best if row["id"] == strongest["id"])
    assert Dataset.from_list(best).column_names == ["prompt", "completion", "score", "model", "id"]

    compare = ["label", "--data", data, "--model", tiny, "--on_disagreement", "average", "--truncate"]
    assert main([*compare, "--output_dir", str(tmp_path / "pairs")]) == 0
    assert "truncated: 0" in capsys.readouterr().out
    assert all(row["characters_cut"] == 0 for row in lines(tmp_path, "pairs/preferences.jsonl"))


def test_two_writers_one_behind_an_endpoint_within_a_budget(prompts, tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Endpoint() as endpoint:
        command = ["sample", "--prompts", prompts, "--writers", f"far@{endpoint.url}", tiny, "--n", "2"]
        command += ["--max_new_tokens", "4", "--output_dir", str(tmp_path / "candidates")]
        assert main([*command, "--max_requests", "4"]) == 1
        assert "The budget is used up: " in capsys.readouterr().out
        assert not (tmp_path / "candidates/candidates.jsonl").exists()
        assert main(command) == 0
        assert endpoint.requests == 3
    assert [row["models"] for row in lines(tmp_path, "candidates/candidates.jsonl")] == [["far", tiny]] * 3


def test_prompts_that_no_writer_answers_are_left_out_with_the_reason(prompts, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Endpoint(1.0, faults=("choices",)) as endpoint:
        command = ["sample", "--prompts", prompts, "--writers", f"far@{endpoint.url}", "--n", "1"]
        assert main([*command, "--output_dir", str(tmp_path / "candidates")]) == 0
    assert lines(tmp_path, "candidates/candidates.jsonl") == []
    left_out = lines(tmp_path, "candidates/left_out.jsonl")
    assert [row["id"] for row in left_out] == [0, 1, 2]
    assert "2 choices" in left_out[0]["reason"]


def test_an_answer_alone_is_graded_on_what_is_left_of_the_budget(tiny, tmp_path, capsys):
    path = tmp_path / "answers.jsonl"
    data = [{"prompt": "P?", "responses": ["a", "bb"]}, {"prompt": "Q?", "responses": ["alone"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in data))
    command = ["label", "--data", str(path), "--model", tiny, "--method", "scores", "--aspects", "honesty"]
    command += ["--output_dir", str(tmp_path / "grades")]
    assert main([*command, "--max_requests", "2"]) == 0
    assert [row["prompt"] for row in lines(tmp_path, "grades/sft.jsonl")] == ["P?"]
    assert lines(tmp_path, "grades/sft_left_out.jsonl")[0]["reason"] == "unfinished"
    assert main([*command, "--max_requests", "3"]) == 0
    assert [row["completion"] for row in lines(tmp_path, "grades/sft.jsonl")][1:] == ["alone"]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["sample", "--writers", "a"], "--prompts is needed. See rlhf-ext sample --help"),
        (["sample", "--prompts", "PROMPTS"], "--writers is needed"),
        (["sample", "--prompts", "PROMPTS", "--writers", "TINY", "TINY"], "twice"),
        (
            ["sample", "--prompts", "PROMPTS", "--writers", "TINY", "--temperature", "0"],
            "at temperature 0 would all be the same",
        ),
        (["sample", "--prompts", "PROMPTS", "--writers", "no/model"], "no/model"),
        (["label", "--data", "PROMPTS", "--model", "TINY"], "Row 0 needs `responses`"),
        (
            ["label", "--data", "PROMPTS", "--model", "TINY", "--method", "scores", "--reasoning"],
            "--reasoning does nothing with --method scores",
        ),
        (
            ["label", "--data", "PROMPTS", "--model", "TINY", "--pairs", "all"],
            "--pairs does nothing with --method pairs",
        ),
        (
            ["label", "--data", "PROMPTS", "--model", "TINY", "--method", "scores", "--aspects", "honesty", "wit"],
            "There is no aspect 'wit'",
        ),
    ],
)
def test_a_mistake_in_sampling_or_grading_is_one_line(prompts, tiny, tmp_path, capsys, arguments, match, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {"PROMPTS": prompts, "TINY": tiny}
    assert main([words.get(word, word) for word in arguments]) == 2
    assert match in complaint(capsys)


def test_writers_are_asked_without_thinking(answers, tmp_path, monkeypatch):
    with Endpoint() as endpoint:
        sent = []
        request = EndpointGenerator._request
        monkeypatch.setattr(
            EndpointGenerator, "_request", lambda *given: sent.append(request(*given)) or request(*given)
        )
        command = ["sample", "--prompts", answers, "--writers", f"m@{endpoint.url}", "--n", "2"]
        command += ["--output_dir", str(tmp_path / "c"), "--chat_template_kwargs", '{"enable_thinking": false}']
        assert main(command) == 0
    told = {"chat_template_kwargs": {"enable_thinking": False}}
    assert sent and all(request["extra_body"] == told for request in sent)
