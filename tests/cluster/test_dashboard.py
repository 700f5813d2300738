"""The Grafana dashboard asks for the metrics that runs have, and for all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from distverify.runtime.ray.metrics import MeteredTally

FILE = Path(__file__).parents[2] / "cluster" / "grafana.json"


def test_the_dashboard_shows_every_metric() -> None:
    told = json.loads(FILE.read_text())
    asked = {
        re.sub(r"_bucket$", "", name)
        for panel in told["panels"]
        for target in panel["targets"]
        for name in re.findall(r"ray_(distverify_\w+)", target["expr"])
    }
    assert asked == set(re.findall(r"``(distverify_\w+)``", MeteredTally.__doc__ or ""))


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(FILE.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
