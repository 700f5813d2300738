"""Which class a network certainly predicts: near ties, an evaluation in floating point decides nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.around import Around
from distverify.analysis.margins import evaluation_losses
from distverify.bounds.interval import largest, output_at
from distverify.bounds.jacobian import margin_rows
from distverify.questions.region import RegionBounds
from distverify.status import MISCLASSIFIED, OK, UNDECIDED

Floats = NDArray[np.float64]


def decide(around: Around) -> tuple[int, int, str]:
    """Status, predicted class and message of a sample.

    A class is predicted where its output is certainly the largest in exact arithmetic, and in single precision where a run asks for
    it; where none is, ``predicted`` is that of the
    evaluation in floating point, and the status says UNDECIDED, unless the label is certainly not the largest. Samples without a
    label, in a run that compares no classes, are all OK.
    """
    label, network = around.sample.label, around.bounder.network
    compares = any(q.compares for q in around.quantities)
    if network.output_size < 2 or not (label >= 0 or compares):
        return OK, around.predicted, ""
    lower, upper = output_at(network, around.sample.x)
    error = around.bounder.evaluation_error(around.once(_here)) if around.settings.arithmetic != "exact" else 0.0
    lower, upper = np.nextafter(lower - error, -np.inf), np.nextafter(upper + error, np.inf)
    first = largest(lower, upper)
    if first is None:
        lead = around.own if around.own < network.output_size else around.predicted
        against = _certain_margins(around, lead)
        if (against > 0).all():
            first = lead
        elif label < 0 or not _certainly_behind(around, lead):
            others = [j for j in range(network.output_size) if j != lead]
            rival = others[int(np.argmin(against))]
            said = f"undecided: classes {lead} and {rival} differ by less than the error of their evaluation"
            return UNDECIDED, around.predicted, said
    predicted = around.predicted if first is None else first
    if 0 <= label != predicted:
        return MISCLASSIFIED, predicted, f"predicted class {predicted}, label {label}"
    if label >= 0 and first is None:  # the label is behind, though the evaluation has it in front
        return MISCLASSIFIED, predicted, f"label {label} is certainly not the largest output"
    return OK, predicted, ""


def _certain_margins(around: Around, lead: int) -> Floats:
    """Lower bounds of f_lead - f_j at the sample, for all other classes j: finer than intervals, and dearer."""
    return _certain(around, margin_rows(around.bounder.network.output_size, lead))


def _certainly_behind(around: Around, label: int) -> bool:
    """Whether some output certainly is larger than that of ``label``."""
    return bool((_certain(around, -margin_rows(around.bounder.network.output_size, label)) > 0).any())


def _certain(around: Around, rows: Floats) -> Floats:
    """Lower bounds of ``rows @ f`` at the sample, in every arithmetic that the run asks for."""
    here = around.once(_here)
    losses = evaluation_losses(around.bounder, here, rows, around.settings.arithmetic)
    return np.asarray(np.nextafter(around.bounder.margins(here, rows) - losses, -np.inf))


def _here(around: Around) -> RegionBounds:
    """Bounds of every node's value at the sample itself."""
    return around.bounder.enclose(around.balls.at(0.0))
