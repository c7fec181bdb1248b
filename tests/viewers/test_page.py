"""The page in a real browser: what it shows must be the world, in its place, and nothing may leave the machine."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from ball_worlds import ball_world, kitchen
from PIL import Image

from phys4d.errors import InputError
from phys4d.geometry import project_tracks
from phys4d.pictures import depth_picture
from phys4d.viewers.html import NOTEBOOK_POINTS, notebook_html, world_page
from phys4d.viewers.pictures import flow_picture
from phys4d.world import Camera, World4D

NO_WEBGL = """
const original = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind === "webgl2" ? null : original.call(this, kind, ...rest);
};
"""


def canvas(page, name: str) -> np.ndarray:
    """The pixels of a canvas by its id, as (H,W,4)."""
    url = page.evaluate(f"document.getElementById('{name}').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA"))


def distinct_colours(pixels: np.ndarray) -> int:
    return len(np.unique(pixels[..., :3].reshape(-1, 3), axis=0))


def show_only_points(page) -> None:
    for name in ("tracks", "cameras", "grid"):
        if page.locator(f"#{name}").is_visible():
            page.uncheck(f"#{name}")
    settle(page)


def seen_from_camera(page, frame: int) -> np.ndarray:
    """The pixels of the 3D canvas from the recording camera."""
    page.evaluate(f"phys4d.setFrame({frame})")
    if page.get_attribute("#fromCamera", "aria-pressed") != "true":
        page.click("#fromCamera")
    page.wait_for_function("document.getElementById('fromCamera').ariaPressed === 'true'")
    settle(page)
    return canvas(page, "space")


def to_canvas(x: np.ndarray, y: np.ndarray, world: World4D, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where world pixels (x, y) lie on the canvas: the picture is fitted into its middle."""
    height, width = world.size
    fit = min(pixels.shape[1] / width, pixels.shape[0] / height)
    return (x - width / 2) * fit + pixels.shape[1] / 2, (y - height / 2) * fit + pixels.shape[0] / 2


