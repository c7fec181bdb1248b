"""4D world consistency: geometry, motion, physics and picture quality of predicted worlds, with intervals.

`evaluate` makes a `Report`; `compare` holds two of them against each other. A metric is a row in the file that
measures it (geometry, motion, chamfer, physics, quality); every function in them can be used on its own.
"""

from phys4d.evaluation import baselines
from phys4d.evaluation.comparison import Comparison, compare
from phys4d.evaluation.evaluate import METRICS, evaluate
from phys4d.evaluation.report import Report

__all__ = ["METRICS", "Comparison", "Report", "baselines", "compare", "evaluate"]
