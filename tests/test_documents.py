"""The pages in Markdown: links lead somewhere, what the README shows in Python runs, and every array of a result is told of."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest

from distverify.cli.main import main
from distverify.quantities import catalogue
from distverify.results.schema import all_variables
from distverify.settings import Settings
from tests.bench.heads import table

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "cluster/README.md", *sorted((ROOT / "docs").glob("*.md"))]
# A domain's arrays are those of balls, with this before their names.
_OVER_DOMAIN = "domain_"


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "`code`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub and myst make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(path), f"{page.name}: {target}"


def commands_of(page: Path) -> list[str]:
    """What follows ``distverify`` in blocks for a shell, and in text where a command with options is quoted."""
    text = page.read_text()
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)).replace("\\\n", " ")
    in_blocks = re.findall(r"(?:^|&& |[A-Z]=\w+ )distverify ([a-z][^\n&;]*)", blocks, re.M)
    quoted = re.findall(r"`distverify ([a-z][^`\n]* --?[a-z][^`\n]*)`", text)
    return in_blocks + [line.split(" | ")[0] for line in quoted]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_have_the_options_that_pages_show(page: Path) -> None:
    for line in commands_of(page):
        name, *words = shlex.split(line, comments=True)
        command = main.get_command(click.Context(main), name)
        assert command is not None, f"{page.name}: distverify {line}"
        shown = [word.strip("[]") for word in words if word != "..."]
        try:
            command.make_parser(click.Context(command, info_name=name)).parse_args(shown)
        except click.UsageError as error:
            raise AssertionError(f"{page.name}: distverify {line}: {error.format_message()}") from error


def test_a_wrong_option_on_a_page_would_be_found(tmp_path: Path) -> None:
    assert sum(len(commands_of(page)) for page in PAGES) > 40
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nA=b distverify show out.h5 \\\n    --jsn  # no such option\n```\nand `distverify check a.h5 --mni 1`.\n"
    )
    assert commands_of(page) == ["show out.h5      --jsn  # no such option", "check a.h5 --mni 1"]


def test_every_page_is_in_the_index() -> None:
    listed = set(re.findall(r"^(\w+)$", (ROOT / "docs/index.md").read_text(), re.M))
    assert {page.stem for page in PAGES if page.parent.name == "docs"} - {"index"} <= listed


def test_the_readme_is_short_and_has_its_two_set_up_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 200
    assert "\npip install . && distverify demo\npip install '.[test]' && pytest\n" in text
    assert "docs/report.png" in text


def test_every_array_is_told_of() -> None:
    settings = Settings(compute=tuple(catalogue.names()), eps=(0.1,), nodes=10, domain=(0.0, 1.0))
    text = (ROOT / "docs/RESULTS.md").read_text()
    told = {name for line in text.splitlines() if line.startswith("|") for name in re.findall(r"`(\w+)`", line)}
    names = {variable.name.removeprefix(_OVER_DOMAIN) for variable in all_variables(settings)}
    assert names - told == set()


def test_what_the_readme_shows_of_a_controller() -> None:
    text = (ROOT / "README.md").read_text()
    script = text[text.index("## A regression") :]
    script = script[script.index("```python\n") + len("```python\n") :]
    names: dict[str, object] = {}
    exec(script[: script.index("```")], names)
    torque, gains, steepest = names["torque"], names["gains"], names["steepest"]
    np.testing.assert_allclose([torque.lower[0], torque.upper[0]], [-0.432, 0.432], atol=5e-4)
    np.testing.assert_allclose([gains.lower[0], gains.upper[0]], [[0.0055, 0.1765], [0.356, 0.3434]], atol=5e-4)
    np.testing.assert_allclose([steepest.attained[0], steepest.rows[0]], [0.62438, 0.62444], atol=1e-5)
    assert (names["signs"] == 1).all()


def test_the_plan_of_a_large_run_is_what_would_be_planned() -> None:
    text = (ROOT / "docs/SCALE.md").read_text()
    assert "\n".join(table()) in text