def camera_view(page, world: World4D, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """The view from the recording camera on the world's own pixels: colours, and where any are."""
    pixels = seen_from_camera(page, frame)
    height, width = world.size
    x, y = to_canvas(np.arange(width) + 0.5, np.arange(height) + 0.5, world, pixels)
    seen = pixels[np.ix_(y.astype(int), x.astype(int))]
    return seen[..., :3], seen[..., 3] > 0


def settle(page) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def assert_same_picture(seen: np.ndarray, drawn: np.ndarray, world: World4D, frame: int) -> None:
    """Drawn where there is a surface and nowhere else, and there in the colours of the frame."""
    surface = world.depth[frame] > 0
    assert (drawn == surface).mean() > 0.97
    both = surface & drawn
    truth = world.rgb[frame].astype(float)
    assert np.corrcoef(truth[both].ravel(), seen[both].astype(float).ravel())[0, 1] > 0.97
    error = np.abs(truth - seen)[both].mean()
    # The check is worth something only if a mirrored, upturned or shifted picture would fail it.
    for wrong in (seen[:, ::-1], seen[::-1], np.roll(seen, 1, axis=1), np.roll(seen, 1, axis=0)):
        assert np.abs(truth - wrong)[both].mean() > 3 * error


def test_first_frame_is_drawn_and_a_blank_one_would_be_noticed(open_page, ball):
    page = open_page(world_page(ball))
    assert page.evaluate("[phys4d.frames, phys4d.frame]") == [ball.frames, 0]
    assert distinct_colours(canvas(page, "space")) > 100
    page.evaluate("document.getElementById('space').getContext('webgl2').clear(16384)")
    assert distinct_colours(canvas(page, "space")) == 1


def test_the_view_follows_time(open_page, ball):
    page = open_page(world_page(ball))
    show_only_points(page)
    first = canvas(page, "space").astype(int)
    page.evaluate("phys4d.setFrame(phys4d.frames - 1)")
    last = canvas(page, "space").astype(int)
    assert (np.abs(first - last).max(-1) > 40).mean() > 0.01
    page.evaluate("phys4d.setFrame(0)")
    assert np.array_equal(canvas(page, "space"), first)


def test_pictures_are_in_step_and_of_the_same_colours_as_in_python(open_page, ball):
    page = open_page(world_page(ball))
    depth, flow = depth_picture(ball.depth).astype(int), flow_picture(ball.flow).astype(int)
    for frame in (0, 3, ball.frames - 1):
        page.evaluate(f"phys4d.setFrame({frame})")
        assert np.abs(canvas(page, "rgb")[..., :3].astype(int) - ball.rgb[frame]).max() <= 2
        assert np.abs(canvas(page, "depth")[..., :3] - depth[frame]).max() <= 8
        if frame < ball.frames - 1:
            assert np.abs(canvas(page, "flow")[..., :3] - flow[frame]).mean() < 3
        assert page.input_value("#time") == str(frame)
    assert distinct_colours(canvas(page, "flow")) == 1
    assert "no next" in page.inner_text("#flowValue")


def test_seen_from_the_camera_the_points_are_the_picture(open_page, ball):
    page = open_page(world_page(ball))
    show_only_points(page)
    for frame in (0, 5):
        assert_same_picture(*camera_view(page, ball, frame), ball, frame)


def test_an_off_centre_principal_point_moves_nothing_from_its_place(open_page, ball):
    height, _ = ball.size
    crop = np.s_[:, : height - 14, 10:]
    k = ball.camera.intrinsics.copy()
    k[:, 0, 2] -= 10
    world = World4D(
        rgb=np.ascontiguousarray(ball.rgb[crop]),
        depth=np.ascontiguousarray(ball.depth[crop]),
        camera=Camera(k, ball.camera.world_from_camera),
        fps=6.0,
    )
    page = open_page(world_page(world))
    show_only_points(page)
    assert_same_picture(*camera_view(page, world, 2), world, 2)


def test_tracks_are_drawn_where_they_project(open_page, ball):
    arrays = (ball.tracks, ball.camera.intrinsics, ball.camera.world_from_camera)
    pixels, _ = project_tracks(*(torch.from_numpy(array) for array in arrays))
    page = open_page(world_page(ball))
    show_only_points(page)
    frame = 4
    without = seen_from_camera(page, frame)
    page.check("#tracks")
    changed = np.abs(seen_from_camera(page, frame).astype(int) - without).max(-1) > 25
    rows, columns = np.nonzero(changed)
    x, y = to_canvas(*pixels[:, frame].numpy().T, ball, without)
    away = np.hypot(columns + 0.5 - x[:, None], rows + 0.5 - y[:, None]).min(axis=1)
    # Four points on the front of the ball and two on the floor are seen; the one at its back is not.
    assert away[[0, 1, 2, 3, 5, 6]].max() < 2
    assert away[4] > 2


def test_a_real_recording_is_upright_and_in_place(open_page, real_recordings):
    world = kitchen(real_recordings, frames=4)
    text = world_page(world, max_points=world.frames * 120 * 160)
    assert "Every 2nd pixel of every 2nd row is a point." in text
    page = open_page(text)
    show_only_points(page)
    page.fill("#pointSize", "1.3")
    seen, drawn = camera_view(page, world, 3)
    both = drawn & (world.depth[3] > 0)
    assert both.mean() > 0.8
    truth = world.rgb[3].astype(float)
    assert np.corrcoef(truth[both].ravel(), seen[both].astype(float).ravel())[0, 1] > 0.95
    assert np.corrcoef(truth[both].ravel(), seen[:, ::-1][both].astype(float).ravel())[0, 1] < 0.8
    assert "turned upright" in page.inner_text("#notes")


def test_a_real_recording_fits_into_eight_megabytes(real_recordings):
    world = kitchen(real_recordings)
    assert len(world_page(world)) < 8e6
    assert len(notebook_html(world)) < 3e6
    assert world.frames * np.prod(world.size) > NOTEBOOK_POINTS


def test_hostile_text_stays_text(open_page):
    code = "window.hacked=1"
    attack = f"</script></title><script>{code}</script><img src=x onerror='{code}'><!-- {{{{payload}}}} \ud800"
    world = ball_world(3, (16, 20), scene=attack, prompt=attack, nested={attack: [attack]})
    text = world_page(world, title=attack)
    assert text.count("<script") == 3
    assert "<img" not in text
    page = open_page(text)
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert attack.replace("\ud800", "?") == page.inner_text("#title")
    assert page.inner_text("#prompt").startswith(attack[:-1])
    assert page.locator("#meta dd").nth(0).text_content().startswith("</script>")


def test_the_policy_stops_a_script_that_is_not_the_pages_own(open_page, browser, tmp_path, ball):
    path = tmp_path / "planted.html"
    path.write_text(world_page(ball).replace("</header>", "</header><script>window.planted = 1</script>"))
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_function("window.phys4dReady")
    assert page.evaluate("window.planted") is None
    page.close()


def test_a_video_alone_shows_its_pictures(open_page, ball):
    page = open_page(world_page(World4D(rgb=ball.rgb, fps=6.0, meta={"source": "clip.mp4"})))
    assert "No depth" in page.inner_text("#notes")
    assert not page.is_visible("#space")
    assert not page.locator("#depthFigure, #flowFigure").count()
    page.evaluate("phys4d.setFrame(4)")
    assert np.abs(canvas(page, "rgb")[..., :3].astype(int) - ball.rgb[4]).max() <= 2


def test_depth_alone_is_coloured_by_depth_before_an_assumed_camera(open_page, ball):
    world = World4D(depth=ball.depth, tracks=ball.tracks, track_visibility=ball.track_visibility)
    page = open_page(world_page(world))
    notes = page.inner_text("#notes")
    for note in ("No camera", "60°", "No colour", "Tracks are not shown"):
        assert note in notes
    show_only_points(page)
    seen, drawn = camera_view(page, ball, 0)
    truth = depth_picture(ball.depth)[0]
    both = drawn & (ball.depth[0] > 0)
    assert np.corrcoef(truth[both].ravel(), seen[both].ravel())[0, 1] > 0.97


@pytest.mark.parametrize(
    "fields", [("flow",), ("segmentation",), ("rgb", "camera", "tracks", "track_visibility"), ("rgb", "flow")]
)
def test_any_fields_make_a_page(open_page, ball, fields):
    world = World4D(**{name: getattr(ball, name) for name in fields})
    page = open_page(world_page(world))
    page.evaluate("phys4d.setFrame(phys4d.frames - 1)")
    assert page.is_visible("#space") == ("tracks" in fields)


def test_one_frame_and_odd_strides(open_page, ball):
    camera = Camera(ball.camera.intrinsics[:1], ball.camera.world_from_camera[:1])
    still = World4D(rgb=ball.rgb[:1], depth=ball.depth[:1], camera=camera)
    page = open_page(world_page(still, max_points=350))
    assert "Every 3rd pixel" in page.inner_text("#notes")
    page.click("#play")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("phys4d.frame") == 0


def test_long_worlds_are_thinned_in_time(open_page):
    rgb = np.zeros((500, 4, 6, 3), dtype=np.uint8)
    rgb[..., 0] = (np.arange(500) // 2)[:, None, None]
    page = open_page(world_page(World4D(rgb=rgb, fps=30.0)))
    assert page.evaluate("phys4d.frames") == 167
    assert "Every 3rd frame" in page.inner_text("#notes")
    page.evaluate("phys4d.setFrame(100)")
    assert abs(int(canvas(page, "rgb")[0, 0, 0]) - 150) <= 2
    assert "10.00 s · frame 300" in page.inner_text("#clock")


def test_without_webgl_the_pictures_still_play(open_page, ball):
    page = open_page(world_page(ball), setup=NO_WEBGL)
    assert "WebGL2" in page.inner_text("#message")
    assert not page.is_visible("#layers")
    page.evaluate("phys4d.setFrame(3)")
    assert np.abs(canvas(page, "rgb")[..., :3].astype(int) - ball.rgb[3]).max() <= 2


def test_hands_and_keys(open_page, ball):
    page = open_page(world_page(ball))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("phys4d.frame") == 1
    page.keyboard.press("Space")
    page.wait_for_function("phys4d.frame > 1")
    page.keyboard.press("Space")
    page.evaluate("phys4d.setFrame(2)")
    start = canvas(page, "space")
    box = page.locator("#space").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 20)
    page.mouse.up()
    settle(page)
    turned = canvas(page, "space")
    page.mouse.wheel(0, 300)
    settle(page)
    zoomed = canvas(page, "space")
    assert not np.array_equal(start, turned)
    assert not np.array_equal(turned, zoomed)
    assert (zoomed[..., 3] > 0).sum() < (turned[..., 3] > 0).sum()
    page.keyboard.press("r")
    settle(page)
    assert np.array_equal(canvas(page, "space"), start)
    page.check("#instances")
    settle(page)
    assert not np.array_equal(canvas(page, "space"), start)


def test_notebooks_get_a_frame_of_their_own(browser, ball):
    text = ball._repr_html_()
    assert text == notebook_html(ball)
    assert 'sandbox="allow-scripts"' in text
    page = browser.new_page()
    page.set_content(f"<body>{text}</body>")
    frame = page.frames[1]
    frame.wait_for_function("window.phys4dReady")
    assert frame.evaluate("phys4d.frames") == ball.frames
    page.close()


def test_page_needs_points_and_a_valid_world(ball):
    with pytest.raises(InputError, match="max_points"):
        world_page(ball, max_points=0)
    with pytest.raises(InputError, match="depth"):
        world_page(World4D(rgb=ball.rgb, depth=ball.depth[1:]))


def test_the_same_world_gives_the_same_page(ball):
    page = world_page(ball)
    assert page == world_page(ball)
    header = json.loads(re.search(r'<script id="header"[^>]*>(.*?)</script>', page, re.S)[1])
    assert (header["rows"], header["columns"]) == ball.size
    assert not re.search(r"https?://", page)
