"""Evaluation: numbers with intervals, before and after."""
