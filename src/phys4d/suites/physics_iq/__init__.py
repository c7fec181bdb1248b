"""Physics-IQ, original and verified: on the public recordings, and on simulated scenes.

`folder` knows the public layout, `videos` reads its files, `recorded` and `simulated` are the two suites.
"""

from phys4d.suites.physics_iq.folder import Benchmark, ViewFiles
from phys4d.suites.physics_iq.recorded import physics_iq
from phys4d.suites.physics_iq.simulated import physics_iq_sim

__all__ = ["Benchmark", "ViewFiles", "physics_iq", "physics_iq_sim"]
