from __future__ import annotations

import click
import numpy as np
import pytest

from distverify.cli import parameters


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.005", (0.005,)), ("0.005,0.01", (0.005, 0.01)), (" 1e-3 , -2 ", (0.001, -2.0)), ("8", (8.0,))],
)
def test_numbers(text: str, expected: tuple[float, ...]) -> None:
    assert parameters.numbers(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1;0.2", r"'0\.1;0\.2' in .* is not a finite number; write numbers such as 0\.005,0\.01"),
        ("0.1,", r"'' in '0\.1,' is not a finite number"),
        ("", r"'' in '' is not a finite number"),
        ("0.1,nan", r"'nan' in '0\.1,nan' is not a finite number"),
        ("inf", r"'inf' in 'inf' is not a finite number"),
    ],
)
def test_numbers_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parameters.numbers(text)


def test_radii_logspace_is_numpys() -> None:
    assert parameters.radii("logspace:-3:0:20") == tuple(np.logspace(-3, 0, 20))
    assert parameters.radii("logspace:-2:-1:1") == (0.01,)
    assert parameters.radii("0.1,0.2") == (0.1, 0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("linspace:0:1:5", r"got 'linspace:0:1:5'; write logspace:START:STOP:COUNT"),
        ("logspace:-3:0", r"got 'logspace:-3:0'; write logspace:START:STOP:COUNT"),
        ("logspace:a:0:5", r"'a:0:5' is not two exponents and a whole number"),
        ("logspace:-3:0:2.5", r"'-3:0:2\.5' is not two exponents and a whole number"),
        ("logspace:-3:0:0", r"'-3:0:0' is out of range: COUNT starts at 1"),
        ("logspace:-3:nan:4", r"'-3:nan:4' is out of range"),
        ("logspace:-3:400:4", r"exponents lie within -300 and 300"),
    ],
)
def test_radii_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parameters.radii(text)


def test_positive() -> None:
    assert parameters.positive("255") == 255.0
    for text in ("0", "-1", "1,2"):
        with pytest.raises(ValueError, match=f"got '{text}'; write one number above 0"):
            parameters.positive(text)


def test_interval() -> None:
    assert parameters.interval("-1,1") == (-1.0, 1.0)
    for text in ("1", "1,0", "0,0", "0,1,2"):
        with pytest.raises(ValueError, match=f"got '{text}'; write LO,HI with LO < HI"):
            parameters.interval(text)


def test_per_channel() -> None:
    assert parameters.per_channel("0.5") == 0.5
    assert parameters.per_channel("0.485,0.456,0.406") == (0.485, 0.456, 0.406)


def test_computed() -> None:
    assert parameters.computed("jacobian, radius") == ("jacobian", "radius")
    with pytest.raises(ValueError, match="'jacobians' is unknown; choose any of global, jacobian, landscape, "):
        parameters.computed("jacobians")


def test_target() -> None:
    assert parameters.target("runner-up") == "runner-up"
    assert parameters.target("3") == 3
    for text in ("-1", "nearest", "1.5"):
        with pytest.raises(ValueError, match=f"got '{text}'; choose untargeted, .*, or a class index from 0"):
            parameters.target(text)


def test_option_value_turns_value_errors_into_usage_errors() -> None:
    option = click.Option(["--clip"])
    context = click.Context(click.Command("certify", params=[option]))
    callback = parameters.option_value(parameters.interval)
    assert callback(context, option, "0,1") == (0.0, 1.0)
    assert callback(context, option, None) is None
    with pytest.raises(click.BadParameter, match="got '1,0'; write LO,HI with LO < HI") as caught:
        callback(context, option, "1,0")
    assert caught.value.param is option
