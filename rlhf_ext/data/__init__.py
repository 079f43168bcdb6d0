"""Preferences: their columns, their validation, and the set that comes with the package."""
