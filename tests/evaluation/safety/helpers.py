"""What the tests of the safety suites share."""


def values(suite, cases, answers):
    """The values of each column by name."""
    return {column.name: column.values for column in suite.measure(list(cases), list(answers))}


def graded(grades):
    """A judge that looks up its grade of an answer, and keeps what it was asked."""

    def judge(prompts, completions, **columns):
        judge.asked += list(zip(prompts, completions, strict=True))
        return [grades[completion] for completion in completions]

    judge.asked = []
    return judge
