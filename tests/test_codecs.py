"""Codecs: bounds on random and extreme data, equal bytes for equal arrays, and damage that is always noticed."""

import contextlib
import io
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from phys4d import codecs
from phys4d.errors import InputError

SIZES = [(1, 1, 1), (2, 1, 7), (2, 9, 1), (1, 63, 61), (3, 48, 64), (2, 2, 2), (1, 300, 400)]


def log_uniform(shape: tuple[int, ...], low: float, high: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.exp(rng.uniform(np.log(low), np.log(high), shape)).astype(np.float32)


def smooth_depth(frames: int = 3, height: int = 40, width: int = 56) -> np.ndarray:
    t, y, x = np.mgrid[:frames, :height, :width]
    return (3 + np.sin(x / 9 + t) + np.cos(y / 7)).astype(np.float32)


def assert_within_log_bound(depth: np.ndarray, decoded: np.ndarray) -> None:
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded == 0, depth == 0)
    surface = depth > 0
    error = np.abs(decoded[surface].astype(np.float64) / depth[surface].astype(np.float64) - 1)
    assert error.max(initial=0) <= codecs.log16_bound(depth)


@pytest.mark.parametrize("shape", SIZES)
def test_colour_and_ids_are_lossless(shape):
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    ids = rng.integers(0, 65536, shape).astype(np.int32)
    np.testing.assert_array_equal(codecs.decode_rgb(codecs.encode_rgb(rgb, 12.0)), rgb)
    decoded = codecs.decode_ids(codecs.encode_ids(ids, 12.0))
    assert decoded.dtype == np.int32
    np.testing.assert_array_equal(decoded, ids)


@pytest.mark.parametrize("shape", SIZES)
def test_depth_keeps_its_bound(shape):
    depth = log_uniform(shape, 1e-3, 1e4)
    sky = np.random.default_rng(2).random(shape) < 0.3
    cases = [
        depth,
        np.where(sky, np.float32(0), depth),
        np.zeros(shape, np.float32),
        np.full(shape, 2.7, np.float32),
        log_uniform(shape, 1e-37, 3e38),
        np.full(shape, 1e-42, np.float32),
    ]
    for case in cases:
        assert_within_log_bound(case, codecs.decode_log16(codecs.encode_log16(case, 12.0)))


def test_depth_bound_is_what_the_documentation_says():
    assert codecs.log16_bound(np.array([1.0, 10.0])) == pytest.approx(1.77e-5, rel=0.01)
    assert codecs.log16_bound(np.array([1e-3, 1e4])) == pytest.approx(1.24e-4, rel=0.01)
    assert codecs.log16_bound(np.zeros(3)) < 2e-7


def test_depth_bound_would_notice_a_linear_scale():
    """The planted fault: 16 bits spread evenly over 1e-3 to 1e4 m."""
    depth = log_uniform((1, 20, 20), 1e-3, 1e4)
    linear = (np.rint(depth / depth.max() * 65535) / 65535 * depth.max()).astype(np.float32)
    with pytest.raises(AssertionError):
        assert_within_log_bound(depth, np.maximum(linear, np.float32(1e-4)))


@pytest.mark.parametrize("step", [codecs.FLOW_STEP, codecs.LENGTH_STEP])
@pytest.mark.parametrize("largest", [1e-4, 1.0, 100.0, 3e4])
def test_fixed_point_keeps_its_bound(step, largest):
    values = (np.random.default_rng(3).uniform(-largest, largest, 20000)).astype(np.float32)
    back = codecs.from_fixed_point(codecs.to_fixed_point(values, step), step)
    assert back.dtype == np.float32
    assert np.abs(back.astype(np.float64) - values.astype(np.float64)).max() <= step / 2


def test_fixed_point_takes_small_integers_where_it_can():
    assert codecs.to_fixed_point(np.array([31.9, -31.9]), 2.0**-10).dtype == np.int16
    assert codecs.to_fixed_point(np.array([32.0]), 2.0**-10).dtype == np.int32
    assert codecs.to_fixed_point(np.zeros((0, 3)), 2.0**-10).shape == (0, 3)


