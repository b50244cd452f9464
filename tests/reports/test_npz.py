"""Arrays out of npz files, one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reports.npz import Npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_it_is_a_mapping_with_the_arrays_that_numpy_reads(save: object, tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    rng = np.random.default_rng(0)
    arrays = {
        "test/far": rng.random(7), "turned": np.asfortranarray(rng.random((3, 4))), "count": np.array(5),
        "names": np.array(["a", "bc"]), "none": np.empty((0, 2), np.int8),
    }  # fmt: skip
    save(path, **arrays)  # type: ignore[operator]
    found = Npz(path)
    assert list(found) == list(arrays)
    assert len(found) == 5
    for name, array in np.load(path).items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert "test/far" in found
    assert "test/tar" not in found
    assert found.get("test/tar") is None
    with pytest.raises(KeyError, match="test/tar"):
        found["test/tar"]


def test_an_array_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez(path, whole=np.arange(100.0), damaged=np.arange(300.0))
    content = bytearray(path.read_bytes())
    place = content.index(np.float64(250).tobytes())  # in the second array alone
    content[place] ^= 1
    path.write_bytes(content)
    found = Npz(path)
    assert "damaged" in found
    assert found["whole"].sum() == 4950
    with pytest.raises(ValueError, match="damaged"):
        found["damaged"]
