"""The page in a real browser: it renders at phone and desk width, light and dark, and reports no error."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from distverify.pages.report import report
from tests.pages.results import write_result

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr",
)  # fmt: skip
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return report([write_result(folder / "out.h5")], folder / "out.html")


def browse(folder: Path, page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    profile = f"--user-data-dir={folder / 'profile'}"
    return subprocess.run(
        [CHROMIUM, *FLAGS, profile, *flags, page.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )


@pytest.mark.parametrize(("width", "dark"), [(400, False), (400, True), (1400, False), (1400, True)])
def test_it_renders_without_errors(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    scheme = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0") if dark else ()
    done = browse(tmp_path, page, f"--window-size={width},2400", f"--screenshot={tmp_path / 'page.png'}", *scheme)
    assert "CONSOLE" not in done.stderr
    pixels = matplotlib.image.imread(tmp_path / "page.png")[:, :, :3]
    assert pixels.shape == (2400, width, 3)
    background = pixels[5, 5]
    assert (background.max() < 0.2) if dark else (background.min() > 0.95)
    assert (np.abs(pixels - background).max(axis=2) > 0.3).mean() > 0.01, "something is drawn"
    # Nothing sticks out on the right: the margin is background from top to bottom.
    assert np.abs(pixels[:, -6:] - background).max() < 0.02


def test_every_figure_is_in_the_document(page: Path, tmp_path: Path) -> None:
    dom = browse(tmp_path, page, "--dump-dom").stdout
    assert dom.count("<figure") == dom.count("<svg") >= 11
    assert dom.count("aria-label=") >= 11
