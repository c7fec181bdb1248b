"""The public door: names, laziness, and worlds that show themselves in notebooks."""

from __future__ import annotations

import subprocess
import sys

import pytest

import phys4d


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_public_name_is_there():
    for name in phys4d.__all__:
        assert getattr(phys4d, name) is not None
    assert set(phys4d.__all__) == set(dir(phys4d))
    with pytest.raises(AttributeError, match="has no attribute 'wrold'"):
        _ = phys4d.wrold


def test_importing_is_quick_because_nothing_heavy_is_loaded():
    heavy = "{'torch', 'mujoco', 'warp', 'matplotlib', 'av'}"
    assert run(f"import sys, phys4d, phys4d.cli; print({heavy} & set(sys.modules))") == "set()"


def test_a_simulated_world_shows_itself_in_a_notebook():
    code = "import phys4d; print(phys4d.simulate('ball_drop', size=(16, 16), frames=2)._repr_html_()[:7])"
    assert run(code) == "<iframe"
