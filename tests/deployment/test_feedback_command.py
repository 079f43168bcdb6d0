"""`rlhf-ext feedback`, as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlhf_ext.cli import main
from rlhf_ext.cli.feedback_items import read_items
from rlhf_ext.data.store import Annotators, FeedbackStore, WorkQueue

from .feedback_ui.visitor import Visitor

ROWS = [
    {"prompt": "2+2?", "responses": ["4", "5"], "utility": 0.5, "strategy": "random"},
    {"prompt": "3+3?", "responses": ["6", "5"], "utility": 0.9, "wanted": 5},
    {"prompt": "Sum up.", "responses": ["Short."], "scales": {"help": [1, 5]}},
    {"prompt": "A name?", "responses": ["Ann", "Bob", "Cy"]},
]
PASSWORD = "correct horse"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RLHF_EXT_ADMIN_PASSWORD", raising=False)
    (tmp_path / "items.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    return tmp_path


def test_rows_that_do_not_say_are_asked_of_so_many_people_by_their_number_of_responses(folder):
    rows = read_items("items.jsonl", wanted=2)
    assert [row["wanted"] for row in rows] == [2, 5, 2, 2]
    store = FeedbackStore("feedback.sqlite")
    assert WorkQueue(store).add(rows) == 4
    assert sorted(item.kind for item in store.items()) == ["comparison", "comparison", "ranking", "rating"]
    assert read_items(None, 1) == []
    (folder / "null.jsonl").write_text(json.dumps({"prompt": "?", "responses": ["a", "b"], "wanted": None}))
    assert [row["wanted"] for row in read_items("null.jsonl", wanted=3)] == [3]


def test_parquet_says_nothing_that_its_rows_did_not(folder):
    from datasets import Dataset

    rows = [
        {"prompt": "a", "responses": ["x"], "scales": {"help": [1.0, 5.0]}},
        {"prompt": "b", "responses": ["x", "y"], "scales": None, "gold": {"strength": 1.0}},
        {"prompt": "c", "responses": ["z"], "scales": {"care": [0.0, 1.0]}},
    ]
    Dataset.from_list(rows).to_parquet("items.parquet")
    read = read_items("items.parquet", 1)
    assert [row.get("scales") for row in read] == [{"help": [1.0, 5.0]}, None, {"care": [0.0, 1.0]}]
    assert WorkQueue(FeedbackStore("feedback.sqlite")).add(read) == 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": "p"', "items.jsonl, line 2: not JSON"),
        ('["p"]', "items.jsonl, line 2: expected an object"),
        ('{"prompt": "p", "responses": ["only", ""]}', "item 1: `responses[1]` should be text"),
        ('{"responses": ["a", "b"]}', "item 1: `prompt` is missing"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_added(folder, capsys, line, words):
    (folder / "items.jsonl").write_text(json.dumps(ROWS[0]) + "\n" + line + "\n")
    assert main(["feedback", "add", "--items", "items.jsonl"]) == 2
    assert words in capsys.readouterr().err
    assert not Path("feedback.sqlite").exists() or list(FeedbackStore("feedback.sqlite").items()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--what", "records", "--min_gold_right", "0.7"], "--min_gold_right is not for --what records"),
        (["--what", "ratings", "--strength", "votes"], "--strength is not for --what ratings"),
        (["--experiment", "x"], "--experiment is not for --what preferences"),
    ],
)
def test_flags_that_an_export_does_not_read_are_refused(folder, capsys, arguments, words):
    FeedbackStore("feedback.sqlite").close()
    assert main(["feedback", "export", "--output", "x.jsonl", *arguments]) == 2
    assert words in capsys.readouterr().err and not (folder / "x.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add"], "--items is needed"),
        (["invite"], "--invite is needed"),
        (["export"], "--output is needed"),
        (["export", "--output", "x.jsonl", "--database", "gone.sqlite"], "There is no database 'gone.sqlite'"),
        (["dance"], "unknown action 'dance'; there are serve, add, invite, export"),
        (["--items", "missing.jsonl"], "missing.jsonl"),
        (["--model", "x"], "give them with --prompts"),
        (["--reward", "x"], "--reward is for --model, which is not given"),
        (["--host", "192.0.2.1"], "Cannot listen on 192.0.2.1 port 8421"),
        (["--public_url", "example.org"], "should start with http"),
        (["--bogus", "1"], "--bogus"),
    ],
)
def test_mistakes_end_in_one_line(folder, capsys, arguments, words):
    assert main(["feedback", *arguments]) == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_short_password_is_refused(folder, capsys, monkeypatch):
    monkeypatch.setenv("RLHF_EXT_ADMIN_PASSWORD", "short")
    assert main(["feedback", "--items", "items.jsonl", "--port", "0"]) == 2
    assert "at least 8 characters" in capsys.readouterr().err


def test_help_says_what_there_is(folder, capsys):
    with pytest.raises(SystemExit):
        main(["feedback", "--help"])
    shown = capsys.readouterr().out
    for words in (
        "feedback add",
        "feedback invite",
        "feedback export",
        "RLHF_EXT_ADMIN_PASSWORD",
        "--items",
        "--model",
    ):
        assert words in shown


def test_adding_inviting_and_exporting_without_a_server(folder, capsys):
    assert main(["feedback", "add", "--items", "items.jsonl"]) == 0
    assert main(["feedback", "add", "--items", "items.jsonl"]) == 0
    assert (
        "4 added" in (shown := capsys.readouterr().out)
        and "0 added from items.jsonl, 4 were there already and stay as they are" in shown
    )
    assert main(["feedback", "invite", "--invite", "Ada", "Ben", "--public_url", "https://f.example.org/"]) == 0
    links = re.findall(r"https://f\.example\.org/join/(\S+)  \((\w+);", capsys.readouterr().out)
    assert [name for _, name in links] == ["Ada", "Ben"]
    assert main(["feedback", "invite", "--invite", "Ben"]) == 0
    assert (
        "the same person" in capsys.readouterr().out and len(Annotators(FeedbackStore("feedback.sqlite")).list()) == 2
    )
    store = FeedbackStore("feedback.sqlite")
    ada, queue = Annotators(store).redeem(links[0][0]), WorkQueue(store)
    for value in ({"strength": 0.0}, {"strength": 1.0}):
        asked = queue.next(ada)
        queue.submit(asked.id, ada, value, seconds=2.0)
    assert main(["feedback", "export", "--output", "out.jsonl"]) == 0
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [row["chosen"] for row in rows] in (
        ["5", "4"],
        ["4", "5"],
    ) and "preferences  2 rows" in capsys.readouterr().out
    assert main(["feedback", "export", "--output", "none.parquet", "--min_annotators", "2"]) == 0
    assert "left out" in capsys.readouterr().out
    assert main(["feedback", "export", "--output", "out.csv"]) == 2


@pytest.fixture
def served(folder):
    """Starts the command; gives what it printed until it served, and ends it."""
    running = []

    def begin(*arguments, **environment):
        command = [sys.executable, "-m", "rlhf_ext", "feedback", "--items", "items.jsonl", "--port", "0", *arguments]
        root = str(Path(__file__).parents[2])
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root, "PYTHONUNBUFFERED": "1", **environment},
        )
        running.append(process)
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("serving"):
                break
        return process, "".join(lines)

    yield begin
    for process in running:
        process.kill()
        process.wait()


def test_one_command_prints_links_and_the_admins_address_and_serves(served):
    process, shown = served("--invite", "Ada", "Ben", RLHF_EXT_ADMIN_PASSWORD=PASSWORD)
    assert "4 added from items.jsonl" in shown
    links = re.findall(r"invite  http://127\.0\.0\.1:(\d+)/join/(\S+)", shown)
    assert len(links) == 2 and re.search(r"admin   http://127\.0\.0\.1:\d+/admin\n", shown)
    ada = Visitor(int(links[0][0]))
    assert ada.join(links[0][1]).status == 303
    page = ada.question()
    assert "3+3?" in page.text, "the highest utility first"
    assert ada.answer(page, strength=0).status == 303
    admin = Visitor(int(links[0][0]))
    assert admin.sign_in(PASSWORD).status == 303 and "How it stands" in admin.get("/admin").text
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) in (0, 130) and time.monotonic() - began < 15
    assert "Traceback" not in process.stderr.read()
    assert [record.value["strength"] in (0.0, 1.0) for record in FeedbackStore("feedback.sqlite").records()] == [True]
    assert Path("feedback.sqlite.key").stat().st_mode & 0o077 == 0
    # The same command again: nobody is invited twice, and the admin's pages are closed without a password.
    process, shown = served("--invite", "Ada", "Ben")
    assert "0 added from items.jsonl, 4 were there already" in shown
    assert "Ada is invited already" in shown and "/join/" not in shown
    assert [one.name for one in Annotators(FeedbackStore("feedback.sqlite")).list()] == ["Ada", "Ben"]
    assert "closed: set RLHF_EXT_ADMIN_PASSWORD" in shown
    ada.port = int(shown.rsplit(":", 1)[1].split()[0])
    ada.connection = Visitor(ada.port).connection
    assert ada.question().status == 200, "signed in still: the key was kept"


def test_a_model_writes_fresh_questions_while_people_answer(served, tiny, folder):
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"Word {n}"}) + "\n" for n in range(4)))
    model = ("--model", tiny, "--prompts", "prompts.jsonl", "--n", "3", "--max_new_tokens", "6")
    process, shown = served("--invite", "Ada", *model)
    port, token = re.search(r":(\d+)/join/(\S+)", shown).groups()
    assert Visitor(int(port)).join(token).status == 303
    store, fresh = FeedbackStore("feedback.sqlite"), []
    until = time.monotonic() + 60
    while not fresh and time.monotonic() < until:
        time.sleep(0.1)
        fresh = [item for item in store.items() if str(item.prompt).startswith("Word")]
    process.terminate()
    assert fresh, process.communicate(timeout=30)
    assert all(len(set(item.responses)) == 2 and item.kind == "comparison" for item in fresh)
    assert all(item.columns["strategy"] == "response_diversity" for item in fresh)


def test_listening_to_others_without_tls_is_warned_of(served):
    process, shown = served("--host", "0.0.0.0")
    assert "(annotator 1; works once" in shown, "somebody is invited where nobody was"
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    assert "WARNING: listening on 0.0.0.0 without TLS" in process.stderr.read()
