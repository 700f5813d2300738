"""The reader of VNN-LIB 2.0: what it takes, what it refuses and says, and what the standard's own checker thinks of the same texts."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from distverify.data.query.first_version import is_first_version, parse_first_version
from distverify.data.query.reading import parse_query
from distverify.data.query.terms import Arithmetic, Comparison, Connective, Constant, Variable, difference, holds
from distverify.data.vnnlib.text import Unreadable
from tests.query_cases import THEORIES, make

HEAD = "(vnnlib-version <2.0>)\n"
NET = "(declare-network f (declare-input X {0} [2]) (declare-output Y {0} [1]))\n"
REAL = HEAD + NET.format("real")
FINE = "(assert (<= X[0] 1.0))"


def second(relation: str, shape: str = "[2]", element: str = "real") -> str:
    return f"(declare-network g ({relation} f) (declare-input Z {element} {shape}) (declare-output W {element} [1]))\n"


ACCEPTED = {
    "capital type": HEAD + NET.format("Real") + FINE,
    "newer minor version": REAL.replace("2.0", "2.1") + FINE,
    "no variables": REAL + "(assert (<= 0.0 1.0))",
    "and of one": REAL + "(assert (and (<= X[0] 1.0)))",
    "sum of one": REAL + "(assert (<= (+ X[0]) 1.0))",
    "negative": REAL + "(assert (<= (- X[0]) (- 1.0)))",
    "long sum": REAL + "(assert (!= (+ X[0] X[1] (* 2.0 Y[0]) -1.5) (- Y[0] X[0] 0.5)))",
    "no spaces": REAL + "(assert(<= X[0]1.0))",
    "spaces": REAL + "(assert (<= X [ 0 ] 1.0))",
    "comments": REAL + "; one\n(assert ; two\n (<= X[0] 1.0)) ; three",
    "scalar": HEAD + "(declare-network f (declare-input X real []) (declare-output Y real [1])) (assert (<= X Y[0]))",
    "hidden": HEAD + '(declare-network f (declare-input X real [2]) (declare-hidden H real [2] "a/b:0") (declare-output Y real [1]))'
    + FINE,
    "name of a network and a variable": REAL.replace("network f", "network X") + FINE,
    "keyword as a name": REAL.replace("X", "assert") + FINE.replace("X", "assert"),
    "equal": REAL + second("equal-to") + FINE,
    "isomorphic": REAL + second("isomorphic-to") + FINE,
    "whole numbers": HEAD + NET.format("int32") + "(assert (>= (+ X[0] 3 -2) Y[0]))",
    "unsigned": HEAD + NET.format("uint8") + "(assert (<= X[0] 255))",
    "number and variable without space": REAL + "(assert (<= 1.0X[0]))",
    "negative number after a variable": REAL + "(assert (<= (+ X[0]-1.0) -0.0))",
    "minus before a variable": REAL + "(assert (<= (-X[0]) 1.0))",
    "leading zeros": REAL + "(assert (<= X[01] 0001.50))",
    "many digits": REAL + f"(assert (<= X[0] 0.{'123' * 300}))",
    "lines end with CR LF": (REAL + FINE).replace("\n", "\r\n"),
    "tabs and form feeds": (REAL + FINE).replace(" ", "\t").replace("(assert", "\f(assert"),
    "any letters in a comment": REAL + "; é, 中 and (assert\n" + FINE + "; no line end",
    "hidden node with marks in its name": HEAD + r'(declare-network f (declare-input X real [2])'
    r' (declare-hidden H real [2] "a\"b\\ c") (declare-output Y real [1]))' + FINE,
    "five thousand sums": REAL + "(assert (<= " + "(+ X[0] " * 5000 + "1.0" + ")" * 5000 + " 1.0))",
    "five thousand ors": REAL + "(assert " + "(or (<= X[0] 1.0) " * 5000 + "(<= X[1] 1.0)" + ")" * 5000 + ")",
    "types apart": HEAD + NET.format("real") + "(assert (and (<= 0 1) (<= X[0] 1.0)))",
}  # fmt: skip
REFUSED = {
    "input with a node's name": (REAL.replace("X real [2]", 'X real [2] "x"') + FINE, "it is bound by its position"),
    "hexadecimal number": (REAL + "(assert (<= X[0] 0x1F))", "'0x1F\\)\\)' is no word"),
    "point without digits": (REAL + "(assert (<= X[0] 1.))", "'1.\\)\\)' is no word"),
    "two points": (REAL + "(assert (<= X[0] 1.0.0))", "no word"),
    "digits and an underscore": (REAL + "(assert (<= X[0] 1_0.0))", "no word"),
    "negative exponent": (REAL + "(assert (<= X[0] 25e-1))", "no word"),
    "name that begins with an underscore": (REAL.replace("X", "_X") + FINE, "no word"),
    "letter of no alphabet of names": (REAL.replace("X", "Xé") + FINE, "no word"),
    "keyword of connectives as a name": (REAL.replace("X", "and") + FINE, "a variable's name is expected"),
    "negation of a formula": (REAL + "(assert (not (<= X[0] 1.0)))", "no comparison"),
    "version twice": (HEAD + REAL + FINE, "a network is to be declared"),
    "version of three numbers": (REAL.replace("2.0", "2.0.0") + FINE, "line 1: .* is no word"),
    "comma at the end": (REAL + "(assert (<= X[0,] 1.0))", "no whole number"),
    "index of a scalar": (REAL.replace("[2]", "[]") + FINE, "got 1 indices"),
    "number in quotes": (REAL + '(assert (<= X[0] "1.0"))', "a number, a variable or a term"),
    "empty": ("", "begins with its version"),
    "no version": (NET.format("real") + FINE, "begins with its version"),
    "version 1": (REAL.replace("2.0", "1.0") + FINE, "version 1.0 is not read"),
    "version without brackets": (REAL.replace("<2.0>", "2.0") + FINE, "write <2.0>"),
    "no network": (HEAD + FINE, "a network is to be declared"),
    "no assertion": (REAL, "no assertion"),
    "exponent": (REAL + "(assert (<= X[0] 1e3))", "no word of VNN-LIB"),
    "plus sign": (REAL + "(assert (<= X[0] +1.0))", "is expected, not '\\+'"),
    "no digit before the point": (REAL + "(assert (<= X[0] .5))", "no word"),
    "one equals sign": (REAL + "(assert (= X[0] 1.0))", "no word"),
    "and of nothing": (REAL + "(assert (and))", "and of nothing"),
    "dimension without comma": (REAL.replace("[2]", "[2 2]") + FINE, "a comma"),
    "dimension zero": (REAL.replace("[2]", "[0]") + FINE, "below 1"),
    "hidden without name": (
        HEAD + "(declare-network f (declare-input X real [2]) (declare-hidden H real [2]) (declare-output Y real [1]))" + FINE,
        "in quotes",
    ),
    "outputs first": (HEAD + "(declare-network f (declare-output Y real [1]) (declare-input X real [2]))" + FINE, "inputs come first"),
    "network after assertion": (REAL + FINE + NET.format("real").replace("f", "g"), "neither a network before"),
    "network twice": (REAL + NET.format("real").replace("X", "Z").replace("Y", "W") + FINE, "declared twice"),
    "variable twice": (REAL.replace("Y", "X") + FINE, "X is declared twice"),
    "hyphen": (REAL.replace("network f", "network f-copy") + FINE, "no name"),
    "undeclared": (REAL + "(assert (<= Z[0] 1.0))", "Z is not declared"),
    "index out of bounds": (REAL + "(assert (<= X[2] 1.0))", "index 2 of X is out of bounds"),
    "too many indices": (REAL + "(assert (<= X[0,0] 1.0))", "got 2 indices"),
    "too few indices": (REAL + "(assert (<= X 1.0))", "got 0 indices"),
    "whole constant for reals": (REAL + "(assert (<= X[0] 1))", "write 1.0"),
    "decimal for whole numbers": (HEAD + NET.format("int32") + "(assert (<= X[0] 1.0))", "give a whole number"),
    "negative for unsigned": (HEAD + NET.format("uint8") + "(assert (<= X[0] -1))", "not negative"),
    "mixed constants": (REAL + "(assert (<= X[0] (+ 1 1.0)))", "write 1.0"),
    "mixed types": (REAL.replace("Y real", "Y float32") + "(assert (<= X[0] Y[0]))", "one comparison has one type"),
    "equal to itself": (REAL.replace("network f", "network f (equal-to f)") + FINE, "not declared before"),
    "equal with another shape": (REAL + second("equal-to", "[3]") + FINE, "differ in"),
    "equal with another type": (REAL + second("equal-to", element="float32") + FINE, "differ in"),
    "isomorphic with another shape": (REAL + second("isomorphic-to", "[3]") + FINE, "differ in"),
    "chain": (
        REAL + second("equal-to") + second("equal-to").replace(" f)", " g)").replace("network g", "network h") + FINE,
        "itself names another",
    ),
    "arithmetic asserted": (REAL + "(assert (+ X[0] 1.0))", "no comparison"),
    "division": (REAL + "(assert (<= (/ X[0] 2.0) 1.0))", "no word"),
    "three compared": (REAL + "(assert (<= X[0] 1.0 2.0))", "one too many"),
    "closing parenthesis too many": (REAL + FINE + ")", "neither a network"),
    "cut off": (REAL + "(assert (<= X[0] 1.0)", "is missing"),
    "too deep": (REAL + "(assert (<= " + "(- " * 10_001 + "X[0]" + ")" * 10_001 + " 1.0))", "nested deeper"),
}  # fmt: skip
# What the standard says and its checker does not look at.
STANDARD_ONLY = {
    "unknown type": (HEAD + NET.format("float") + FINE, "no element type"),
    "two relations": (
        REAL + "(declare-network g (equal-to f) (isomorphic-to f) (declare-input Z real [2]) (declare-output W real [1]))" + FINE,
        "at most one",
    ),
    "negative index": (REAL + "(assert (<= X[-1] 1.0))", "no whole number"),
}  # fmt: skip


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED)
def test_takes(text: str) -> None:
    assert parse_query(text).assertions


@pytest.mark.parametrize(
    ("text", "message"), [*REFUSED.values(), *STANDARD_ONLY.values()], ids=[*REFUSED, *STANDARD_ONLY]
)
def test_refuses_and_says_why(text: str, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        parse_query(text)


def test_tells_the_line() -> None:
    with pytest.raises(Unreadable, match="line 4: variable Z is not declared"):
        parse_query(REAL + "\n(assert (<= Z[0] 1.0))")


@pytest.fixture(scope="module")
def checker() -> Callable[[str], bool]:
    vnnlib = pytest.importorskip("vnnlib")

    def accepts(text: str) -> bool:
        try:
            vnnlib.parse_query_string(text)
        except (vnnlib.VNNLibException, UnicodeDecodeError):  # the latter where its own message cuts a letter in two
            return False
        return True

    return accepts


def test_agrees_with_the_checker_on_these(checker: Callable[[str], bool]) -> None:
    assert [name for name, text in ACCEPTED.items() if not checker(text)] == []
    # It does not look at some of what the standard asks for.
    lenient = {"network twice", "too deep"}
    assert [name for name, (text, _) in REFUSED.items() if checker(text) and name not in lenient] == []


def test_agrees_with_the_checker_on_generated_queries_and_mutations(checker: Callable[[str], bool]) -> None:
    rng = np.random.default_rng(0)
    words = [
        "(",
        ")",
        "[",
        "]",
        ",",
        "X0",
        "Y",
        "0.5",
        "3",
        "-1.0",
        "and",
        "or",
        "<=",
        "==",
        "+",
        "*",
        "-",
        "real",
        "assert",
    ]
    accepted = refused = 0
    for seed in range(300):
        theory = THEORIES[seed % len(THEORIES)]
        text = make(np.random.default_rng(seed), theory, ("real", "float32")[seed % 2]).text
        if seed % 3:
            pieces = text.replace("(", " ( ").replace(")", " ) ").replace("[", " [ ").replace(",", " , ").split()
            place = int(rng.integers(4, len(pieces)))
            pieces[place : place + int(rng.integers(0, 2))] = [str(rng.choice(words))]
            text = " ".join(pieces).replace("( ", "(").replace(" [ ", " [")
        try:
            parse_query(text)
            mine = True
        except Unreadable as error:
            if "no whole number" in str(error):
                continue  # an index, which it takes whatever it is
            mine = False
        assert mine == checker(text), text
        accepted, refused = accepted + mine, refused + (not mine)
    assert accepted > 90
    assert refused > 90


def test_connectives_of_one_kind_are_one() -> None:
    nested = "(or (<= X[0] 1.0) (or (<= X[0] 2.0) (and (<= X[0] 3.0) (and (<= X[0] 4.0) (<= X[0] 5.0)))) (<= X[0] 6.0))"
    flat = "(or (<= X[0] 1.0) (<= X[0] 2.0) (and (<= X[0] 3.0) (<= X[0] 4.0) (<= X[0] 5.0)) (<= X[0] 6.0))"
    assert parse_query(REAL + f"(assert {nested})") == parse_query(REAL + f"(assert {flat})")


def test_bounds_are_read_as_any_other_comparison() -> None:
    """What is read in one step, and what is read word by word."""
    for operator in ("<=", ">=", "<", ">", "=="):
        plain = parse_query(REAL + f"(assert ({operator} X[1] -0.5))").assertions
        assert plain == parse_query(REAL + f"(assert (and ({operator} X[1] -0.5)))").assertions


def test_terms_are_exact_polynomials() -> None:
    text = REAL + "(assert (<= (* (+ X[0] 0.1) (- X[1] 2.0 Y[0])) -0.3))"
    (comparison,) = parse_query(text).assertions
    assert isinstance(comparison, Comparison)
    tenth = Fraction(1, 10)
    assert difference(comparison) == {
        (0, 1): 1, (0,): -2, (0, 2): -1, (1,): tenth, (): Fraction(1, 10), (2,): -tenth,
    }  # fmt: skip


def test_comparisons_are_turned_round_and_evaluated() -> None:
    (formula,) = parse_query(REAL + "(assert (or (> X[0] 1.0) (!= X[1] Y[0])))").assertions
    assert formula == Connective(
        "or",
        (Comparison("<", Constant(Fraction(1)), Variable(0)), Comparison("!=", Variable(1), Variable(2))),
    )
    for values, truth in (((2, 0, 0), True), ((1, 0, 0), False), ((0, 1, 0), True)):
        assert holds(formula, [Fraction(v) for v in values], lambda c: c) == truth


FIRST = """; prop
(declare-const X_0 Real)
(declare-fun X_1 () Real)
(declare-const Y_0 Real)
(assert (<= X_0 1e-1))
(assert (or (and (>= Y_0 (* 2 X_1))) (= Y_0 -3)))
"""


def test_reads_the_first_version() -> None:
    assert is_first_version(FIRST)
    assert not is_first_version(REAL + FINE)
    query = parse_first_version(FIRST, "f", lambda inputs, outputs: ((1, inputs), (outputs,)))
    assert [t.shape for t in query.tensors] == [(1, 2), (1,)]
    assert query.assertions[0] == Comparison("<=", Variable(0), Constant(Fraction(1, 10)))
    first = Comparison("<=", Arithmetic("*", (Constant(Fraction(2)), Variable(1))), Variable(2))
    assert query.assertions[1] == Connective("or", (first, Comparison("==", Variable(2), Constant(Fraction(-3)))))


def test_chains_and_depth_of_the_first_version() -> None:
    chain = FIRST.replace("(<= X_0 1e-1)", "(> 3 X_0 (+ X_1 " + "(+ X_1 " * 3000 + "1" + ")" * 3000 + ") -2)")
    formula = parse_first_version(chain, "f", lambda inputs, outputs: ((inputs,), (outputs,))).assertions[0]
    assert isinstance(formula, Connective)
    last, middle, first = formula.parts
    assert first == Comparison("<", Variable(0), Constant(Fraction(3)))
    assert isinstance(middle, Comparison)
    assert isinstance(last, Comparison)
    assert (formula.operator, middle.right, last.left) == ("and", Variable(0), Constant(Fraction(-2)))
    assert difference(last) == {(1,): -3001, (): -3}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("X_1 ()", "Z_1 ()", "declares 'Z_1'"),
        ("X_1 ()", "X_2 ()", "without gaps"),
        ("(* 2 X_1)", "(/ 2 X_1)", "a term '/'"),
        ("(<= X_0", "(<= X_7", "constrains X_7"),
        ("(or (and", "(xor (and", "asserts 'xor'"),
        ("-3)))", "-3))", "cut off"),
        ("(<= X_0 1e-1)", "(and " * 300 + "(<= X_0 1)" + ")" * 300, "nested deeper than 200"),
        ("(* 2 X_1)", "(+)", "a term '\\+' of 0 operands"),
        ("(* 2 X_1)", "()", "a term '' of 0 operands"),
    ],
)
def test_refuses_of_the_first_version(old: str, new: str, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        parse_first_version(FIRST.replace(old, new), "f", lambda inputs, outputs: ((inputs,), (outputs,)))
