"""Writing text with a local model, an OpenAI-compatible endpoint, or a script: three classes, one protocol.

Each has `generate(prompts, **sampling)`, which gives one text a prompt, in order (for n samples, repeat the prompt n
times; `sampling` as in [`check_sampling`]), and `choice_logprobs(prompts, choices)`, which gives a row a prompt: the
log-probability (in nats) of each choice as the continuation, given that it is one of them, so that `exp` sums to 1. For
work that must survive single failures, be stopped and go on, there is `each(requests, choices=None, **sampling)`: it takes
requests from any iterable as it needs them and yields `(index, Answer or exception)` as answers come.
"""

from .answer import Answer, PromptTooLong, Request, Unanswered
from .endpoint import EndpointGenerator
from .local import LocalGenerator
from .sampling import check_sampling
from .scripted import ScriptedGenerator

__all__ = [
    "Answer",
    "EndpointGenerator",
    "LocalGenerator",
    "PromptTooLong",
    "Request",
    "ScriptedGenerator",
    "Unanswered",
    "check_sampling",
]
