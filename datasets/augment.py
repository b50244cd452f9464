"""Random affine maps and erasing, drawn with numpy and applied to whole batches on any device.

What is drawn belongs to an image, not to its batch: an image and its draw give the same pixels
alone and in any batch. All kinds are drawn for every image, used or not, so that switching one on
leaves the others' draws as they were.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.errors import DataError

KINDS = 11  # uniform numbers drawn for each image; new kinds go to the end


@dataclass(frozen=True)
class AugmentSpec:
    """How much to vary training images; conventions of torchvision's RandomAffine. All 0: not at
    all.

    Attributes
    ----------
    rotate_degrees : float
        Rotation drawn from ± this angle, at most 180.
    translate : float
        Shift drawn from ± this share of the side, in both directions, at most 1.
    scale : float
        Size factor drawn from 1 ± this, below 1.
    shear_degrees : float
        Horizontal shear drawn from ± this angle, below 90.
    flip : float
        Probability of mirroring left and right.
    erase : float
        Probability of erasing (setting to 0) a rectangle (Zhong et al. 2020).
    erase_area : float
        The rectangle's share of the image's area is drawn from this quarter to this, at most 1; its
        ratio of sides is drawn log-uniformly from 0.3 to 3.3.
    """

    rotate_degrees: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    shear_degrees: float = 0.0
    flip: float = 0.0
    erase: float = 0.0
    erase_area: float = 0.1

    def __post_init__(self) -> None:
        highest = {"rotate_degrees": 180, "scale": 0.95, "shear_degrees": 85}
        for key in fields(self):
            value, high = getattr(self, key.name), highest.get(key.name, 1)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not 0 <= value <= high
            ):
                raise DataError(f"augment, {key.name}: {value!r} is not a number within 0 … {high}")

    @property
    def moves(self) -> bool:
        """Whether images are mapped geometrically."""
        return any((self.rotate_degrees, self.translate, self.scale, self.shear_degrees, self.flip))

    @property
    def erases(self) -> bool:
        return self.erase > 0 and self.erase_area > 0


@dataclass(frozen=True)
class Draws:
    """What was drawn for each of `count` images.

    Attributes
    ----------
    theta : float32 (count, 2, 3)
        Map from output to input positions, x and y from −1 to 1 across a square image.
    boxes : float32 (count, 4)
        Erased rectangle: top, left, bottom, right as shares of the side; all 0 for none.
    moves, erases : bool
        Whether any theta differs from the identity, any box from none, by the spec.
    """

    theta: Tensor
    boxes: Tensor
    moves: bool
    erases: bool

    def __len__(self) -> int:
        return len(self.theta)

    def __getitem__(self, index: Tensor | np.ndarray | slice) -> Draws:
        if isinstance(index, np.ndarray):
            index = torch.from_numpy(index)
        return Draws(self.theta[index], self.boxes[index], self.moves, self.erases)

    def to(self, device: torch.device | str) -> Draws:
        """The same draws on `device`."""
        theta = self.theta.to(device, non_blocking=True)
        boxes = self.boxes.to(device, non_blocking=True)
        return Draws(theta, boxes, self.moves, self.erases)


def draw(spec: AugmentSpec, count: int, rng: np.random.Generator) -> Draws:
    """Draw augmentations for `count` images, on the CPU."""
    uniform = rng.random((count, KINDS))
    signed = 2 * uniform - 1
    theta = inverse_affine(
        angle=signed[:, 0] * spec.rotate_degrees,
        translate=signed[:, 1:3] * spec.translate,
        scale=1 + signed[:, 3] * spec.scale,
        shear=signed[:, 4] * spec.shear_degrees,
    )
    mirrored = uniform[:, 5] < spec.flip
    theta[mirrored, 0] *= -1
    boxes = _boxes(spec, uniform[:, 6:11])
    return Draws(
        torch.from_numpy(theta.astype(np.float32)),
        torch.from_numpy(boxes.astype(np.float32)),
        spec.moves,
        spec.erases,
    )


def inverse_affine(
    *, angle: np.ndarray, translate: np.ndarray, scale: np.ndarray, shear: np.ndarray
) -> np.ndarray:
    """Maps from output to input positions, as ``torchvision.transforms.functional.affine`` defines
    them.

    Parameters
    ----------
    angle, shear : (n,)
        Degrees; the shear is horizontal.
    translate : (n, 2)
        Shift to the right and downwards, as a share of the side.
    scale : (n,)

    Returns
    -------
    float64 (n, 2, 3)
        In coordinates from −1 to 1 across a square image.
    """
    turn, lean = np.radians(angle), np.tan(np.radians(shear))
    cos, sin = np.cos(turn), np.sin(turn)
    # The forward map is a shear, then a rotation, a scaling and the shift; this undoes it.
    first, second = [cos - lean * sin, sin + lean * cos], [-sin, cos]
    linear = np.array([first, second]).transpose(2, 0, 1) / scale[:, None, None]  # (n, 2, 2)
    offset = -linear @ (2 * translate)[:, :, None]
    return np.concatenate([linear, offset], axis=2)


def apply(images: Tensor, draws: Draws) -> Tensor:
    """Apply each image's draw to it.

    Parameters
    ----------
    images : float32 (B, C, S, S)
        In [0, 1], on the device of `draws`. Pixels from outside count as 0.
    draws : Draws
        Of length B.

    Returns
    -------
    float32 (B, C, S, S)
        In [0, 1]; `images` itself if nothing was drawn.
    """
    if images.shape[-1] != images.shape[-2] or len(images) != len(draws):
        raise ValueError(f"{len(draws)} draws do not fit square images of shape {images.shape}")
    if draws.moves:
        grid = _grid(draws.theta, images.shape[-1])
        images = F.grid_sample(images, grid, "bilinear", "zeros", align_corners=False)
    if draws.erases:
        images = images * _outside(draws.boxes, images.shape[-1])  # faster than filling by mask
    return images


def _grid(theta: Tensor, side: int) -> Tensor:
    """Input positions of every output pixel, (B, side, side, 2).

    Sums of a row and a column term: one addition a pixel, and no matrix product whose rounding
    could depend on the size of the batch.
    """
    centre = _centres(side, theta) * 2 - 1
    columns = theta[:, None, :, 0] * centre[:, None]  # (B, side, 2)
    rows = theta[:, None, :, 1] * centre[:, None] + theta[:, None, :, 2]  # (B, side, 2)
    return rows[:, :, None] + columns[:, None]


def _outside(boxes: Tensor, side: int) -> Tensor:
    """0 where a pixel's centre lies in the image's box, 1 elsewhere, (B, 1, side, side)."""
    centre = _centres(side, boxes)
    top, left, bottom, right = boxes[:, :, None].unbind(1)  # (B, 1) each
    rows = ((centre >= top) & (centre < bottom)).to(boxes.dtype)
    columns = ((centre >= left) & (centre < right)).to(boxes.dtype)
    return (1 - rows[:, :, None] * columns[:, None])[:, None]


def _centres(side: int, like: Tensor) -> Tensor:
    """Centres of the pixels along a side, from 0 to 1."""
    return (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) / side


def _boxes(spec: AugmentSpec, uniform: np.ndarray) -> np.ndarray:
    """Rectangles to erase, (n, 4), from five uniform numbers each; zeros where none is drawn."""
    chance, area, ratio, down, across = uniform.T
    area = spec.erase_area * (0.25 + 0.75 * area)
    ratio = np.exp(math.log(0.3) + ratio * math.log(3.3 / 0.3))
    height = np.minimum(np.sqrt(area * ratio), 1.0)
    width = np.minimum(np.sqrt(area / ratio), 1.0)
    top, left = down * (1 - height), across * (1 - width)
    boxes = np.stack([top, left, top + height, left + width], axis=1)
    return boxes * (chance < spec.erase)[:, None]
