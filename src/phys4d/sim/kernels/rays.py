"""Cameras, the points of surfaces, and what a ray meets. Every function is the same on the CPU and on CUDA."""

from __future__ import annotations

from phys4d.sim.device import wp
from phys4d.sim.kernels.scene_arrays import LIQUID, CameraArrays, SurfaceArrays

FAR = wp.constant(1.0e4)
# Up to so many spheres are tried one by one: a walk through their BVH costs as much as this many trials.
FEW = wp.constant(8)
# Walls of glass that a label's ray passes at most.
PANES = wp.constant(32)
_LIQUID = wp.constant(LIQUID)


@wp.struct
class Hit:
    """Where a ray meets a surface: at origin + t direction. primitive -1: nowhere.

    place: what fixes the point to the material. Barycentrics (u, v, 0) of a triangle, which weigh its first two
    corners as Warp's hits do; of a sphere, the unit vector to the point at rest.
    """

    t: wp.float32
    primitive: wp.int32
    place: wp.vec3


@wp.func
def ray_direction(camera: CameraArrays, t: int, x: float, y: float):
    """World direction of the ray through pixel (x, y), scaled so that its z in camera axes is 1."""
    k = camera.pinhole[t]
    local = wp.vec3((x - k[2]) / k[0], (y - k[3]) / k[1], 1.0)
    return wp.transform_vector(camera.pose[t], local)


@wp.func
def eye_position(camera: CameraArrays, t: int):
    m = camera.pose[t]
    return wp.vec3(m[0, 3], m[1, 3], m[2, 3])


@wp.func
def to_camera(camera: CameraArrays, t: int, point: wp.vec3):
    """Camera axes of a world point; the pose is rigid, so its inverse is its transpose."""
    m = camera.pose[t]
    d = point - wp.vec3(m[0, 3], m[1, 3], m[2, 3])
    return wp.vec3(
        m[0, 0] * d[0] + m[1, 0] * d[1] + m[2, 0] * d[2],
        m[0, 1] * d[0] + m[1, 1] * d[1] + m[2, 1] * d[2],
        m[0, 2] * d[0] + m[1, 2] * d[1] + m[2, 2] * d[2],
    )


@wp.func
def to_pixel(camera: CameraArrays, t: int, local: wp.vec3):
    k = camera.pinhole[t]
    return wp.vec2(k[0] * local[0] / local[2] + k[2], k[1] * local[1] / local[2] + k[3])


@wp.func
def on_triangle(
    values: wp.array(dtype=wp.vec3), offset: int, faces: wp.array(dtype=wp.int32), f: int, u: float, v: float
):
    """Barycentric interpolation of per-vertex values; (u, v) weigh the first two corners."""
    a = values[offset + faces[3 * f]]
    b = values[offset + faces[3 * f + 1]]
    c = values[offset + faces[3 * f + 2]]
    return u * a + v * b + (1.0 - u - v) * c


@wp.func
def surface_point(surfaces: SurfaceArrays, t: int, primitive: int, place: wp.vec3):
    """Where a point of the material is in frame t."""
    if primitive < surfaces.triangles:
        f = t * surfaces.varying + primitive
        return on_triangle(surfaces.points, t * surfaces.vertices, surfaces.faces, f, place[0], place[1])
    row = t * surfaces.spheres + primitive - surfaces.triangles
    ball = surfaces.balls[row]
    return wp.vec3(ball[0], ball[1], ball[2]) + ball[3] * (surfaces.rotations[row] * place)


@wp.func
def next_point(surfaces: SurfaceArrays, t: int, primitive: int, place: wp.vec3):
    """Where a point of the material of frame t is in frame t + 1."""
    if surfaces.varying > 0 and primitive < surfaces.triangles:
        f = t * surfaces.varying + primitive
        return on_triangle(surfaces.ahead, t * surfaces.vertices, surfaces.faces, f, place[0], place[1])
    return surface_point(surfaces, t + 1, primitive, place)


