"""``distverify supports``: what the solver can do, in the plain lines that chapter 5 of the VNN-LIB standard asks for."""

from __future__ import annotations

from collections.abc import Callable

import click


def _operators() -> list[str]:
    from distverify.network.onnx.translation import KNOWN_OPERATORS

    return list(KNOWN_OPERATORS)


def _opsets() -> list[str]:
    import onnx

    return ["7", str(onnx.defs.onnx_opset_version())]


def _element_types() -> list[str]:
    from distverify.analysis.query.formats import ELEMENT_TYPES

    return sorted(ELEMENT_TYPES)


_ANSWERS: dict[str, tuple[str, Callable[[], list[str]]]] = {
    "--onnx-opset-versions": ("The oldest and the newest ONNX operator set.", _opsets),
    "--onnx-element-types": ("Element types of sound analysis.", _element_types),
    "--onnx-operators": ("ONNX operators, for all of these types.", _operators),
    "--onnx-operators-unsat-proofs": ("ONNX operators that proofs of unsat may be about.", list),
    "--vnnlib-versions": ("The oldest and the newest VNN-LIB version of chapter 5.", lambda: ["2.0", "2.0"]),
    "--hidden-node-theories": ("Theories of hidden nodes.", lambda: ["NH", "H"]),
    "--multiple-input-output-theories": ("Theories of inputs and outputs.", lambda: ["SIO", "MIO"]),
    "--multiple-network-theories": ("Theories of networks.", lambda: ["SNET", "MENET", "MINET", "MNET"]),
    "--multiple-node-comparison-theories": ("Theories of comparisons between nodes.", lambda: ["SNC", "MNC"]),
    "--arithmetic-complexity-theories": ("Theories of arithmetic.", lambda: ["BND", "OUTC", "LIN", "POLY"]),
    "--optimised-disjunctive-reasoning": ("Whether (or ...) is more than a list of cases.", lambda: ["false"]),
    "--serialise-assignments": ("Whether verify takes --serialise-assignments.", lambda: ["true"]),
    "--unsat-proofs": ("Whether proofs of unsat are written.", lambda: ["false"]),
}
# As the standard's own examples spell it.
_SPELLINGS = {"--multiple-input-output-theories": ("--multiple-inputs-output-theories",)}


@click.command()
def supports(**asked: bool) -> None:
    """Tell what verify can do, one answer at a time, a value per line."""
    names = [name for name in _ANSWERS if asked[_variable(name)]]
    if len(names) != 1:
        raise click.UsageError(f"got {len(names)} questions; give one of {', '.join(_ANSWERS)}")
    for line in _ANSWERS[names[0]][1]():
        click.echo(line)


def _variable(name: str) -> str:
    return name.strip("-").replace("-", "_")


for _name, (_help, _) in _ANSWERS.items():
    supports.params.append(
        click.Option([_name, *_SPELLINGS.get(_name, ()), _variable(_name)], is_flag=True, help=_help)
    )
