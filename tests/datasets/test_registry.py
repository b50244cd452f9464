"""The table of data sets: options, descriptions and their agreement with the loaders."""

from pathlib import Path

import pytest

from datasets import glyphs, mnist
from datasets.errors import DataError
from datasets.registry import (
    DATASETS,
    DEFAULT_DATA,
    data_root,
    describe,
    fixed_facts,
    resolve_options,
    target,
)

NOWHERE = Path("nowhere")


@pytest.mark.parametrize("name", DATASETS)
def test_every_row_is_whole(name):
    entry = DATASETS[name]
    assert entry.name == name
    assert callable(target(entry.loader))
    assert (entry.facts is None) != (entry.describer is None)
    for text in (entry.title, entry.source, entry.licence):
        assert text
    for spec in entry.options.values():
        assert spec.meaning
        if spec.default is not None:
            assert isinstance(spec.default, spec.type)
            assert not spec.allowed or spec.default in spec.allowed


def test_pins_are_those_of_the_loaders():
    assert fixed_facts("glyphs").source == glyphs.source_checksum()
    assert fixed_facts("mnist").source == mnist.source_checksum(mnist.MNIST)
    assert fixed_facts("fashion_mnist").source == mnist.source_checksum(mnist.FASHION_MNIST)
    with pytest.raises(DataError, match="not fixed"):
        fixed_facts("folder")


def test_options_are_completed():
    assert resolve_options("glyphs", None) == {"image_size": 28}
    assert resolve_options("omniglot", {"image_size": 32}) == {"image_size": 32}
    assert resolve_options("folder", {"path": "faces"}) == {
        "path": "faces",
        "image_size": 112,
        "channels": 3,
    }


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("omniglott", {}, "did you mean 'omniglot'"),
        ("xyz", {}, "there are glyphs, mnist5k"),
        ("omniglot", {"imagesize": 28}, "did you mean 'image_size'"),
        ("mnist", {"image_size": 28}, "has no options"),
        ("glyphs", {"image_size": 30}, "30 is not one of 28, 32"),
        ("omniglot", {"image_size": 200}, "200 is not within 8 … 105"),
        ("omniglot", {"image_size": "28"}, "'28' is not of type int"),
        ("omniglot", {"image_size": True}, "True is not of type int"),
        ("folder", {}, "path: must be given"),
        ("folder", {"path": 3}, "3 is not of type str"),
    ],
)
def test_bad_options_are_refused(name, options, reason):
    with pytest.raises(DataError, match=reason):
        resolve_options(name, options)


def test_fixed_data_is_described_where_it_is_absent():
    found = describe("omniglot", {"image_size": 32}, NOWHERE)
    assert (found.classes, found.images, found.smallest_class) == (1623, 32460, 20)
    assert found.given_classes == (964, 0, 659)
    assert (found.channels, found.image_size) == (1, 32)


def test_checksums_tell_data_and_options_apart():
    described = [
        describe(name, options, NOWHERE).checksum
        for name, options in [
            ("omniglot", None),
            ("omniglot", {"image_size": 32}),
            ("glyphs", None),
            ("glyphs", {"image_size": 32}),
            ("mnist", None),
            ("mnist5k", None),
            ("fashion_mnist", None),
        ]
    ]
    assert len(set(described)) == len(described)
    assert describe("omniglot", {"image_size": 28}, NOWHERE).checksum == described[0]


def test_data_root_is_a_folder_or_what_the_environment_names(monkeypatch):
    monkeypatch.delenv("MARGINBENCH_DATA", raising=False)
    assert data_root() == DEFAULT_DATA == Path("data")
    monkeypatch.setenv("MARGINBENCH_DATA", "/elsewhere")
    assert data_root() == Path("/elsewhere")
