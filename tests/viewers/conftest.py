"""A headless browser, and pages in it that may ask no host for anything."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ball_worlds import ball_world

from phys4d.world import World4D

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
LOCAL = ("file:", "data:", "blob:")


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


@pytest.fixture(scope="session")
def ball() -> World4D:
    """The flying ball, with every field but confidence."""
    return ball_world()
