"""The nets of the comparison in plain PyTorch, as a script would have them; what the arithmetic is counted on, too."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.backbones import build_backbone
from benchmarks.experiment import Experiment
from benchmarks.seeds import stream_seed

NETS = ("conv3", "conv4")


def plain_net(name: str, channels: int, side: int, dim: int) -> nn.Sequential:
    """``conv3`` or ``conv4`` with ReLU and batch norm on the embedding: (B, channels, side, side) → (B, dim).

    Raises
    ------
    ValueError : another net.
    """
    if name not in NETS:
        raise ValueError(f"{name}: the usual way has {' and '.join(NETS)}")
    filters, stride = ((16, 32, 64), 2) if name == "conv3" else ((64,) * 4, 1)
    layers: list[nn.Module] = []
    for outputs in filters:
        layers += [nn.Conv2d(channels, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]  # fmt: skip
        if name == "conv4":
            layers.append(nn.MaxPool2d(2))
        channels, side = outputs, (side + 1) // 2 if name == "conv3" else side // 2
    features = channels * side**2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, dim, bias=False), nn.BatchNorm1d(dim))  # fmt: skip


def plain_twin(experiment: Experiment, channels: int, side: int) -> nn.Sequential:
    """The plain net of an experiment with the initial weights that it has in the suite: the same function."""
    options = experiment.backbone
    if (options["embedding_norm"], options["activation"]) != ("batch", "relu"):
        raise ValueError("the usual way has ReLU and batch norm on the embedding")
    generator = torch.Generator().manual_seed(stream_seed("init", experiment.seed))
    own = build_backbone(channels=channels, image_size=side, generator=generator, **options)
    net = plain_net(options["name"], channels, side, options["embedding_dim"])
    with torch.no_grad():
        for target, source in zip(net.parameters(), own.parameters(), strict=True):
            target.copy_(_channels_first(source, net) if target.dim() == 2 else source)
    return net


def _channels_first(weight: Tensor, net: nn.Sequential) -> Tensor:
    """The embedding's weight (D, H W C) for features in the order C, H, W."""
    channels = [module for module in net if isinstance(module, nn.Conv2d)][-1].out_channels
    side = round((weight.shape[1] / channels) ** 0.5)
    return weight.unflatten(1, (side, side, channels)).permute(0, 3, 1, 2).flatten(1)