@wp.func
def sphere_crossing(ball: wp.vec4, origin: wp.vec3, direction: wp.vec3):
    """The ray parameter at which a sphere is met first, from outside or else from inside; -1 where it is not."""
    offset = wp.vec3(ball[0], ball[1], ball[2]) - origin
    r = ball[3]
    a = wp.dot(direction, direction)
    middle = wp.dot(offset, direction) / a
    # From the foot of the perpendicular: b^2 - ac would lose half of float32's digits on small, far spheres.
    across = offset - middle * direction
    left = r * r - wp.dot(across, across)
    if left <= 0.0:
        return -1.0
    half = wp.sqrt(left / a)
    if middle - half > 0.0:
        return middle - half
    return middle + half


@wp.func
def nearest_sphere(
    balls: wp.array(dtype=wp.vec4),
    first: int,
    count: int,
    bvh: wp.uint64,
    origin: wp.vec3,
    direction: wp.vec3,
    reach: float,
):
    """The sphere of a group that a ray meets first within `reach`, and where; -1 where there is none.

    balls, first, count: all spheres, where those of this frame and group begin, and how many they are.
    """
    nearest = int(-1)
    best = float(reach)
    if count <= FEW:
        for k in range(count):
            crossing = sphere_crossing(balls[first + k], origin, direction)
            if crossing > 0.0 and crossing < best:
                best = crossing
                nearest = int(k)
        return nearest, best
    query = wp.bvh_query_ray(bvh, origin, direction)
    item = int(0)
    while wp.bvh_query_next(query, item, best):
        crossing = sphere_crossing(balls[first + item], origin, direction)
        if crossing > 0.0 and crossing < best:
            best = crossing
            nearest = int(item)
    return nearest, best


@wp.func
def sphere_in_the_way(
    balls: wp.array(dtype=wp.vec4),
    first: int,
    count: int,
    bvh: wp.uint64,
    origin: wp.vec3,
    direction: wp.vec3,
    reach: float,
    own: int,
):
    """Whether a sphere of a group other than number `own` is met within `reach`."""
    if count <= FEW:
        for k in range(count):
            if k != own:
                crossing = sphere_crossing(balls[first + k], origin, direction)
                if crossing > 0.0 and crossing < reach:
                    return True
        return False
    query = wp.bvh_query_ray(bvh, origin, direction)
    item = int(0)
    while wp.bvh_query_next(query, item, reach):
        if item != own:
            crossing = sphere_crossing(balls[first + item], origin, direction)
            if crossing > 0.0 and crossing < reach:
                return True
    return False


@wp.func
def solid_in_the_way(surfaces: SurfaceArrays, t: int, origin: wp.vec3, direction: wp.vec3, reach: float, own: int):
    """Whether anything but glass, liquids and the sphere number `own` is met within `reach`."""
    if surfaces.solid_triangles > 0:
        if wp.mesh_query_ray_anyhit(surfaces.trees[t].solid_mesh, origin, direction, reach):
            return True
    if surfaces.solid_spheres > 0:
        first = t * surfaces.spheres
        bvh = surfaces.trees[t].solid_spheres
        count = surfaces.solid_spheres
        return sphere_in_the_way(surfaces.balls, first, count, bvh, origin, direction, reach, own)
    return False


@wp.func
def group_hit(surfaces: SurfaceArrays, t: int, clear: bool, origin: wp.vec3, direction: wp.vec3, reach: float):
    """The first of the solid, or of the clear, primitives that a ray meets within `reach`."""
    mesh = surfaces.trees[t].solid_mesh
    bvh = surfaces.trees[t].solid_spheres
    first_triangle = int(0)
    first_sphere = int(0)
    triangles = surfaces.solid_triangles
    spheres = surfaces.solid_spheres
    if clear:
        mesh = surfaces.trees[t].clear_mesh
        bvh = surfaces.trees[t].clear_spheres
        first_triangle = surfaces.solid_triangles
        first_sphere = surfaces.solid_spheres
        triangles = surfaces.triangles - first_triangle
        spheres = surfaces.spheres - first_sphere
    hit = Hit()
    hit.primitive = -1
    hit.t = reach
    if triangles > 0:
        met = wp.mesh_query_ray(mesh, origin, direction, reach)
        if met.result:
            hit.t = met.t
            hit.primitive = first_triangle + met.face
            hit.place = wp.vec3(met.u, met.v, 0.0)
    if spheres > 0:
        first = t * surfaces.spheres + first_sphere
        k, crossing = nearest_sphere(surfaces.balls, first, spheres, bvh, origin, direction, hit.t)
        if k >= 0:
            ball = surfaces.balls[first + k]
            outward = origin + crossing * direction - wp.vec3(ball[0], ball[1], ball[2])
            hit.t = crossing
            hit.primitive = surfaces.triangles + first_sphere + k
            hit.place = wp.normalize(wp.transpose(surfaces.rotations[first + k]) * outward)
    return hit


