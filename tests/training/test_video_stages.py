"""Large backbones through everything, from a diffusers folder to a model after three stages that is loaded again.

What is done is what fills the table in docs/backbones.md; there it is done to every kind of every backbone.
"""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "backbones.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("backbones_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.PipelineBackbone, "sampling_steps", 2)
        yield module


@pytest.mark.parametrize(("name", "variant"), [("wan", "ti2v-2.2"), ("ltx", "0.9")])
def test_every_stage_and_back(script, clips, labelled_clips, tmp_path, name, variant):
    done = list(script.put_through(name, variant, clips, labelled_clips, tmp_path))
    assert done == [(operation, True) for operation in script.OPERATIONS]


def test_the_table_names_every_kind(script):
    assert {name for name, _ in script.kinds()} == set(script.backbones)
    assert len(script.kinds()) == len(set(script.kinds()))
