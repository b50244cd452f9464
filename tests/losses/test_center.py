"""Center loss and the motion of its centers, by hand."""

from __future__ import annotations

import pytest
import torch

from losses.catalog import CatalogError, resolve
from losses.center import CenterLoss
from tests.losses.stacks import batch, make

POINTS = torch.tensor([[1.0], [3.0], [4.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 1, 1])
CODE: dict[str, float | str] = {"preset": "kaiyangzhou"}


def small(**hyper: float | str) -> CenterLoss:
    loss = make("center", hyper, num_classes=3, embedding_dim=1)
    assert isinstance(loss, CenterLoss)
    with torch.no_grad():
        loss.centers.copy_(torch.tensor([[0.0], [2.0], [7.0]]))
    return loss


@pytest.mark.parametrize(
    ("reduction", "pull"), [("mean", 3 / 3), ("sum", 3.0), ("elements", 3 / 3)]
)
def test_value(reduction: str, pull: float) -> None:
    """Half squared distances 1/2, 1/2, 2: their sum is 3."""
    loss, plain = small(center_weight=0.1, reduction=reduction), small(center_weight=0.0)
    difference = loss(POINTS, LABELS) - plain(POINTS, LABELS)
    assert difference.item() == pytest.approx(0.1 * pull, rel=1e-12)


def test_mean_over_elements_divides_by_the_dimension_too() -> None:
    """TensorFlow's 0.5·reduce_mean over (N, D)."""
    embeddings, labels = batch()
    loss = make("center", {"center_weight": 1.0, "reduction": "elements"})
    plain = make("center", {"center_weight": 0.0})
    expected = (embeddings - loss.centers[labels]).square().mean() / 2
    torch.testing.assert_close(loss(embeddings, labels) - plain(embeddings, labels), expected)


def test_centers_move_by_the_papers_rule() -> None:
    """Δc0 = (0 - 1) / 2, Δc1 = ((2 - 3) + (2 - 4)) / 3; the absent class stays."""
    loss = small(center_rate=0.5)
    loss.after_step(POINTS, LABELS)
    assert loss.centers.flatten().tolist() == [0.25, 2.5, 7.0]


def test_centers_are_no_parameters_and_get_no_gradient() -> None:
    loss = small()
    loss(POINTS, LABELS).backward()
    assert "centers" not in dict(loss.named_parameters())
    assert "centers" in loss.state_dict()
    assert loss.centers.grad is None


def test_centers_as_parameters_get_the_losss_own_gradient() -> None:
    """∂/∂c_j of λ/B·Σ½‖x - c‖² is -λ/B·Σ_{y_i = j} (x_i - c_j); the paper's rule is off."""
    loss = small(update="gradient", center_weight=0.3)
    loss(POINTS, LABELS).backward()
    assert isinstance(loss.centers, torch.nn.Parameter)
    assert loss.class_parameters == ("weight", "bias", "centers")
    assert loss.centers.grad is not None
    gradient = loss.centers.grad.flatten()
    torch.testing.assert_close(gradient, -0.1 * torch.tensor([1.0, 3.0, 0.0]).double())
    loss.after_step(POINTS, LABELS)
    assert loss.centers.flatten().tolist() == [0.0, 2.0, 7.0]
    assert small().class_parameters == ("weight", "bias")


def test_preset_of_the_common_code() -> None:
    """KaiyangZhou: mean over the batch of ‖x - c_y‖², without the half."""
    loss, plain = small(**CODE), small(center_weight=0.0)
    difference = loss(POINTS, LABELS) - plain(POINTS, LABELS)
    assert difference.item() == pytest.approx((1 + 1 + 4) / 3)
    assert resolve("center", {"preset": "caffe_face"})["center_weight"] == 0.008
    assert resolve("center", {"preset": "caffe_mnist"})["center_weight"] == 0.01


def test_the_rate_needs_the_papers_rule() -> None:
    with pytest.raises(CatalogError, match="only with update: 'paper'"):
        resolve("center", {"update": "gradient", "center_rate": 0.1})


def test_centers_converge_to_the_class_means() -> None:
    loss = make("center", {"center_rate": 1.0})
    embeddings, labels = batch(40)
    for _ in range(200):
        loss.after_step(embeddings, labels)
    for c in range(5):
        torch.testing.assert_close(loss.centers[c], embeddings[labels == c].mean(dim=0))


def test_starts_with_the_weights_of_softmax() -> None:
    """Losses that share a seed share their initial class weights."""
    weights = [make(name, seed=5).weight for name in ("softmax", "center", "arcface", "sphereface")]
    assert all(torch.equal(weights[0], weight) for weight in weights)
