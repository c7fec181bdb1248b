"""What the kernels are handed: cameras, surfaces, lights, as arrays over all frames."""

from __future__ import annotations

from phys4d.sim.device import wp

OPAQUE, MIRROR, GLASS, LIQUID = range(4)
"""Finishes of a surface, as in `scene.FINISHES`."""
SUN, RECTANGLE, DISC, BOX = range(4)
"""Kinds of light: a far disc, two kinds of lamps at a place, a far rectangle."""


@wp.struct
class CameraArrays:
    """Pinhole cameras by frame: K as (fx, fy, cx, cy) and world_from_camera."""

    pinhole: wp.array(dtype=wp.vec4)
    pose: wp.array(dtype=wp.mat44)
    width: wp.int32
    height: wp.int32


@wp.struct
class Trees:
    """Ids of what rays are cast at in one frame: a mesh and a BVH of spheres, of solid and of clear things."""

    solid_mesh: wp.uint64
    solid_spheres: wp.uint64
    clear_mesh: wp.uint64
    clear_spheres: wp.uint64


@wp.struct
class SurfaceLook:
    """`scene.Look` of one surface, textures by index, its instance id, and the slack of a skin [m]."""

    colour: wp.vec3
    accent: wp.vec3
    texture: wp.int32
    tile: wp.float32
    gloss: wp.float32
    finish: wp.int32
    refraction: wp.float32
    relief: wp.float32
    relief_texture: wp.int32
    glow: wp.float32
    instance: wp.int32
    slack: wp.float32


@wp.struct
class SurfaceArrays:
    """All triangles, then all spheres, of all surfaces; what moves holds every frame, one after another.

    A primitive is a triangle f or, from `triangles` on, the sphere f - triangles. Solid ones come before clear
    ones (glass and liquids) in both. balls: centre and radius. owner: of a primitive, the row of its look.
    varying: 0, or where surfaces change their topology the number of triangles a frame; then faces and rest hold
    every frame too, and `ahead` is where points will be one frame later. shining: whether vertices glow (`shine`).
    Few arrays: functions are handed a copy of them all.
    """

    trees: wp.array(dtype=Trees)
    solid_triangles: wp.int32
    triangles: wp.int32
    solid_spheres: wp.int32
    spheres: wp.int32
    clear: wp.int32
    vertices: wp.int32
    varying: wp.int32
    points: wp.array(dtype=wp.vec3)
    ahead: wp.array(dtype=wp.vec3)
    shining: wp.int32
    shine: wp.array(dtype=wp.vec3)
    normals: wp.array(dtype=wp.vec3)
    rest: wp.array(dtype=wp.vec3)
    faces: wp.array(dtype=wp.int32)
    balls: wp.array(dtype=wp.vec4)
    rotations: wp.array(dtype=wp.mat33)
    owner: wp.array(dtype=wp.int32)
    looks: wp.array(dtype=SurfaceLook)
    texels: wp.array2d(dtype=wp.float32)


@wp.struct
class VolumeArrays:
    """A grid that light passes in part: extinction [1/m] at every frame, and how far it moves to the next [m]."""

    extinction: wp.array4d(dtype=wp.float32)
    shift: wp.array4d(dtype=wp.vec3)
    x: wp.int32
    y: wp.int32
    z: wp.int32
    low: wp.vec3
    cell: wp.float32
    colour: wp.vec3
    instance: wp.int32


@wp.struct
class LightArrays:
    """Lights and the sky, in linear RGB. `place`, `across` and `upward` hold every frame, one after another.

    place: unit vector toward a far light, or the middle of a lamp; across and upward: its half edges.
    """

    kind: wp.array(dtype=wp.int32)
    place: wp.array(dtype=wp.vec3)
    across: wp.array(dtype=wp.vec3)
    upward: wp.array(dtype=wp.vec3)
    colour: wp.array(dtype=wp.vec3)
    radius: wp.array(dtype=wp.float32)
    soft: wp.array(dtype=wp.float32)
    count: wp.int32
    horizon: wp.vec3
    zenith: wp.vec3
    glow: wp.float32
