"""A browser without a network, for pages."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give one Chromium for the pages of a file; tests are skipped where there is none.

    It goes with the file, since playwright runs an event loop of its own as long as it is there.
    """
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no chromium on this machine")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[[Path], Page]]:
    """Open a file without a network; at the end no error was on its console and nothing else was fetched."""
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900})
    errors: list[str] = []
    fetched: list[str] = []

    def open_page(file: Path) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(file.resolve().as_uri())
        return page

    yield open_page
    context.close()
    assert not errors
    assert len(fetched) == len(set(fetched))
    assert all(one.startswith("file://") and one.endswith(".html") for one in fetched)