@pytest.mark.parametrize("value", [2.0**21, -1e30, np.inf, np.nan])
def test_fixed_point_refuses_what_it_cannot_hold(value):
    with pytest.raises(InputError, match="fixed-point"):
        codecs.to_fixed_point(np.array([value]), codecs.FLOW_STEP)


@pytest.mark.parametrize("bad", [-1, 65536])
def test_ids_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match="0 to 65535"):
        codecs.encode_ids(np.full((1, 2, 2), bad, np.int32), 12.0)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (1,), (3, 5, 7), (2, 0, 4), (8,), (9,)])
def test_arrays_come_back_in_shape_and_type(shape):
    rng = np.random.default_rng(4)
    arrays = {
        "flags": rng.random(shape) < 0.5,
        "steps": rng.integers(-9, 9, shape).astype(np.int16),
        "reals": rng.random(shape, dtype=np.float32),
    }
    decoded = codecs.decode_arrays(codecs.encode_arrays(**arrays))
    assert decoded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert decoded[name].dtype == array.dtype
        np.testing.assert_array_equal(decoded[name], array)
        decoded[name][...] = 0  # what was read belongs to the reader


def test_same_array_gives_same_bytes_whatever_its_memory_layout():
    rng = np.random.default_rng(5)
    rgb = rng.integers(0, 256, (2, 18, 22, 3), dtype=np.uint8)
    depth = smooth_depth(2, 18, 22)
    ids = rng.integers(0, 9, (2, 18, 22)).astype(np.int32)
    for array, encode in (
        (rgb, lambda a: codecs.encode_rgb(a, 12.0)),
        (rgb, lambda a: codecs.encode_preview(a, 12.0)),
        (depth, lambda a: codecs.encode_log16(a, 12.0)),
        (ids, lambda a: codecs.encode_ids(a, 12.0)),
        (depth, lambda a: codecs.encode_arrays(a=a, b=a > 3)),
    ):
        assert encode(array) == encode(array.copy()) == encode(np.asfortranarray(array))


@pytest.mark.parametrize("fps", [12.0, 29.97, 30000 / 1001, 0.5, 1000.0])
def test_any_frame_rate_can_be_written(fps):
    rgb = np.random.default_rng(6).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(codecs.decode_rgb(codecs.encode_rgb(rgb, fps)), rgb)
    assert codecs.encode_preview(rgb, fps)


def test_preview_plays_the_same_film(tmp_path):
    t, y, x = np.mgrid[:5, :33, :47]
    rgb = np.stack([x * 4 + t * 5, y * 5, 255 - x * 4], axis=-1).clip(0, 255).astype(np.uint8)
    (tmp_path / "film.mp4").write_bytes(codecs.encode_preview(rgb, 10.0))
    frames, times = map(np.array, zip(*codecs.stream_video(tmp_path / "film.mp4")))
    assert frames.shape == (5, 34, 48, 3)
    np.testing.assert_allclose(times, np.arange(5) / 10, atol=1e-3)
    assert np.abs(frames[:, :33, :47].astype(int) - rgb).mean() < 6


Member = tuple[bytes, Callable[[bytes], Any]]


