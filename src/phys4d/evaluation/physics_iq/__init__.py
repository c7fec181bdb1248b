"""Physics-IQ: does a video move where, when and as much as two takes of the real event do?

Sources: Motamed et al., "Do generative video models understand physical principles?" (arXiv 2501.09038); Rädsch et
al., "Physics-IQ Verified" (arXiv 2606.18943); google-deepmind/physics-IQ-benchmark.
"""

from phys4d.evaluation.physics_iq.likeness import Glimpse, Likeness, glimpses, likeness, measure_view
from phys4d.evaluation.physics_iq.masks import MotionMasks, motion_masks, through_codec
from phys4d.evaluation.physics_iq.scores import MEASURES, original_score, verified_scores
from phys4d.evaluation.physics_iq.summary import ViewResult, summarise

__all__ = [
    "MEASURES",
    "Glimpse",
    "Likeness",
    "MotionMasks",
    "ViewResult",
    "glimpses",
    "likeness",
    "measure_view",
    "motion_masks",
    "original_score",
    "summarise",
    "through_codec",
    "verified_scores",
]
