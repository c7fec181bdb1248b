"""Warp kernels of the ray caster: what each ray hits, how it is shaded, where that surface point goes.

`scene_arrays.py`: what the kernels are handed. `rays.py`: cameras, hits, what is in the way. `looks.py`:
textures, normals, how clear surfaces bend light. `lighting.py`: sky, lights, shadows. `labels.py` and
`colour.py`: the kernels; `elastic/`: those that move elastic bodies. All geometry is in world axes [m]. Frames
share one topology: primitive f of frame t and of frame t+1 is the same piece of surface, which makes scene flow,
flow, visibility and tracks exact by construction.
"""
