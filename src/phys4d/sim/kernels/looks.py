"""What a surface looks like where it is met: its normals and textures, and how it turns light aside."""

from __future__ import annotations

from phys4d.sim.device import wp
from phys4d.sim.kernels.rays import Hit, on_triangle
from phys4d.sim.kernels.scene_arrays import SurfaceArrays
from phys4d.sim.textures import SIZE

TEXTURE = wp.constant(SIZE)
TEXTURE_LEVELS = wp.constant(SIZE.bit_length() - 1)
# Glass and liquids leave the share `colour` of the light after so far [m].
CLEAR_LENGTH = wp.constant(0.1)


@wp.struct
class Spot:
    """A surface where a ray meets it.

    geometric, shading: unit normals toward the eye, of the surface itself and as light falls on it (smooth, with
    relief). outside: whether the ray comes from outside. footprint: half width of the ray on the surface [m].
    shine: what it sends out because it is hot.
    """

    point: wp.vec3
    geometric: wp.vec3
    shading: wp.vec3
    albedo: wp.vec3
    owner: wp.int32
    outside: wp.bool
    footprint: wp.float32
    shine: wp.vec3


@wp.func
def texel(texels: wp.array2d(dtype=wp.float32), texture: int, level: int, u: float, v: float):
    """Bilinear look-up in one mip level; (u, v) in tiles, repeating."""
    start = int(0)
    size = int(TEXTURE)
    for _k in range(level):
        start += size * size
        size = size / 2
    x = u * float(size) - 0.5
    y = v * float(size) - 0.5
    x0 = int(wp.floor(x))
    y0 = int(wp.floor(y))
    fx = x - float(x0)
    fy = y - float(y0)
    # Sizes are powers of two, so that a mask wraps negative numbers too.
    mask = size - 1
    xa = x0 & mask
    xb = (x0 + 1) & mask
    ya = (y0 & mask) * size + start
    yb = ((y0 + 1) & mask) * size + start
    top = (1.0 - fx) * texels[texture, ya + xa] + fx * texels[texture, ya + xb]
    bottom = (1.0 - fx) * texels[texture, yb + xa] + fx * texels[texture, yb + xb]
    return (1.0 - fy) * top + fy * bottom


@wp.func
def filtered(texels: wp.array2d(dtype=wp.float32), texture: int, level: float, u: float, v: float):
    """Look-up between two mip levels."""
    fine = wp.min(int(level), TEXTURE_LEVELS)
    coarse = wp.min(fine + 1, TEXTURE_LEVELS)
    blend = wp.min(level - float(fine), 1.0)
    a = texel(texels, texture, fine, u, v)
    b = texel(texels, texture, coarse, u, v)
    return a + blend * (b - a)


@wp.func
def mip_level(tile: float, footprint: float):
    return wp.log2(wp.max(footprint / tile * float(TEXTURE), 1.0))


@wp.func
def triplanar_weights(axis: wp.vec3):
    square = wp.cw_mul(axis, axis)
    w = wp.cw_mul(wp.cw_mul(square, square), square)
    return w / (w[0] + w[1] + w[2] + 1.0e-12)


@wp.func
def textured(surfaces: SurfaceArrays, s: int, rest: wp.vec3, axis: wp.vec3, footprint: float):
    """Mix of a surface's two colours by its texture, laid on from the three axes of the material (triplanar)."""
    texture = surfaces.looks[s].texture
    tile = surfaces.looks[s].tile
    level = mip_level(tile, footprint)
    p = rest / tile
    w = triplanar_weights(axis)
    mix = float(0.0)
    if w[0] > 0.01:
        mix += w[0] * filtered(surfaces.texels, texture, level, p[1], p[2])
    if w[1] > 0.01:
        mix += w[1] * filtered(surfaces.texels, texture, level, p[0], p[2])
    if w[2] > 0.01:
        mix += w[2] * filtered(surfaces.texels, texture, level, p[0], p[1])
    return surfaces.looks[s].colour + mix * (surfaces.looks[s].accent - surfaces.looks[s].colour)


@wp.func
def slope(texels: wp.array2d(dtype=wp.float32), texture: int, level: float, u: float, v: float):
    """Derivatives of a texture by u and v, over one texel of its mip level: fine relief fades with distance."""
    step = wp.pow(2.0, wp.min(level, float(TEXTURE_LEVELS))) / float(TEXTURE)
    du = filtered(texels, texture, level, u + step, v) - filtered(texels, texture, level, u - step, v)
    dv = filtered(texels, texture, level, u, v + step) - filtered(texels, texture, level, u, v - step)
    return wp.vec2(du, dv) / (2.0 * step)


