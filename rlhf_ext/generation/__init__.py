"""Writing text with a local model, an OpenAI-compatible endpoint, or a script: three classes, one protocol.

Each has `generate(prompts, **sampling)`, which gives one text a prompt, in order (for n samples, repeat the prompt n
times; `sampling` as in [`check_sampling`]), and `choice_logprobs(prompts, choices)`, which gives a row a prompt: the
log-probability (in nats) of each choice as the continuation, given that it is one of them, so that `exp` sums to 1.
"""

from .endpoint import EndpointGenerator
from .local import LocalGenerator
from .sampling import check_sampling
from .scripted import ScriptedGenerator

__all__ = ["EndpointGenerator", "LocalGenerator", "ScriptedGenerator", "check_sampling"]
