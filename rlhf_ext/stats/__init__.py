"""How sure a number is: intervals for rates, means, paired changes, agreement and win rates. The one place for them.

Every figure that rlhf_ext shows or decides by is an [`Estimate`]: a value, its interval and how many rows it rests on.
A score of `None` (or NaN) means "does not apply to this row", as everywhere in rlhf_ext: the row is left out, and `n`
says how many were used. Nothing is ever counted as 0.
"""

from .agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha
from .bootstraps import Scores, bootstrap, bootstrap_mean, paired_difference
from .bradley_terry import ELO, BradleyTerry, bradley_terry
from .clustered import clustered_mean, clustered_rate, rate_difference
from .contributions import contributions
from .estimate import Estimate
from .exchangeability import ConformalMartingale
from .judging import length_bias, position_bias, self_preference
from .moments import Moments
from .pairings import NotConnected
from .passing import pass_at_k
from .pigeonhole import two_way_mean
from .power import detectable_difference
from .ranks import average_ranks
from .rates import rule_of_three, wilson
from .sample_ratio import always_valid_sample_ratio, sample_ratio_test
from .sequential import (
    difference_confidence_sequence,
    difference_p_value,
    mean_confidence_sequence,
    rate_confidence_sequence,
)
from .significance import holm, sign_flip_test
from .win_rate import length_controlled_win_rate, win_rate

__all__ = [
    "ELO",
    "BradleyTerry",
    "ConformalMartingale",
    "Estimate",
    "Moments",
    "NotConnected",
    "Scores",
    "always_valid_sample_ratio",
    "average_ranks",
    "bootstrap",
    "bootstrap_mean",
    "bradley_terry",
    "clustered_mean",
    "clustered_rate",
    "cohen_kappa",
    "contributions",
    "detectable_difference",
    "difference_confidence_sequence",
    "difference_p_value",
    "fleiss_kappa",
    "holm",
    "krippendorff_alpha",
    "length_bias",
    "length_controlled_win_rate",
    "mean_confidence_sequence",
    "paired_difference",
    "pass_at_k",
    "position_bias",
    "rate_confidence_sequence",
    "rate_difference",
    "rule_of_three",
    "sample_ratio_test",
    "self_preference",
    "sign_flip_test",
    "two_way_mean",
    "wilson",
    "win_rate",
]