@wp.func
def relief_gradient(surfaces: SurfaceArrays, s: int, rest: wp.vec3, axis: wp.vec3, footprint: float):
    """Gradient of a surface's relief by the coordinates of the resting material, triplanar as its colour."""
    texture = surfaces.looks[s].relief_texture
    tile = surfaces.looks[s].tile
    level = mip_level(tile, footprint)
    p = rest / tile
    w = triplanar_weights(axis)
    gradient = wp.vec3(0.0, 0.0, 0.0)
    if w[0] > 0.01:
        g = slope(surfaces.texels, texture, level, p[1], p[2])
        gradient += w[0] * wp.vec3(0.0, g[0], g[1])
    if w[1] > 0.01:
        g = slope(surfaces.texels, texture, level, p[0], p[2])
        gradient += w[1] * wp.vec3(g[0], 0.0, g[1])
    if w[2] > 0.01:
        g = slope(surfaces.texels, texture, level, p[0], p[1])
        gradient += w[2] * wp.vec3(g[0], g[1], 0.0)
    return gradient * (surfaces.looks[s].relief / tile)


@wp.func
def corner(values: wp.array(dtype=wp.vec3), offset: int, faces: wp.array(dtype=wp.int32), f: int, k: int):
    return values[offset + faces[3 * f + k]]


@wp.func
def outward_normal(surfaces: SurfaceArrays, t: int, primitive: int, place: wp.vec3):
    """Unit normal of the surface itself, away from its inside."""
    if primitive < surfaces.triangles:
        now = t * surfaces.vertices
        f = t * surfaces.varying + primitive
        a = corner(surfaces.points, now, surfaces.faces, f, 0)
        b = corner(surfaces.points, now, surfaces.faces, f, 1)
        c = corner(surfaces.points, now, surfaces.faces, f, 2)
        return wp.normalize(wp.cross(b - a, c - a))
    return surfaces.rotations[t * surfaces.spheres + primitive - surfaces.triangles] * place


@wp.func
def place_of(surfaces: SurfaceArrays, t: int, primitive: int, point: wp.vec3):
    """The place on a primitive (see `Hit`) of the point of its plane, or of its sphere, that is nearest."""
    if primitive < surfaces.triangles:
        now = t * surfaces.vertices
        f = t * surfaces.varying + primitive
        c = corner(surfaces.points, now, surfaces.faces, f, 2)
        a = corner(surfaces.points, now, surfaces.faces, f, 0) - c
        b = corner(surfaces.points, now, surfaces.faces, f, 1) - c
        d = point - c
        aa = wp.dot(a, a)
        ab = wp.dot(a, b)
        bb = wp.dot(b, b)
        ad = wp.dot(a, d)
        bd = wp.dot(b, d)
        share = 1.0 / wp.max(aa * bb - ab * ab, 1.0e-30)
        return wp.vec3((bb * ad - ab * bd) * share, (aa * bd - ab * ad) * share, 0.0)
    row = t * surfaces.spheres + primitive - surfaces.triangles
    ball = surfaces.balls[row]
    outward = point - wp.vec3(ball[0], ball[1], ball[2])
    return wp.normalize(wp.transpose(surfaces.rotations[row]) * outward)


@wp.func
def material_at(surfaces: SurfaceArrays, t: int, primitive: int, place: wp.vec3):
    """A place of a primitive in the resting material [m], and the unit normal there.

    Textures are laid on along the material's own axes, not those of the surface as it has moved.
    """
    if primitive < surfaces.triangles:
        f = t * surfaces.varying + primitive
        resting = wp.where(surfaces.varying > 0, t * surfaces.vertices, 0)
        r0 = corner(surfaces.rest, resting, surfaces.faces, f, 0)
        r1 = corner(surfaces.rest, resting, surfaces.faces, f, 1)
        r2 = corner(surfaces.rest, resting, surfaces.faces, f, 2)
        rest = place[0] * r0 + place[1] * r1 + (1.0 - place[0] - place[1]) * r2
        return rest, wp.normalize(wp.cross(r1 - r0, r2 - r0))
    return surfaces.balls[t * surfaces.spheres + primitive - surfaces.triangles][3] * place, place


@wp.func
def albedo_at(surfaces: SurfaceArrays, t: int, primitive: int, place: wp.vec3, footprint: float):
    """Colour of the material at a place of a primitive, filtered over `footprint` [m]."""
    rest, axis = material_at(surfaces, t, primitive, place)
    return textured(surfaces, surfaces.owner[primitive], rest, axis, footprint)


