"""The README's picture of a report: ``python docs/picture.py REPORT.html docs/report.png`` (needs Chromium and Pillow)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

WIDTH, TOP, BOTTOM = 1280, 60, 1560  # pixels of the page that are shown
COLOURS = 48


def main(page: Path, target: Path) -> None:
    """Draw the upper part of ``page``."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WIDTH},{BOTTOM}"]
        subprocess.run(["chromium", *flags, f"--screenshot={shot}", page.resolve().as_uri()], check=True, timeout=120)
        with Image.open(shot) as image:
            shown = image.convert("RGB").crop((0, TOP, WIDTH, BOTTOM)).resize((WIDTH * 3 // 4, (BOTTOM - TOP) * 3 // 4))
            shown.quantize(COLOURS).save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
