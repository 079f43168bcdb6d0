"""What a gateway keeps: responses, what people said of them, API keys, and what several gateways agree on."""

from .buckets import SharedBuckets
from .feedback import ServedFeedback, UnknownResponse
from .keys import ApiKey, ApiKeys
from .redaction import REDACTIONS, Redactor
from .responses import Response, ServedStore

__all__ = [
    "REDACTIONS",
    "ApiKey",
    "ApiKeys",
    "Redactor",
    "Response",
    "ServedFeedback",
    "ServedStore",
    "SharedBuckets",
    "UnknownResponse",
]
