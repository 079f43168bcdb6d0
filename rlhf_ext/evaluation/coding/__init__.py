"""Code: whether what a model writes passes its tests, in a sandbox that it does not get out of."""

from .extraction import extract_code
from .problems import Problem, load_problems, own_problems
from .suite import CodeSuite, code_suite

__all__ = ["CodeSuite", "Problem", "code_suite", "extract_code", "load_problems", "own_problems"]
