"""`rlhf-ext serve`, as a user runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from openai import OpenAI

from rlhf_ext.cli import main
from rlhf_ext.cli.serving import _config_of
from rlhf_ext.data.store.served import Response, ServedFeedback, ServedStore
from rlhf_ext.deployment.gateway import load_settings

YAML = """
upstreams: {vllm: {url: "http://127.0.0.1:1/v1"}}
models: {assistant: {backend: vllm, model: m}}
filters: [{name: personal, personal: [email], action: redact}]
store: {database: %s, texts: true}
limits: {requests_per_minute: 600}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_keys_are_made_listed_and_revoked(folder, capsys):
    assert main(["serve", "keys", "add", "--name", "app", "--requests_per_minute", "5"]) == 0
    secret = capsys.readouterr().out.strip()
    assert secret.startswith("rk-")
    main(["serve", "keys", "list"])
    shown = capsys.readouterr().out
    assert re.match(r"key-\w+  app  works  5 requests a minute\n", shown) and secret not in shown
    assert main(["serve", "keys", "revoke", "--key", "app"]) == 0
    main(["serve", "keys", "list"])
    assert "revoked" in capsys.readouterr().out
    assert main(["serve", "keys", "revoke", "--key", "app"]) == 2
    assert "no single key 'app'" in capsys.readouterr().err
    assert secret.encode() not in Path("gateway.sqlite").read_bytes()


def test_a_user_is_forgotten(folder, capsys):
    store = ServedStore("gateway.sqlite")
    store.record([Response("a", 0.0, "chat", "m", 200, 0.1, "h", user_hash=store.hash("ann"))])
    store.add_feedback(ServedFeedback("a", "thumb", {"up": True}))
    assert main(["serve", "forget", "--user", "ann"]) == 0
    assert "deleted  1 responses, 1 pieces of feedback" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one of --upstream, --model and --config"),
        (["--upstream", "http://x", "--model", "m"], "one of --upstream, --model and --config"),
        (["--upstream", "ftp://x"], "should start with http"),
        (["--model", "m", "--adapters", "dpo"], "name=folder"),
        (["--upstream", "ftp://x"], "rlhf-ext: `url` should start"),
        (["--upstream", "http://x", "--adapters", "dpo=./dpo"], "--adapters goes with --model"),
        (["--upstream", "http://x", "--model_name", "m"], "--model_name goes with --model"),
        (["--model", "m", "--api_key_env", "KEY"], "--api_key_env goes with --upstream"),
        (["--upstream", "http://x", "--api_key_env", "NO_SUCH"], "the environment has no NO_SUCH"),
        (["--model", "m", "--adapters", "m=./dpo"], "'m' is taken"),
        (["--upstream", "http://x", "--port", "70000"], "A port is a number from 0 to 65535"),
        (["keys", "list"], "There is no database 'gateway.sqlite'"),
        (["keys", "revoke", "--key", "app"], "There is no database 'gateway.sqlite'"),
        (["forget", "--user", "ann", "--database", "typo.sqlite"], "There is no database 'typo.sqlite'"),
        (["--config"], "--config needs a file"),
        (["--config", "nothing.yaml"], "No such file"),
        (["keys"], "needs one of add, list, revoke"),
        (["keys", "add"], "--name is needed"),
        (["forget"], "--user is needed"),
        (["tidy"], "unknown action 'tidy'"),
        (["--upstream", "http://127.0.0.1:1/v1", "--host", "0.0.0.0", "--port", "0"], "could use the models"),
    ],
)
def test_a_users_mistake_is_one_line(folder, capsys, arguments, words):
    assert main(["serve", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert arguments[:1] not in (["keys"], ["forget"]) or not list(folder.iterdir()), "nothing is made by mistake"


def test_a_mistyped_database_is_not_exported_as_an_empty_one(folder, capsys):
    assert main(["feedback", "export", "--database", "typo.sqlite", "--output", "out.jsonl"]) == 2
    assert "There is no database 'typo.sqlite'" in capsys.readouterr().err and not list(folder.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("limits:", "limit:", "limit: there is no such field"),
        ("texts: true", "texts: 1", "store.texts: input should be a valid boolean"),
        ("{url:", "{timeout: 3, url:", "upstreams.vllm.timeout: there is no such field"),
        ("backend: vllm", "backend: other", "there is no 'other'"),
        ("personal: [email]", "words: [], personal: [email]", "give one of words, personal"),
        ("action: redact", "action: burn", "filters.0.action"),
        ("action: redact", "arguments: {a: 1}", "`arguments` are a reward function's"),
        ("limits: {", "limits: {shadows_waiting: 0, ", "`shadows_waiting` should be above 0"),
        ("limits:", "variants: {dpo: {backend: vllm}}\nlimits:", "`variants` are of `experiments`"),
        ("upstreams: {vllm", "upstreams: {vllm: {url: x}, vllm", "given twice"),
    ],
)
def test_a_configuration_is_read_strictly(folder, old, new, words):
    good = YAML % "g.sqlite"
    assert old in good
    Path("gateway.yaml").write_text(good.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(words)):
        load_settings("gateway.yaml")


def test_the_configuration_says_what_is_written(folder):
    Path("gateway.yaml").write_text(YAML % "g.sqlite")
    settings = load_settings("gateway.yaml")
    assert settings.models["assistant"].model == "m" and settings.store.texts and settings.limits.max_body == 4 << 20
    assert _config_of(["--config", "a.yaml", "--port", "1"]) == ("a.yaml", ["--port", "1"])


def test_the_documentation_configuration_is_one(folder):
    text = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()
    Path("gateway.yaml").write_text(text.partition("```yaml\n")[2].partition("```")[0])
    settings = load_settings("gateway.yaml")
    assert set(settings.variants) == {"sft", "dpo"} and len(settings.filters) == 3


def test_a_model_is_served_until_it_is_told_to_stop(folder, tiny):
    command = [sys.executable, "-m", "rlhf_ext", "serve", "--model", tiny, "--model_name", "tiny", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [*command, "--texts", "True"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("serving http://127.0.0.1:"), process.communicate(timeout=5)
        client = OpenAI(base_url=line.split()[1], api_key="none", timeout=60, max_retries=8)
        messages = [{"role": "user", "content": "Hello"}]
        answer = client.chat.completions.create(model="tiny", messages=messages, max_tokens=5)
        client.post("/feedback", body={"response_id": answer.id, "kind": "correction", "text": "Hi."}, cast_to=object)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.communicate(timeout=10)
    assert main(["feedback", "export", "--database", "gateway.sqlite", "--output", "out.jsonl"]) == 0
    [row] = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert row["chosen"] == [{"role": "assistant", "content": "Hi."}] and row["prompt"] == messages
