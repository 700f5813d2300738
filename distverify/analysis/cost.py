"""A rough guess of what a sample's bounds cost, from the sizes of the network alone: for what is decided before any is timed."""

from __future__ import annotations

from dataclasses import dataclass

from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode, LinearNode
from distverify.quantities import catalogue
from distverify.settings import Settings

# Multiplications in a second that the kernels reach on one core of a small machine.
_RATE = 5e9
# Share of neurons that are unstable in balls of useful size; all others are multiplied out once.
_UNSTABLE = 0.15
# Balls that a search for a radius looks at.
_SEARCHED = 20
# Fewer rows or columns in a piece are not worth sending it.
_LEAST_ROWS = 16


@dataclass(frozen=True)
class SampleCost:
    """What is known of one sample's bounds before any is computed.

    Attributes
    ----------
    seconds : float
        Rough kernel time, rather too long than too short.
    stages : int
        How many times pieces are handed out and waited for, about.
    pieces : int
        Into how many pieces a stage can be cut at most; 1: not at all.
    rows : int
        Output rows of the network.
    """

    seconds: float
    stages: int
    pieces: int
    rows: int = 1


def sample_cost(network: Network, settings: Settings) -> SampleCost:
    """Guess the cost of one sample of a run.

    Counted are multiplications: of CROWN for every neuron that an activation reads, and of the columns that the Jacobian
    recursion pushes from every layer to the outputs (MATH of both: Zhang et al., NeurIPS 2018 and AAAI 2019).
    """
    quantities = catalogue.chosen(settings.compute)
    if not any(q.of_samples(settings.eps, settings.nodes) for q in quantities if not q.of_properties):
        return SampleCost(0.0, 1, 1, network.output_size)
    efforts = [q.effort for q in quantities]
    passed = 0.0  # multiplications that one row takes from a node down to the input
    crown = columns = 0.0
    widest = 0
    for node in network.nodes:
        if isinstance(node, LinearNode):
            own = sum(float(t.operator.out_size) * t.operator.push_terms for t in node.terms)
            passed += own
            crown += 2.0 * _UNSTABLE * node.size * passed
        elif isinstance(node, ActivationNode):
            widest = max(widest, node.size)
    # A unit column starts at every unstable neuron, and at the inputs or outputs, whichever are fewer.
    starts = _UNSTABLE * sum(n.size for n in network.nodes if isinstance(n, ActivationNode)) + network.input_size
    chains = min(network.output_size, network.input_size)
    columns = 2.0 * chains * starts * passed * _UNSTABLE**2
    balls = len(settings.eps) + (_SEARCHED if any(e.searches for e in efforts) else 0)
    of_jacobians = len(settings.eps) if any(e.derivatives for e in efforts) else 0
    of_jacobians += settings.march_evaluations * sum(e.marches for e in efforts)
    of_jacobians += _SEARCHED * sum(e.differentiates for e in efforts)
    seconds = (balls * crown + of_jacobians * columns) / _RATE
    pieces = max(network.output_size, widest) // _LEAST_ROWS
    return SampleCost(seconds, max(balls + of_jacobians, 1), max(pieces, 1), network.output_size)
