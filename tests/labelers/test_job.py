"""A job that others work on too ends when all is answered, not when it happens to look between two of their steps."""

from rlhf_ext import ScriptedGenerator
from rlhf_ext.data.store import Judgement, JudgementStore
from rlhf_ext.labelers.budget import Budget
from rlhf_ext.labelers.job import JudgementJob, question_of

QUESTIONS = [question_of("Which?", 0, number=number) for number in range(2)]
KEYS = [one.key for one in QUESTIONS]


class Watched(JudgementStore):
    """A store in which `event` happens once, right after the answers were read for the second time: after a first pass."""

    def __init__(self, url, event):
        super().__init__(url)
        self.reads, self.event = 0, event

    def finished(self, keys):
        found = super().finished(keys)
        self.reads += 1
        if self.reads == 2:
            self.event()
        return found


def run(tmp_path, event, budget):
    other = JudgementStore(tmp_path / "store")
    assert other.claim(KEYS, "job") == KEYS
    store = Watched(tmp_path / "store", lambda: event(other))
    return JudgementJob(ScriptedGenerator(["mine"] * 2), store, "job", budget, poll=0.0).run(QUESTIONS)


def test_what_another_finished_between_two_looks_is_not_missing(tmp_path):
    theirs = {key: Judgement({"text": "theirs"}) for key in KEYS}
    assert run(tmp_path, lambda other: other.record("job", theirs), Budget()) == theirs


def test_what_another_gave_up_between_two_looks_is_asked(tmp_path):
    found = run(tmp_path, lambda other: other.release(), Budget())
    assert [found[key].result["text"] for key in KEYS] == ["mine"] * 2


def test_a_spent_budget_ends_it_with_what_there_is(tmp_path):
    found = run(tmp_path, lambda other: other.release(), Budget(max_requests=1))
    assert [key in found for key in KEYS] == [True, False]
