"""lm-eval, both ways: suites as its tasks, and its results in our reports."""

from .exporting import export_suite
from .reading import HarnessResult, read_results
from .reporting import harness_report

__all__ = ["HarnessResult", "export_suite", "harness_report", "read_results"]
