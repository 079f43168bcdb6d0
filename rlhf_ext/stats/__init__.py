"""How sure a number is: intervals for rates, means and paired changes. The one place for them.

Every figure that rlhf_ext shows or decides by is an [`Estimate`]: a value, its interval and how many rows it rests on.
A score of `None` (or NaN) means "does not apply to this row", as everywhere in rlhf_ext: the row is left out, and `n`
says how many were used. Nothing is ever counted as 0.
"""

from .bootstraps import Scores, bootstrap, bootstrap_mean, paired_difference
from .estimate import Estimate
from .ranks import average_ranks
from .rates import rule_of_three, wilson

__all__ = [
    "Estimate",
    "Scores",
    "average_ranks",
    "bootstrap",
    "bootstrap_mean",
    "paired_difference",
    "rule_of_three",
    "wilson",
]
