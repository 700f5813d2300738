"""Option values out of the texts that are typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distverify.options import parse
from distverify.settings import COMPUTE, TARGETS


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.005", (0.005,)), ("0.005,0.01", (0.005, 0.01)), (" 1e-3 , -2 ", (0.001, -2.0)), ("8", (8.0,))],
)
def test_numbers(text: str, expected: tuple[float, ...]) -> None:
    assert parse.numbers(text) == expected


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
        parse.numbers(text)


def test_radii_logspace_is_numpys() -> None:
    assert parse.radii("logspace:-3:0:20") == tuple(np.logspace(-3, 0, 20))
    assert parse.radii("logspace:-2:-1:1") == (0.01,)
    assert parse.radii("0.1,0.2") == (0.1, 0.2)


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
        parse.radii(text)


def test_positive() -> None:
    assert parse.positive("255") == 255.0
    for text in ("0", "-1", "1,2"):
        with pytest.raises(ValueError, match=f"got '{text}'; write one number above 0"):
            parse.positive(text)


def test_interval() -> None:
    assert parse.interval("-1,1") == (-1.0, 1.0)
    for text in ("1", "1,0", "0,0", "0,1,2"):
        with pytest.raises(ValueError, match=f"got '{text}'; write LO,HI with LO < HI"):
            parse.interval(text)


def test_per_channel() -> None:
    assert parse.per_channel("0.5") == 0.5
    assert parse.per_channel("0.485,0.456,0.406") == (0.485, 0.456, 0.406)


def test_names_with_commas_between() -> None:
    read = parse.some_of(COMPUTE)
    assert read("jacobian, radius") == ("jacobian", "radius")
    with pytest.raises(
        ValueError,
        match="'jacobians' is unknown; choose any of attack, evaluation_error, global, jacobian, landscape, ",
    ):
        read("jacobians")


def test_one_name() -> None:
    read = parse.one_of(("linear", "recurjac"), "run once for each")
    assert read("linear") == "linear"
    with pytest.raises(ValueError, match="got 'linear,recurjac'; run once for each"):
        read("linear,recurjac")
    with pytest.raises(ValueError, match="'ibp' is unknown; choose one of linear, recurjac"):
        read("ibp")


def test_target() -> None:
    read = parse.one_of_or_index(TARGETS)
    assert read("runner-up") == "runner-up"
    assert read("3") == 3
    for text in ("-1", "nearest", "1.5"):
        with pytest.raises(ValueError, match=f"got '{text}'; choose untargeted, .*, or a class index from 0"):
            read(text)


def test_per_feature() -> None:
    assert parse.per_feature("1,0.5,0") == (1.0, 0.5, 0.0)
    assert parse.per_feature("factors.npy") == Path("factors.npy")


def test_at_least() -> None:
    assert parse.at_least(1)("7") == 7
    for text in ("0", "-1", "1.5", "x"):
        with pytest.raises(ValueError, match=f"got '{text}'; write a whole number of at least 1"):
            parse.at_least(1)(text)


def test_share() -> None:
    assert parse.share("0.01") == 0.01
    for text in ("1", "-0.1", "0,1"):
        with pytest.raises(ValueError, match=f"got '{text}'; write a number of at least 0 and below 1"):
            parse.share(text)
