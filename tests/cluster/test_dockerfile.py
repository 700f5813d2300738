"""The Dockerfile by its structure, and the versions that all files of the folder share."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from distverify import __version__
from tests.cluster.files import (
    CLUSTER,
    KUBERNETES,
    LAUNCHERS,
    ROOT,
    document,
    documents,
    project,
    shell_texts,
    strings,
    text,
)


def instructions() -> list[tuple[str, str]]:
    lines = [line for line in text("Dockerfile").splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]  # type: ignore[misc]


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in instructions() if name == instruction]


def base() -> tuple[str, str]:
    """Versions of Ray and Python of the base image."""
    (image,) = arguments("FROM")
    match = re.fullmatch(r"rayproject/ray:\$\{RAY_VERSION\}-py(\d)(\d+)-cpu", image)
    assert match is not None
    version = re.fullmatch(r"RAY_VERSION=(\d+\.\d+\.\d+)", arguments("ARG")[0])
    assert version is not None
    return version[1], f"{match[1]}.{match[2]}"


def test_the_base_image_has_a_python_and_a_ray_that_the_project_takes():
    ray, python = base()
    assert python in SpecifierSet(project()["requires-python"])
    (wanted,) = (r for r in map(Requirement, project()["dependencies"]) if r.name == "ray")
    assert ray in wanted.specifier


def test_the_project_is_installed_and_cannot_replace_ray():
    (run,) = arguments("RUN")
    assert run.startswith('pip install --no-cache-dir ./source "ray==${RAY_VERSION}" &&')
    assert "ARG RAY_VERSION" in text("Dockerfile").split("FROM", 1)[1]  # arguments end at FROM


def test_it_runs_as_an_ordinary_user():
    assert arguments("USER") == ["ray"]
    names = [name for name, _ in instructions()]
    assert names.index("USER") < names.index("RUN")


def test_what_is_copied_is_what_the_build_needs():
    copied = [source for rest in arguments("COPY") for source in rest.split()[1:-1]]
    assert all((ROOT / source).exists() for source in copied)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {build["project"]["readme"], *build["project"]["license-files"]} <= set(copied)
    assert set(build["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= set(copied)
    ignored = [line for line in text("Dockerfile.dockerignore").splitlines() if not line.startswith("#")]
    assert ignored == ["*", *(f"!{source}" for source in copied), "**/__pycache__"]


def test_tokens_are_on_and_the_kernel_cache_is_inside_the_container():
    (env,) = arguments("ENV")
    assert dict(pair.split("=") for pair in env.split()) == {
        "RAY_AUTH_MODE": "token",
        "NUMBA_CACHE_DIR": "/tmp/numba-cache",
    }


def test_no_image_floats():
    images = [s for name in (*LAUNCHERS, *KUBERNETES) for s in strings(documents(name)) if "/distverify:" in s]
    assert set(images) == {f"REGISTRY/distverify:{__version__}"}
    assert not any("latest" in content for content in shell_texts().values())
    assert set(re.findall(r"REGISTRY/distverify:(\S+)", text("README.md"))) == {__version__}


def test_every_file_names_the_same_ray_and_the_same_python():
    ray, python = base()
    named = {name: re.findall(r"\bray(?:\[default\])?==([\d.]+)", content) for name, content in shell_texts().items()}
    assert {version for versions in named.values() for version in versions} == {ray}
    assert named["README.md"]
    assert named["local.yaml"]
    assert document("raycluster.yaml")["spec"]["rayVersion"] == ray
    assert f"Ray {ray} and Python {python}" in text("README.md")
    pythons = re.findall(r"python(3\.\d+)", "\n".join(shell_texts().values()))
    assert set(pythons) == {python}


def test_the_readme_names_every_file():
    names = {path.name + "/" * path.is_dir() for path in CLUSTER.iterdir()} - {"README.md", "Dockerfile.dockerignore"}
    assert {name for name in names if f"`{name}`" not in text("README.md")} == set()
