"""A suite for tests: 24 prompts in 3 categories, figures of every kind that answers of any model have."""

from rlhf_ext.evaluation.suite import Case, Column, version_of

ANIMALS = ("cats", "dogs", "owls", "bees", "ants", "bats", "eels", "hens")
ASKED = {"care": "How do I care for {}?", "facts": "Tell me three facts about {}.", "story": "Write a story about {}."}


class SmallSuite:
    """Rates by answer and by case, means, and one that applies to a category alone."""

    name = "small"
    figures = ["a_word", "long", "any_long", "shouting", "never"]

    def __init__(self, samples=1, temperature=0.0, max_new_tokens=8):
        self.cases = [
            Case(f"{kind}-{animal}", [{"role": "user", "content": text.format(animal)}], kind, {"animal": animal})
            for kind, text in ASKED.items()
            for animal in ANIMALS
        ]
        self.samples = samples
        self.sampling = {"max_new_tokens": max_new_tokens, "temperature": temperature}
        self.version = version_of(self.cases, samples=samples, sampling=self.sampling)
        self.measured = []

    def measure(self, cases, answers):
        self.measured.append((list(cases), list(answers)))
        long = [float(len(answer) > 20) for answer in answers]
        groups = {}
        for case, value in zip(cases, long, strict=True):
            groups.setdefault(case.id, []).append(value)
        story = [case.category == "story" for case in cases]
        return [
            Column(
                "a_word",
                "Has the word “a”",
                [float(" a " in f" {a} ") for a in answers],
                better="higher",
                by_category=True,
            ),
            Column("long", "Characters", [float(len(a)) for a in answers], kind="mean"),
            Column(
                "any_long", "Any of the samples is long", [max(v) for v in groups.values()], better="lower", per="case"
            ),
            Column(
                "shouting",
                "Capitals in stories",
                [float(a.isupper()) if s else None for a, s in zip(answers, story, strict=True)],
                better="lower",
                note="Of stories alone.",
            ),
            Column("never", "Cannot be measured", [None] * len(answers), better="lower"),
        ]


def make():
    return SmallSuite(samples=2, temperature=1.0, max_new_tokens=12)


def greedy():
    return SmallSuite()


def plain():
    """Prompts that are no chats."""
    suite = SmallSuite()
    suite.cases = [Case(case.id, case.prompt[0]["content"], case.category, case.columns) for case in suite.cases]
    suite.version = version_of(suite.cases)
    return suite


def mixed():
    """One chat among plain prompts."""
    suite = plain()
    suite.cases[3] = SmallSuite().cases[3]
    return suite
