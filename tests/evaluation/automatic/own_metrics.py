"""Reward functions and metrics of one's own, as a user has them in a module."""

from rlhf_ext.evaluation.automatic import AnswerMetric


def polite(completions, **columns):
    return [float("please" in text) for text in completions]


class Polite:
    def __call__(self, *, prompts, completions, **columns):
        return polite(completions)


polite_rate = AnswerMetric(polite, "polite_rate", kind="rate")
