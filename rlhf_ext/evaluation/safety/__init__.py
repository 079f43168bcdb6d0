"""Safety: whether a model refuses what it should and answers the rest, stands jailbreaks, keeps secrets, treats groups alike."""

from .bbq import BBQSuite, load_bbq
from .bias import BiasSuite, SwappedGroups, swapped_groups
from .combined import CombinedSuite, safety_suite
from .grading import StrongReject
from .jailbreak_suite import JailbreakSuite
from .jailbreaks import JAILBREAKS, Jailbreak
from .leaks import find_leak
from .own_prompts import balanced_sample, harmful_prompts, harmless_prompts
from .privacy import PrivacySuite
from .public_sets import load_harmbench, load_real_toxicity_prompts, load_strongreject, load_xstest
from .refusing import HarmfulSuite, OverRefusalSuite
from .toxicity import Toxicity, ToxicitySuite

__all__ = [
    "JAILBREAKS",
    "BBQSuite",
    "BiasSuite",
    "CombinedSuite",
    "HarmfulSuite",
    "Jailbreak",
    "JailbreakSuite",
    "OverRefusalSuite",
    "PrivacySuite",
    "StrongReject",
    "SwappedGroups",
    "Toxicity",
    "ToxicitySuite",
    "balanced_sample",
    "find_leak",
    "harmful_prompts",
    "harmless_prompts",
    "load_bbq",
    "load_harmbench",
    "load_real_toxicity_prompts",
    "load_strongreject",
    "load_xstest",
    "safety_suite",
    "swapped_groups",
]
