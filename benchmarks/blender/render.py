"""Runs in Blender's own Python, for `../against_cycles.py`: render each frame of a scene, print the seconds.

python render.py scene.npz HEIGHT WIDTH SAMPLES [PICTURE.png]
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

import json
import sys
import time

import bpy
import numpy as np
from mathutils import Matrix, Vector


def main(scene: str, height: str, width: str, samples: str, picture: str = "") -> None:
    given = np.load(scene)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    made = bpy.context.scene
    made.render.engine, made.cycles.device, made.cycles.samples = "CYCLES", "CPU", int(samples)
    made.cycles.use_denoising = made.cycles.use_adaptive_sampling = False
    made.render.use_persistent_data = True
    made.render.resolution_x, made.render.resolution_y = int(width), int(height)
    made.world = bpy.data.worlds.new("world")
    made.world.use_nodes = True
    made.world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.6, 0.7, 0.85, 1.0)
    meshes = []
    while f"vertices{len(meshes)}" in given:
        vertices, faces, colour = (given[f"{part}{len(meshes)}"] for part in ("vertices", "faces", "colour"))
        meshes.append((body(made, vertices[0], faces, colour), vertices))
    lamp = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    lamp.data.energy, lamp.data.angle = 3.0, 0.1
    lamp.rotation_euler = Vector(given["sun"].tolist()).to_track_quat("Z", "Y").to_euler()
    eye = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    eye.data.sensor_fit = "VERTICAL"
    eye.data.angle = 2 * float(np.arctan(int(height) / 2 / given["intrinsics"][1, 1]))
    # OpenCV's axes to Blender's: y and z turned round.
    eye.matrix_world = Matrix((given["pose"] @ np.diag([1, -1, -1, 1])).tolist())
    for thing in (lamp, eye):
        made.collection.objects.link(thing)
    made.camera = eye
    seconds = []
    # The first one is not counted: it builds everything.
    for frame in (0, *range(len(given["vertices0"]))):
        for mesh, vertices in meshes:
            mesh.vertices.foreach_set("co", vertices[frame].reshape(-1))
            mesh.update()
        started = time.perf_counter()
        bpy.ops.render.render()
        seconds.append(time.perf_counter() - started)
    if picture:
        made.render.filepath = picture
        bpy.ops.render.render(write_still=True)
    print(json.dumps({"seconds": sum(seconds[1:])}))


def body(made, vertices, faces, colour):
    """A mesh in a plain matte colour, in the scene."""
    mesh = bpy.data.meshes.new("mesh")
    mesh.from_pydata(vertices.tolist(), [], faces.tolist())
    material = bpy.data.materials.new("material")
    material.use_nodes = True
    paint = material.node_tree.nodes["Principled BSDF"].inputs
    paint["Base Color"].default_value = (*colour.tolist(), 1.0)
    paint["Roughness"].default_value = 0.8
    mesh.materials.append(material)
    made.collection.objects.link(bpy.data.objects.new("thing", mesh))
    return mesh


if __name__ == "__main__":
    main(*sys.argv[1:])
