"""Instruction following by constraints that a program can check: counts, formats, words, letters, language."""

from .constraints import FAMILIES, KINDS, Constraint, loose_readings
from .suite import InstructionsSuite, by_kind, followed, instruction_prompts, instructions_suite

__all__ = [
    "FAMILIES",
    "KINDS",
    "Constraint",
    "InstructionsSuite",
    "by_kind",
    "followed",
    "instruction_prompts",
    "instructions_suite",
    "loose_readings",
]
