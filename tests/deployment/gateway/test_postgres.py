"""Two gateways on one PostgreSQL: what one was told the other knows, and a server that goes away takes nothing with it."""

from __future__ import annotations

import itertools
import time

import psycopg
import pytest

from rlhf_ext.data.store.served import ApiKeys, ServedStore
from rlhf_ext.deployment.gateway import StoreSettings, Target, UpstreamSettings

from ...data.conftest import postgres, url  # noqa: F401
from .stub import running

pytestmark = pytest.mark.parametrize("url", ["postgresql"], indirect=True)

CANARY = """
experiments:
  - name: models
    traffic: assistant
    salt: "1"
    variants: {old: 0.5, new: 0.5}
    canary:
      variant: new
      steps: [{share: 0.5, users: 1000}, {share: 1.0}]
      guards: [{metric: error, at_most: 0.05, per: request}]
"""


@pytest.fixture
def pair(start, stub, url):  # noqa: F811
    """Two gateways behind one address, as it were."""
    return [start(stub, store=StoreSettings(database=url, texts=True)) for _ in range(2)]


def ask(gateway, content="2 + 2?", key=None, **fields):
    return gateway.post("/v1/chat/completions", gateway.chat(content, **fields), key)


def test_each_response_is_stored_once_and_either_gateway_takes_feedback_on_it(pair, url):  # noqa: F811
    numbers = [
        ask(gateway, f"{n} + 2?", user="ann")[2]["id"]
        for n, gateway in zip(range(60), itertools.cycle(pair), strict=False)
    ]
    for gateway in pair:
        gateway.rows()
    rows = pair[0].rows(60)
    assert sorted(row.id for row in rows) == sorted(numbers)
    said = {"response_id": numbers[0], "kind": "thumb", "up": True, "id": "one", "user": "ann"}
    assert pair[1].post("/v1/feedback", said)[0] == 200
    assert pair[0].post("/v1/feedback", said)[0] == 200, "said again to the other, as a client does after a timeout"
    assert len(list(pair[0].gateway.store.feedback())) == 1
    store = ServedStore(url)
    assert store.forget_user("ann") == (60, 1) and not list(store.responses())
    store.close()


def test_keys_and_limits_are_shared(pair, url):  # noqa: F811
    store = ServedStore(url)
    keys = ApiKeys(store.database)
    secret = keys.add("app", requests_per_minute=120)
    until = time.monotonic() + 6
    while ask(pair[0])[0] == 200 and time.monotonic() < until:
        time.sleep(0.1)  # until both have seen that there is a key
    while ask(pair[1])[0] == 200 and time.monotonic() < until:
        time.sleep(0.1)
    found = [ask(pair[n % 2], key=secret)[0] for n in range(140)]
    assert 110 <= found.count(200) <= 124, "of 120, and what comes in meanwhile"
    keys.revoke("app")
    until = time.monotonic() + 6
    while any(ask(gateway, key=secret)[0] != 401 for gateway in pair) and time.monotonic() < until:
        time.sleep(0.1)
    assert [ask(gateway, key=secret)[0] for gateway in pair] == [401, 401]
    store.close()


def test_a_canary_that_one_rolls_back_is_back_on_all(start, url, tmp_path):  # noqa: F811
    path = tmp_path / "experiments.yaml"
    path.write_text(CANARY)
    with running(name="m") as old, running(name="m") as new:
        settings = {
            "upstreams": {"old": UpstreamSettings(url=old.url), "new": UpstreamSettings(url=new.url)},
            "models": {"assistant": Target(backend="old", model="m")},
            "variants": {name: Target(backend=name, model="m") for name in ("old", "new")},
            "experiments": str(path),
            "store": StoreSettings(database=url),
        }
        gateways = [start(**settings) for _ in range(2)]

        def variant(gateway, user, content="2 + 2?"):
            body = {**gateway.chat(content), "model": "assistant", "user": user}
            return gateway.post("/v1/chat/completions", body)[1]["x-variant"]

        users = [f"user {n}" for n in range(40)]
        dealt = [variant(gateways[0], user) for user in users]
        assert dealt == [variant(gateways[1], user) for user in users] and {"old", "new"} == set(dealt)
        unlucky = [user for user, got in zip(users, dealt, strict=True) if got == "new"]
        until = time.monotonic() + 10
        while "new" in (variant(gateways[1], user) for user in unlucky) and time.monotonic() < until:
            for user in unlucky:  # only the first gateway sees errors
                variant(gateways[0], user, "status:500")
            time.sleep(0.2)
        assert {variant(gateway, user) for gateway in gateways for user in users} == {"old"}


def test_a_server_that_throws_everybody_out(pair, url):  # noqa: F811
    """Connections are made anew, what was served meanwhile is kept, and nothing twice."""
    for gateway in pair:
        ask(gateway)
        gateway.rows()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for _ in range(5):
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'postgres'"
            )
            for gateway in pair:
                assert ask(gateway)[0] == 200
            time.sleep(0.1)
    numbers = [row.id for row in pair[0].rows(12)]
    until = time.monotonic() + 5
    while len(numbers) < 12 and time.monotonic() < until:
        for gateway in pair:
            gateway.gateway.recorder.flush(2)
        numbers = [row.id for row in pair[1].rows()]
    assert len(numbers) == len(set(numbers)) == 12
    assert [gateway.get("/readyz")[0] for gateway in pair] == [200, 200]