@wp.func
def first_hit(surfaces: SurfaceArrays, t: int, origin: wp.vec3, direction: wp.vec3):
    """The first surface of any kind that a ray meets."""
    hit = group_hit(surfaces, t, False, origin, direction, FAR)
    if surfaces.clear > 0:
        before = group_hit(surfaces, t, True, origin, direction, hit.t)
        if before.primitive >= 0:
            hit = before
    return hit


@wp.func
def first_liquid(surfaces: SurfaceArrays, t: int, origin: wp.vec3, direction: wp.vec3, reach: float):
    """The first surface of a liquid within `reach`, past any glass before it."""
    passed = float(0.0)
    pane = int(0)
    step = 1.0e-5 / wp.length(direction)
    hit = Hit()
    hit.primitive = -1
    while pane < PANES and passed < reach:
        hit = group_hit(surfaces, t, True, origin + passed * direction, direction, reach - passed)
        hit.t += passed
        if hit.primitive < 0:
            return hit
        if surfaces.looks[surfaces.owner[hit.primitive]].finish == _LIQUID:
            return hit
        passed = hit.t * (1.0 + 1.0e-6) + step
        pane += 1
    hit.primitive = -1
    return hit


@wp.func
def labelled_hit(surfaces: SurfaceArrays, t: int, origin: wp.vec3, direction: wp.vec3):
    """The surface that labels speak of: the first one along the straight ray that is not of glass."""
    hit = group_hit(surfaces, t, False, origin, direction, FAR)
    if surfaces.clear > 0:
        liquid = first_liquid(surfaces, t, origin, direction, hit.t)
        if liquid.primitive >= 0:
            hit = liquid
    return hit


@wp.func
def seen_from(camera: CameraArrays, surfaces: SurfaceArrays, t: int, primitive: int, point: wp.vec3):
    """Whether the camera of frame t sees a surface point of frame t: in the picture, and nothing before it."""
    local = to_camera(camera, t, point)
    if local[2] <= 1.0e-4:
        return False
    p = to_pixel(camera, t, local)
    if p[0] < 0.0 or p[1] < 0.0 or p[0] > float(camera.width) or p[1] > float(camera.height):
        return False
    eye = eye_position(camera, t)
    reach = wp.length(point - eye)
    direction = (point - eye) / reach
    # The point's own surface must not hide it: stop short of it by float32's grain and a hair.
    margin = 1.0e-3 + 1.0e-3 * reach
    own = int(-1)
    if primitive >= surfaces.triangles:
        # A sphere hides its far side, exactly; so it need not be met, and its neighbours may be near.
        own = primitive - surfaces.triangles
        ball = surfaces.balls[t * surfaces.spheres + own]
        if wp.dot(point - wp.vec3(ball[0], ball[1], ball[2]), direction) > 0.0:
            return False
        margin = 1.0e-4 + 1.0e-5 * reach
    slack = surfaces.looks[surfaces.owner[primitive]].slack
    margin += slack
    if solid_in_the_way(surfaces, t, eye, direction, reach - margin, own):
        return False
    if surfaces.clear > 0:
        liquid = first_liquid(surfaces, t, eye, direction, reach - margin)
        if liquid.primitive >= 0 and (slack > 0.0 or liquid.primitive != primitive):
            return False
    return True