def members() -> dict[str, Member]:
    depth = smooth_depth()
    noise = np.random.default_rng(7).normal(0, 6, (*depth.shape, 3))
    rgb = np.clip(depth[..., None] * 50 + noise, 0, 255).astype(np.uint8)
    return {
        "rgb": (codecs.encode_rgb(rgb, 12.0), codecs.decode_rgb),
        "depth": (codecs.encode_log16(depth, 12.0), codecs.decode_log16),
        "ids": (codecs.encode_ids((depth * 3).astype(np.int32), 12.0), codecs.decode_ids),
        "arrays": (
            codecs.encode_arrays(steps=(depth * 1000).astype(np.int16), flags=depth > 3),
            codecs.decode_arrays,
        ),
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    return a.shape == b.shape and a.dtype == b.dtype and bool((a == b).all())


@pytest.mark.parametrize("name", ["rgb", "depth", "ids", "arrays"])
def test_damage_never_passes_for_data(name):
    """One bit flipped anywhere: an error, or, where it hit a field that carries no data, the very same arrays."""
    data, decode = members()[name]
    truth = decode(data)
    rng = np.random.default_rng(8)
    refused = 0
    for position in rng.integers(0, len(data), 250):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        try:
            assert same(decode(bytes(damaged)), truth), f"a flip in byte {position} went unnoticed"
        except InputError:
            refused += 1
    assert refused > 150


@pytest.mark.parametrize("name", ["rgb", "depth", "ids", "arrays"])
def test_truncation_never_passes_for_data(name):
    data, decode = members()[name]
    truth = decode(data)
    for length in [0, 1, 10, *range(50, len(data) - 400, len(data) // 40)]:
        with pytest.raises(InputError):
            decode(data[:length])
    for length in range(len(data) - 400, len(data), 25):  # the index at the end of a video carries no data
        with contextlib.suppress(InputError):
            assert same(decode(data[:length]), truth)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"not a member at all", b"PK\x05\x06" + b"\0" * 18, b"\x1aE\xdf\xa3"]
)
def test_foreign_bytes_are_refused(data):
    for decode in (codecs.decode_rgb, codecs.decode_log16, codecs.decode_ids):
        with pytest.raises(InputError):
            decode(data)
    if not data.startswith(b"PK"):
        with pytest.raises(InputError):
            codecs.decode_arrays(data)


def test_video_of_another_kind_is_refused():
    with pytest.raises(InputError):
        codecs.decode_log16(codecs.encode_ids(np.ones((1, 4, 4), np.int32), 12.0))
    with pytest.raises(InputError):
        codecs.decode_ids(codecs.encode_rgb(np.ones((1, 4, 4, 3), np.uint8), 12.0))


class Bomb:
    """Unpickling this would call `exec`."""

    def __reduce__(self):
        return exec, ("raise RuntimeError('unpickled')",)


def npz(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_pickles_are_refused_and_never_run():
    objects = np.array([Bomb()], dtype=object)
    buffer = io.BytesIO()
    np.savez(buffer, flow=objects)
    with pytest.raises(InputError, match="pickled"):
        codecs.decode_arrays(buffer.getvalue())
    with pytest.raises(InputError):
        codecs.decode_arrays(npz(flow=pickle.dumps(Bomb())))


def test_arrays_that_lie_about_themselves_are_refused():
    header = npy(np.zeros(4, np.int16))
    with pytest.raises(InputError):
        codecs.decode_arrays(npz(a=header.replace(b"(4,)", b"(9,)")))
    with pytest.raises(InputError):
        codecs.decode_arrays(npz(a=header.replace(b"(4,)", b"(1,)")))
    bits = {"a.bits": npy(np.zeros(2, np.uint8))}
    for shape in ([17], [-1], [2**62, 2**62]):
        with pytest.raises(InputError, match="bits of 'a'"):
            codecs.decode_arrays(npz(**bits, **{"a.shape": npy(np.array(shape, np.int64))}))
    with pytest.raises(InputError, match="bits of 'a'"):
        codecs.decode_arrays(npz(**bits))


def test_what_would_exhaust_memory_is_refused(monkeypatch):
    rgb, arrays = np.zeros((4, 16, 16, 3), np.uint8), np.zeros(20000, np.uint8)
    video, archive = codecs.encode_rgb(rgb, 12.0), codecs.encode_arrays(a=arrays)
    monkeypatch.setattr(codecs, "MAX_PIXELS", 1000)
    with pytest.raises(InputError, match="larger"):
        codecs.decode_rgb(video)
    with pytest.raises(InputError, match="unpacks to more"):
        codecs.decode_arrays(archive)
    with pytest.raises(InputError, match="cut it"):
        codecs.encode_rgb(rgb, 12.0)
    monkeypatch.setattr(codecs, "MAX_PIXELS", 1024)
    np.testing.assert_array_equal(codecs.decode_rgb(codecs.encode_rgb(rgb, 12.0)), rgb)
