"""Augmentation against torchvision, and its independence of the batch and of other kinds."""

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from datasets.augment import AugmentSpec, Draws, apply, draw, inverse_affine
from datasets.errors import DataError

ALL = AugmentSpec(
    rotate_degrees=20, translate=0.1, scale=0.2, shear_degrees=10, flip=0.5, erase=0.6
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pictures(count: int, channels: int = 1, side: int = 28) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [28, 33])
def test_affine_equals_torchvision(channels, side):
    count = 40
    images = pictures(count, channels, side)
    generator = rng(1)
    angle = generator.uniform(-180, 180, count)
    shift = generator.integers(-5, 6, (count, 2))  # torchvision shifts by whole pixels
    scale = generator.uniform(0.6, 1.6, count)
    shear = generator.uniform(-30, 30, count)
    theta = inverse_affine(angle=angle, translate=shift / side, scale=scale, shear=shear)
    draws = Draws(torch.from_numpy(theta).float(), torch.zeros(count, 4), True, False)
    found = apply(images, draws)
    for index in range(count):
        expected = reference.affine(
            images[index],
            angle=float(angle[index]),
            translate=shift[index].tolist(),
            scale=float(scale[index]),
            shear=[float(shear[index]), 0.0],
            interpolation=InterpolationMode.BILINEAR,
            fill=None,  # a fill value would be blended in twice along the border
        )
        torch.testing.assert_close(found[index], expected, atol=2e-4, rtol=0)


def test_quarter_turn_and_shift_move_pixels_as_they_should():
    images = pictures(1)
    turned = inverse_affine(
        angle=np.array([90.0]), translate=np.zeros((1, 2)), scale=np.ones(1), shear=np.zeros(1)
    )
    draws = Draws(torch.from_numpy(turned).float(), torch.zeros(1, 4), True, False)
    clockwise = torch.rot90(images, -1, (2, 3))
    torch.testing.assert_close(apply(images, draws), clockwise, atol=1e-4, rtol=0)

    moved = inverse_affine(
        angle=np.zeros(1),
        translate=np.array([[3 / 28, 2 / 28]]),
        scale=np.ones(1),
        shear=np.zeros(1),
    )
    draws = Draws(torch.from_numpy(moved).float(), torch.zeros(1, 4), True, False)
    expected = torch.zeros_like(images)
    expected[:, :, 2:, 3:] = images[:, :, :-2, :-3]
    torch.testing.assert_close(apply(images, draws), expected, atol=1e-4, rtol=0)


def test_flip_mirrors_left_and_right():
    images = pictures(4)
    found = apply(images, draw(AugmentSpec(flip=1.0), 4, rng()))
    torch.testing.assert_close(found, images.flip(3), atol=1e-5, rtol=0)


def test_nothing_asked_for_changes_nothing():
    images = pictures(3)
    assert apply(images, draw(AugmentSpec(), 3, rng())) is images


def test_an_image_is_the_same_alone_in_any_batch_and_by_index():
    images, draws = pictures(300), draw(ALL, 300, rng())
    whole = apply(images, draws)
    for index in (0, 7, 299):
        one = slice(index, index + 1)
        assert torch.equal(apply(images[one], draws[one]), whole[one])
    order = np.random.default_rng(5).permutation(300)[:37]
    assert torch.equal(apply(images[order], draws[order]), whole[order])
    assert torch.equal(apply(images[order], draws[torch.from_numpy(order)]), whole[order])
    assert (whole != images).flatten(1).any(1).sum() > 290


def test_one_kind_does_not_move_the_draws_of_the_others():
    everything = draw(ALL, 50, rng())
    without_erasing = draw(
        AugmentSpec(rotate_degrees=20, translate=0.1, scale=0.2, shear_degrees=10, flip=0.5),
        50,
        rng(),
    )
    only_erasing = draw(AugmentSpec(erase=0.6), 50, rng())
    assert torch.equal(everything.theta, without_erasing.theta)
    assert torch.equal(everything.boxes, only_erasing.boxes)
    shift = draw(AugmentSpec(translate=0.1), 50, rng()).theta[:, :, 2]
    with_flip = draw(AugmentSpec(translate=0.1, flip=0.5), 50, rng()).theta[:, :, 2]
    assert torch.equal(shift.abs(), with_flip.abs())
    assert torch.equal(draw(ALL, 20, rng()).theta, everything.theta[:20])


def test_draws_fill_their_ranges():
    count = 20000
    turned = draw(AugmentSpec(rotate_degrees=30), count, rng()).theta.double()
    angle = torch.rad2deg(torch.atan2(turned[:, 0, 1], turned[:, 0, 0]))
    assert 29.9 < angle.max() <= 30.001
    assert -30.001 <= angle.min() < -29.9
    assert abs(angle.mean()) < 0.6

    scaled = 1 / draw(AugmentSpec(scale=0.2), count, rng()).theta[:, 0, 0]
    assert 1.199 < scaled.max() <= 1.2001
    assert 0.7999 <= scaled.min() < 0.801

    shifted = draw(AugmentSpec(translate=0.1), count, rng()).theta[:, :, 2] / 2
    assert 0.0999 < shifted.abs().max() <= 0.10001


def test_erased_rectangles():
    count, spec = 4000, AugmentSpec(erase=0.5, erase_area=0.2)
    draws = draw(spec, count, rng())
    top, left, bottom, right = draws.boxes.double().T
    erased = bottom > top
    assert erased.double().mean() == pytest.approx(0.5, abs=0.04)
    area = ((bottom - top) * (right - left))[erased]
    assert 0.0499 < area.min() < 0.052
    assert 0.198 < area.max() < 0.2001
    ratio = ((bottom - top) / (right - left))[erased]
    assert 0.299 < ratio.min() < 0.31
    assert 3.2 < ratio.max() < 3.301
    assert draws.boxes.min() >= 0
    assert draws.boxes.max() <= 1

    found = apply(torch.ones(count, 2, 28, 28), draws)
    black = (found == 0).double().mean((1, 2, 3))
    assert ((found == 0) | (found == 1)).all()
    assert (black[~erased] == 0).all()
    torch.testing.assert_close(black[erased].mean(), area.mean(), atol=2e-3, rtol=0)


def test_a_box_erases_pixels_whose_centre_it_holds():
    boxes = torch.tensor([[0.25, 0.5, 0.75, 1.0]])
    theta = torch.eye(2, 3)[None]
    found = apply(torch.ones(1, 1, 4, 4), Draws(theta, boxes, False, True))[0, 0]
    expected = torch.ones(4, 4)
    expected[1:3, 2:4] = 0
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rotate_degrees", 181),
        ("translate", -0.1),
        ("scale", 1.0),
        ("erase", 1.5),
        ("flip", float("nan")),
        ("shear_degrees", "5"),
    ],
)
def test_bad_amounts_are_refused(key, value):
    with pytest.raises(DataError, match=key):
        AugmentSpec(**{key: value})


def test_draws_must_fit_the_images():
    with pytest.raises(ValueError, match="do not fit"):
        apply(pictures(3), draw(ALL, 2, rng()))
    with pytest.raises(ValueError, match="square"):
        apply(torch.zeros(2, 1, 4, 5), draw(ALL, 2, rng()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_device_gives_the_same_pixels():
    images, draws = pictures(64), draw(ALL, 64, rng())
    found = apply(images.cuda(), draws.to("cuda")).cpu()
    torch.testing.assert_close(found, apply(images, draws), atol=1e-4, rtol=0)
