"""What a gateway keeps: responses, what people said of them, API keys, and what several gateways agree on."""

from .buckets import SharedBuckets
from .feedback import ServedFeedback, UnknownResponse
from .keys import ApiKey, ApiKeys
from .responses import Response, ServedStore

__all__ = [
    "ApiKey",
    "ApiKeys",
    "Response",
    "ServedFeedback",
    "ServedStore",
    "SharedBuckets",
    "UnknownResponse",
]
