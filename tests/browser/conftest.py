"""A real browser: Debian's chromium with its driver. `make browser` installs it, `make test-browser` runs this."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.browser.reader import Browser


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    """One browser for all tests. Without one they fail: whoever runs this folder wants to see it."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.fail("there is no chromium with its driver on this machine; install both with: make browser (as root)")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    for flag in ("--headless=new", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # chromium refuses to start as root with it
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(str(programs[1])))
    found.set_page_load_timeout(120)
    yield found
    found.quit()


@pytest.fixture
def browser(driver: webdriver.Chrome) -> Iterator[Browser]:
    """A fresh page. SCREENSHOTS names a folder that gets the pictures which the documentation shows."""
    folder = os.environ.get("SCREENSHOTS")
    reader = Browser(driver, Path(folder) if folder else None)
    yield reader
    reader.leave()
