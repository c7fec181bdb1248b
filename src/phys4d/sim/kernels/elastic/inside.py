"""Which points lie within a closed mesh."""

from __future__ import annotations

from phys4d.sim.device import wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def find_inside(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), reach: float, out: wp.array(dtype=wp.int32)):
    i = wp.tid()
    found = wp.mesh_query_point_sign_winding_number(mesh, points[i], reach)
    out[i] = wp.where(found.result and found.sign < 0.0, 1, 0)
