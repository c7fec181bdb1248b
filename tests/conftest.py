"""Shapes and dtypes in phys4d's signatures are checked while the tests run."""

import os
from pathlib import Path

import jaxtyping
import pytest

# A caller's own thread settings win; two test processes with two threads each would thrash.
os.environ.setdefault("OMP_NUM_THREADS", "2")

_hook = jaxtyping.install_import_hook(["phys4d.geometry", "phys4d.codecs", "phys4d.world"], "beartype.beartype")


@pytest.fixture(scope="session")
def real_recordings() -> Path:
    """The folder of real recordings; tests that use it are skipped where it is not there.

    It is looked for in $PHYS4D_REAL, then in ../shared/real beside the project.
    """
    folder = Path(os.environ.get("PHYS4D_REAL", Path(__file__).parents[2] / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip("real recordings are not here (set PHYS4D_REAL to their folder)")
    return folder
