"""Warp kernels of elastic bodies. They run on the CPU, whatever the rays are cast on.

`arrays.py`: what they are handed. `motion.py`: forces, contacts, the leapfrog. `inside.py`: what a skin encloses.
"""
