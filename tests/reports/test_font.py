"""The font of the figures is Matplotlib's own, whatever fonts the machine has."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from matplotlib import font_manager

from reports.figures import font

OWN = Path(matplotlib.get_data_path(), "fonts", "ttf")


@pytest.mark.parametrize("found", ["system first", "system alone"])
def test_the_system_s_version_is_not_taken(
    found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "DejaVuSans.ttf"
    other.write_bytes((OWN / "DejaVuSans.ttf").read_bytes())
    manager = font_manager.FontManager()
    own = [item for item in manager.ttflist if Path(item.fname).parent == OWN]
    manager.ttflist = own if found == "system first" else []
    manager.addfont(other)
    manager.ttflist.reverse()
    assert manager.findfont("DejaVu Sans", rebuild_if_missing=False) == str(other)
    monkeypatch.setattr(font_manager, "fontManager", manager)
    monkeypatch.setattr(matplotlib, "get_cachedir", lambda: str(tmp_path))
    assert font.families.__wrapped__() == ["Report Sans", "DejaVu Sans"]
    for weight, name in (("normal", "DejaVuSans.ttf"), ("bold", "DejaVuSans-Bold.ttf")):
        asked = font_manager.FontProperties(family="DejaVu Sans", weight=weight)
        assert manager.findfont(asked) == str(OWN / name)
        small = font_manager.FontProperties(family="Report Sans", weight=weight)
        assert Path(manager.findfont(small)).parent == tmp_path
