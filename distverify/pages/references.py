"""What to cite for which setting."""

from __future__ import annotations

from distverify.settings import Settings

_LAYER_BOUNDS = {
    "alpha": "K. Xu, H. Zhang, S. Wang, Y. Wang, S. Jana, X. Lin, C.-J. Hsieh. Fast and complete: enabling complete neural network "
    "verification with rapid and massively parallel incomplete verifiers. ICLR 2021. arXiv:2011.13824",
    "crown": "H. Zhang, T.-W. Weng, P.-Y. Chen, C.-J. Hsieh, L. Daniel. Efficient neural network robustness certification with "
    "general activation functions (CROWN). NeurIPS 2018. arXiv:1811.00866",
    "interval": "S. Gowal et al. On the effectiveness of interval bound propagation for training verifiably robust models. "
    "2018. arXiv:1810.12715",
}
_RECURJAC = (
    "H. Zhang, P. Zhang, C.-J. Hsieh. RecurJac: an efficient recursive algorithm for bounding Jacobian matrix of neural "
    "networks and its applications. AAAI 2019. arXiv:1810.11783"
)
_METHODS = {
    "linear": "Z. Shi, Y. Wang, H. Zhang, J. Z. Kolter, C.-J. Hsieh. Efficiently computing local Lipschitz constants of neural "
    "networks via bound propagation. NeurIPS 2022. arXiv:2210.07394",
    # Second-order products are this project's; lines of slopes in z are from the same paper.
    "coupled": "Z. Shi, Y. Wang, H. Zhang, J. Z. Kolter, C.-J. Hsieh. Efficiently computing local Lipschitz constants of neural "
    "networks via bound propagation. NeurIPS 2022. arXiv:2210.07394",
    "interval": "T.-W. Weng et al. Towards fast computation of certified robustness for ReLU networks (Fast-Lip). ICML 2018. "
    "arXiv:1804.09699",
}


def references(settings: Settings) -> list[str]:
    """The papers whose methods a run with ``settings`` used."""
    chosen = [_LAYER_BOUNDS.get(settings.layer_bounds), _METHODS.get(settings.method), _RECURJAC]
    return [paper for paper in chosen if paper is not None]
