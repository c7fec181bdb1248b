"""What is installed here, what it runs on, and what phys4d knows: the text of `phys4d info`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform

REQUIRED = (
    "torch", "numpy", "scipy", "mujoco", "warp-lang", "av", "opencv-python-headless", "safetensors", "peft",
    "webdataset", "pyarrow", "tyro",
)  # fmt: skip
OPTIONAL = {
    "rerun-sdk": ("rerun", "view"),
    "ray": ("ray", "ray"),
    "diffusers": ("diffusers", "video"),
    "trackio": ("trackio", "trackio"),
    "wandb": ("wandb", "wandb"),
}
"""Distribution: (module, the extra that installs it)."""


def about() -> str:
    """Versions, devices, what phys4d knows by name, and what is optional and missing, as text for people."""
    import torch

    from phys4d.backbones import backbones
    from phys4d.sim.catalog import SCENES
    from phys4d.sim.device import wp
    from phys4d.storage import shipped_models
    from phys4d.suites import suites
    from phys4d.teachers import depth_teachers, flow_teachers

    lines = [
        f"phys4d {importlib.metadata.version('phys4d')}  python {platform.python_version()}  {platform.platform()}"
    ]
    lines.append("packages   " + "  ".join(f"{name} {importlib.metadata.version(name)}" for name in REQUIRED))
    for name, (module, extra) in OPTIONAL.items():
        if importlib.util.find_spec(module):
            lines.append(f"optional   {name} {importlib.metadata.version(name)}")
        else:
            lines.append(f"optional   {name} is not installed: pip install 'phys4d[{extra}]'")
    lines.append(f"cpu        {os.cpu_count()} cores, {torch.get_num_threads()} torch threads")
    gpus = [f"cuda:{k} {torch.cuda.get_device_name(k)}" for k in range(torch.cuda.device_count())]
    lines.append(f"gpu        {', '.join(gpus) or 'none that torch can use'}")
    lines.append(f"casting    {', '.join(device.alias for device in wp.get_devices())}")
    lines.append(f"kernels    cached in {wp.config.kernel_cache_dir}")
    lines.append(f"backbones  {', '.join(backbones)}")
    lines.append(f"models     {', '.join(shipped_models()) or 'none shipped; train one with `phys4d train`'}")
    for kind, teachers in (("depth", depth_teachers), ("flow", flow_teachers)):
        for name in teachers:
            teacher = teachers[name]
            lines.append(f"{kind:5} by   {name}: {teacher.description}; {teacher.units}; {teacher.licence}")
    lines.append(f"suites     {', '.join(suites()) or 'none'}")
    lines.append(f"scenes     {len(SCENES)}")
    width = max(len(name) for name in SCENES)
    for name in SCENES:
        row = SCENES[name]
        lines.append(f"  {name:{width}}  {row.category:10}  {row.engine:8}  {row.caption}")
    return "\n".join(lines)
