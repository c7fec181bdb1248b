"""The ladder: what each stage of training gains, over several seeds, judged by one instrument.

`evaluate_ladder` judges every run of every rung on the same held-out worlds; `Results` is what comes of it.
"""

from phys4d.ladder.climb import evaluate_ladder
from phys4d.ladder.results import Results

__all__ = ["Results", "evaluate_ladder"]
