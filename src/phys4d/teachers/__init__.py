"""Off-the-shelf estimators that label video from its colours alone: the pseudo-labels of stage 1.

To add a teacher, write a file with an entry filed in `depth_teachers` or `flow_teachers`, and import it here.
"""

import phys4d.teachers.depth
import phys4d.teachers.flow  # noqa: F401
from phys4d.teachers.teacher import DepthLabels, FlowLabels, Teacher, depth_teachers, flow_teachers

__all__ = ["DepthLabels", "FlowLabels", "Teacher", "depth_teachers", "flow_teachers"]
