"""Shapes and dtypes in phys4d's signatures are checked while the tests run; a browser to look at pages with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import jaxtyping
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
LOCAL = ("file:", "data:", "blob:")

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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium with a software GPU; tests are skipped where no browser is installed."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright (extra `dev`) is not installed")
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "chrome")]
    executable = next((path for path in found if path), None)
    if executable is None:
        pytest.skip("no Chromium here (looked for chromium, chromium-browser, google-chrome, chrome)")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """A function that opens HTML text from a file and waits for its first frame.

    The test fails afterwards on any request to a host and on any error in the console.
    """
    problems: list[str] = []
    # Without motion the page opens paused, so that every test sees the frame that it asked for.
    context = browser.new_context(viewport={"width": 900, "height": 640}, reduced_motion="reduce")

    def open_html(html: str, *, setup: str = "") -> Page:
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        page = context.new_page()
        page.set_default_timeout(20_000)
        if setup:
            page.add_init_script(setup)
        page.on("request", lambda request: None if request.url.startswith(LOCAL) else problems.append(request.url))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_function("window.phys4dReady")
        return page

    yield open_html
    context.close()
    assert not problems
