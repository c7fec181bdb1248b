"""Warp kernels of the ray caster: what each ray hits, how it is shaded, where that surface point goes.

`scene_arrays.py`: what the kernels are handed. `rays.py`: cameras, hits, what is in the way. `looks.py`:
textures, normals, how clear surfaces bend light. `lighting.py`: sky, lights, shadows. `labels.py` and `colour.py`:
the kernels; `volumes.py`: those of smoke. All geometry is in world axes [m]. Primitive f of frame t and of frame
t+1 is the same piece of surface, which makes scene flow, flow, visibility and tracks exact by construction; where
a surface changes its topology, every frame says where its vertices will be in the next.

Of the engines: `primitives.py`, distances to what bodies are touched as; `elastic/`, cloth, elastic solids and
inflatables; `solids.py`, bodies among media; `grains.py`; and of liquids `transfer.py`, `covers.py`, `pressure.py`
and `faces.py`.
"""