@wp.func
def spot_of(surfaces: SurfaceArrays, t: int, hit: Hit, origin: wp.vec3, direction: wp.vec3, width: float):
    """What a ray of half width `width` [m] there meets."""
    spot = Spot()
    f = hit.primitive
    s = surfaces.owner[f]
    spot.owner = s
    spot.point = origin + hit.t * direction
    view = -wp.normalize(direction)
    outward = outward_normal(surfaces, t, f, hit.place)
    spot.outside = wp.dot(outward, view) >= 0.0
    spot.geometric = wp.where(spot.outside, outward, -outward)
    spot.footprint = width / wp.sqrt(wp.max(wp.dot(spot.geometric, view), 0.15))
    rest, axis = material_at(surfaces, t, f, hit.place)
    smooth = outward
    if f < surfaces.triangles:
        now = t * surfaces.vertices
        row = t * surfaces.varying + f
        smooth = wp.normalize(on_triangle(surfaces.normals, now, surfaces.faces, row, hit.place[0], hit.place[1]))
        smooth = wp.where(wp.dot(smooth, outward) < 0.0, -smooth, smooth)
        if surfaces.shining > 0:
            spot.shine = on_triangle(surfaces.shine, now, surfaces.faces, row, hit.place[0], hit.place[1])
        if surfaces.looks[s].relief != 0.0:
            gradient = relief_gradient(surfaces, s, rest, axis, spot.footprint)
            # The same change along both edges of the triangle as it is now, however it was stretched.
            a = corner(surfaces.points, now, surfaces.faces, row, 0)
            e1 = corner(surfaces.points, now, surfaces.faces, row, 1) - a
            e2 = corner(surfaces.points, now, surfaces.faces, row, 2) - a
            n = wp.cross(e1, e2)
            resting = wp.where(surfaces.varying > 0, now, 0)
            r0 = corner(surfaces.rest, resting, surfaces.faces, row, 0)
            r1 = corner(surfaces.rest, resting, surfaces.faces, row, 1)
            r2 = corner(surfaces.rest, resting, surfaces.faces, row, 2)
            along = wp.dot(gradient, r1 - r0) * wp.cross(e2, n) + wp.dot(gradient, r2 - r0) * wp.cross(n, e1)
            smooth = wp.normalize(smooth - along / wp.max(wp.dot(n, n), 1.0e-20))
    else:
        sphere = t * surfaces.spheres + f - surfaces.triangles
        if surfaces.looks[s].relief != 0.0:
            gradient = relief_gradient(surfaces, s, rest, axis, spot.footprint)
            gradient = gradient - wp.dot(gradient, axis) * axis
            smooth = wp.normalize(outward - surfaces.rotations[sphere] * gradient)
    spot.shading = wp.where(spot.outside, smooth, -smooth)
    spot.albedo = textured(surfaces, s, rest, axis, spot.footprint)
    return spot


@wp.func
def curvature(surfaces: SurfaceArrays, t: int, primitive: int):
    """How fast the normal turns along the surface [1/m]: it widens what a mirror or a lens shows."""
    if primitive >= surfaces.triangles:
        return 1.0 / surfaces.balls[t * surfaces.spheres + primitive - surfaces.triangles][3]
    now = t * surfaces.vertices
    row = t * surfaces.varying + primitive
    bent = float(0.0)
    for k in range(3):
        p = corner(surfaces.points, now, surfaces.faces, row, k)
        q = corner(surfaces.points, now, surfaces.faces, row, (k + 1) % 3)
        m = corner(surfaces.normals, now, surfaces.faces, row, k)
        n = corner(surfaces.normals, now, surfaces.faces, row, (k + 1) % 3)
        bent = wp.max(bent, wp.length(n - m) / wp.max(wp.length(q - p), 1.0e-9))
    return bent


@wp.func
def reflected(direction: wp.vec3, normal: wp.vec3, geometric: wp.vec3):
    """The mirrored direction; relief must not send it into the surface."""
    out = direction - 2.0 * wp.dot(direction, normal) * normal
    into = wp.dot(out, geometric)
    if into <= 0.0:
        out = wp.normalize(out + (1.0e-3 - into) * geometric)
    return out


@wp.func
def refracted(direction: wp.vec3, normal: wp.vec3, ratio: float):
    """Snell's law: the bent unit direction. ratio: the index on the ray's side over that beyond; `normal` faces
    the ray. Zero where all light is reflected."""
    cosine = -wp.dot(direction, normal)
    squared = 1.0 - ratio * ratio * (1.0 - cosine * cosine)
    if squared <= 0.0:
        return wp.vec3(0.0, 0.0, 0.0)
    return wp.normalize(ratio * direction + (ratio * cosine - wp.sqrt(squared)) * normal)


@wp.func
def fresnel(cosine: float, ratio: float):
    """Share of unpolarised light that a clear surface reflects; `ratio` as in `refracted`."""
    squared = 1.0 - ratio * ratio * (1.0 - cosine * cosine)
    if squared <= 0.0:
        return 1.0
    beyond = wp.sqrt(squared)
    parallel = (cosine - ratio * beyond) / (cosine + ratio * beyond)
    across = (ratio * cosine - beyond) / (ratio * cosine + beyond)
    return 0.5 * (parallel * parallel + across * across)


@wp.func
def absorbed(surfaces: SurfaceArrays, s: int, length: float):
    """Share of light left after `length` [m] within glass or a liquid (Beer and Lambert)."""
    c = surfaces.looks[s].colour
    e = length / CLEAR_LENGTH
    return wp.vec3(wp.pow(c[0], e), wp.pow(c[1], e), wp.pow(c[2], e))
