"""AI feedback: judges that compare or grade answers, and labels that say how far they can be trusted."""

from .budget import Budget, CostEstimate
from .pairwise import PairwiseLabeler
from .result import LabelResult
from .rubric import RUBRICS, PairRubric

__all__ = ["RUBRICS", "Budget", "CostEstimate", "LabelResult", "PairRubric", "PairwiseLabeler"]
