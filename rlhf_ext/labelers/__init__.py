"""AI feedback: judges that compare or grade answers, and labels that say how far they can be trusted."""

from .aspects import ASPECTS, Aspect
from .best_graded import best_graded
from .best_of import best_of_n, best_of_n_dataset
from .budget import Budget, BudgetUsedUp, CostEstimate
from .candidates import sample_candidates
from .graded import GradedAnswer
from .grades import Grades
from .pairwise import PairwiseLabeler
from .result import LabelResult
from .rewards import from_rewards
from .rubric import RUBRICS, PairRubric
from .scoring import ScoreLabeler

__all__ = [
    "ASPECTS",
    "RUBRICS",
    "Aspect",
    "Budget",
    "BudgetUsedUp",
    "CostEstimate",
    "GradedAnswer",
    "Grades",
    "LabelResult",
    "PairRubric",
    "PairwiseLabeler",
    "ScoreLabeler",
    "best_graded",
    "best_of_n",
    "best_of_n_dataset",
    "from_rewards",
    "sample_candidates",
]
