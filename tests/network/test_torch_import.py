"""PyTorch modules: the same outputs, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distverify as dv
from distverify.errors import ModelError, SettingsError
from distverify.network import torch_import

torch = pytest.importorskip("torch")
# torch's own import and exporter warn about themselves.
pytestmark = pytest.mark.filterwarnings("ignore")


def residual_network() -> Any:
    from torch import nn

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(channels)
            self.second = nn.Conv2d(channels, channels, 3, padding=1)

        def forward(self, x: Any) -> Any:
            return torch.relu(x + self.second(torch.relu(self.norm(self.first(x)))))

    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU6(), Block(4), nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 2, 2, stride=2), nn.LeakyReLU(0.1), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 3),
    )  # fmt: skip


def randomise(module: Any) -> Any:
    torch.manual_seed(5)
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    return module


def test_outputs_equal_the_modules() -> None:
    module = randomise(residual_network()).double()
    module.train()
    example = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    network = dv.load_network(module, example)
    assert module.training
    assert network.input_shape == (3, 8, 8)
    with torch.no_grad():
        expected = module.eval()(example).numpy()
    assert network(example.numpy()) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_bounds_contain_torchs_own_gradients() -> None:
    module = randomise(residual_network()).double().eval()
    network = dv.load_network(module, torch.zeros(1, 3, 8, 8, dtype=torch.float64))
    x0 = np.random.default_rng(0).uniform(size=192)
    bounds = dv.jacobian_bounds(network, dv.Ball(x0, 0.02))
    for seed in range(10):
        x = x0 + np.random.default_rng(seed).uniform(-0.02, 0.02, 192)
        point = torch.tensor(x.reshape(1, 3, 8, 8))
        jacobian = torch.autograd.functional.jacobian(module, point).numpy().reshape(3, 192)
        # torch's rounding, not ours.
        assert (bounds.lower - 1e-12 <= jacobian).all()
        assert (jacobian <= bounds.upper + 1e-12).all()


def test_single_precision_and_vectors() -> None:
    from torch import nn

    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    example = torch.randn(3, 4)
    network = dv.load_network(module, example)
    assert network.input_shape == (4,)
    assert network(example.numpy()) == pytest.approx(module(example).detach().numpy(), abs=1e-6)


def test_refused() -> None:
    from torch import nn

    class Sums(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return torch.cumsum(x, 1)

    with pytest.raises(ModelError, match="operator CumSum is not supported"):
        dv.load_network(Sums(), torch.randn(1, 4))
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    with pytest.raises(ModelError, match=r"module: torch cannot export it .* mat1 and mat2 shapes"):
        dv.load_network(module, torch.randn(1, 3))
    with pytest.raises(ModelError, match=r"example_input: give a torch\.Tensor with a batch axis"):
        dv.load_network(module, np.zeros((1, 4)))
    with pytest.raises(SettingsError, match="example_input: is missing; give a tensor"):
        dv.load_network(module)


@pytest.mark.parametrize("last", ["Softmax", "LogSoftmax"])
def test_a_softmax_at_the_end_is_left_off(last: str) -> None:
    from torch import nn

    layers = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    network = dv.load_network(nn.Sequential(layers, getattr(nn, last)(dim=1)), torch.randn(2, 4))
    assert network.remarks["outputs"] == f"the logits: the model's last {last} is left off"
    x = torch.randn(7, 4)
    assert network(x.double().numpy()) == pytest.approx(layers(x).detach().numpy(), abs=1e-5)


@pytest.mark.parametrize(
    "activation",
    ["Softplus", "Softsign", "CELU", "SELU", "Hardsigmoid", "Hardtanh", "ReLU6", "SiLU", "GELU", "Hardswish", "Mish"],
)
@pytest.mark.parametrize("newer", [True, False])
def test_activations_as_both_exporters_write_them(
    activation: str, newer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch import nn

    if not newer:
        monkeypatch.setattr(torch_import.importlib.util, "find_spec", lambda name: None)
    module = nn.Sequential(nn.Linear(4, 5), getattr(nn, activation)(), nn.Linear(5, 3))
    x = torch.randn(9, 4) * 3
    network = dv.load_network(module, x)
    assert network(x.double().numpy()) == pytest.approx(module(x).detach().numpy(), abs=1e-4)
    assert "agrees" in network.remarks["reference"]
