"""Options are said once: fields, keyword arguments, signatures, documentation and the command line hold the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import click
import pytest

import distverify as dv
from distverify.api import certify
from distverify.attacks.audit import audit
from distverify.cli.audit import audit as audit_command
from distverify.cli.certify import certify as certify_command
from distverify.cli.estimate import estimate as estimate_command
from distverify.cli.options import spelling
from distverify.forecast.estimate import estimate
from distverify.options import keywords
from distverify.options.option import default_text, defaults_of, options_of
from distverify.options.run import Division, Inputs, Output, Workers
from distverify.settings import Settings

OF_CERTIFY = (Settings, Inputs, Workers, Division, Output)
OF_ESTIMATE = (Settings, Inputs)


@pytest.mark.parametrize("cls", OF_CERTIFY)
def test_keywords_are_the_fields(cls: type) -> None:
    typed = getattr(keywords, f"{cls.__name__}Keywords")
    assert set(typed.__annotations__) == set(options_of(cls))


@pytest.mark.parametrize(("function", "classes"), [(certify, OF_CERTIFY), (estimate, OF_ESTIMATE), (audit, (Workers,))])
def test_signature_and_documentation_have_every_option(function: Callable[..., Any], classes: tuple[type, ...]) -> None:
    parameters = inspect.signature(function).parameters
    documentation = inspect.getdoc(function) or ""
    assert "{" not in documentation
    for name in options_of(*classes):
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == defaults_of(*classes).get(name, inspect.Parameter.empty)
        assert f"\n{name} : " in documentation
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())


@pytest.mark.parametrize(
    ("command", "classes"),
    [(certify_command, OF_CERTIFY), (estimate_command, OF_ESTIMATE), (audit_command, (Workers,))],
)
def test_the_command_line_has_every_option(command: click.Command, classes: tuple[type, ...]) -> None:
    by_name = {p.name: p for p in command.params}
    for name, option in options_of(*classes).items():
        assert spelling(name) in by_name[name].opts
        assert "{" not in by_name[name].help  # type: ignore[attr-defined]
        default = defaults_of(*classes).get(name)
        text = default_text(default)
        if option.parse is not None and text is not None:
            assert option.parse(text) == default


def test_an_unknown_keyword_is_refused_as_python_does(tmp_path: Any) -> None:
    with pytest.raises(TypeError, match=r"certify\(\) got an unexpected keyword argument 'epss'; did you mean 'eps'\?"):
        dv.certify("net.onnx", "data.npz", output=tmp_path / "out.h5", epss=0.1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"certify\(\) missing required keyword-only argument: 'output'"):
        dv.certify("net.onnx", "data.npz")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'output'"):
        estimate("net.onnx", "data.npz", output=tmp_path / "out.h5")  # type: ignore[call-arg]
