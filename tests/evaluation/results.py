"""Results made by hand, for tests of what is done with them."""

from rlhf_ext.evaluation.running import SuiteResult
from rlhf_ext.evaluation.suite import EMPTY, FAILED, Case, Column


def result(columns, cases=None, samples=1, model="m", answers=None, failures=None, **fields):
    """A result of a suite called "s" with these columns, and the two that every run adds."""
    count = len(columns[0].values) // (samples if columns[0].per == "answer" else 1)
    cases = cases or [Case(f"c{i}", f"Prompt {i}", "odd" if i % 2 else "even") for i in range(count)]
    answers = answers or [f"{model} answers {i}" for i in range(len(cases) * samples)]
    own = [
        Column(FAILED, "Failed", [float(answer is None) for answer in answers], better="lower"),
        Column(EMPTY, "Empty", [None if answer is None else float(not answer) for answer in answers], better="lower"),
    ]
    settings = {"suite": "s", "version": "1", "identity": f"{model}#1", "seed": 0, "sampling": {"temperature": 1.0}}
    return SuiteResult(
        **{**settings, **fields},
        model=model,
        samples=samples,
        cases=cases,
        answers=answers,
        failures=failures or {},
        columns=[*columns, *own],
    )


def rate(values, name="harm", better="lower", **fields):
    return Column(name, name.capitalize(), [None if v is None else float(v) for v in values], better=better, **fields)
