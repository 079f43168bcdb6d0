"""Parts of answers: read, and given the gateway's own names."""

import json

import pytest

from rlhf_ext.deployment.gateway.errors import ApiError
from rlhf_ext.deployment.gateway.events import EventReader
from rlhf_ext.deployment.gateway.transcript import Renamed, Transcript

PART = {"id": "up-1", "model": "m", "choices": [{"index": 0, "delta": {"content": "x"}}]}


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
def test_only_the_two_names_change(separators):
    data = json.dumps(PART, separators=separators).encode()
    renamed = Renamed("ours", "name")
    expected = data.replace(b"up-1", b"ours").replace(b'"m"', b'"name"')
    assert renamed(data, PART) == renamed(data, PART) == expected


@pytest.mark.parametrize(
    "other",
    [
        {"choices": [], "usage": {}},  # without names of its own
        {**PART, "id": "up-2"},  # another id in the same stream
        {**PART, "choices": [{"delta": {"tool_calls": [{"id": "up-1"}]}}]},  # the same value deeper down
    ],
)
def test_where_bytes_would_not_do_it_is_written_anew(other):
    renamed = Renamed("ours", "name")
    renamed(json.dumps(PART).encode(), PART)
    got = json.loads(renamed(json.dumps(other).encode(), other))
    assert got == {**other, "id": "ours", "model": "name"}


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"choices": 1}', b'{"choices": [1]}', b'{"choices": null}', b"{}"])
def test_what_is_no_answer_is_refused(data):
    with pytest.raises(ApiError) as caught:
        Transcript("up", keep_text=True).whole(data)
    assert caught.value.status == 502


def test_an_event_without_an_end_is_refused(monkeypatch):
    monkeypatch.setattr("rlhf_ext.deployment.gateway.events.LONGEST", 1000)
    reader = EventReader()
    with pytest.raises(ValueError, match="does not end"):
        for _ in range(300):
            reader.push(b"data: abc")


def test_events_come_whole_however_they_are_cut():
    raw = b"data: one\r\n\r\n: ping\n\ndata:two\ndata: lines\n\ndata: [DONE]\n\n"
    for size in range(1, len(raw)):
        reader = EventReader()
        found = [data for start in range(0, len(raw), size) for data in reader.push(raw[start : start + size])]
        assert [*found, *reader.finish()] == [b"one", b"two\nlines", b"[DONE]"]
