"""The table of the protocols says when something is wrong."""

from tests.benchmarks.protocols import check
from tests.benchmarks.protocols.adapters import ADAPTERS


def test_all_is_well(capsys):
    assert check.main(["--no-speed"]) == 0
    shown = capsys.readouterr().out
    for protocol in ("closed_set", "verification", "identification", "open_set_recognition"):
        assert f"| {protocol} |" in shown
    assert "| retrieval | 9 of 9 |" in shown
    assert "sklearn.roc_curve" in shown


def test_a_wrong_value_shows(monkeypatch, capsys):
    def wrong(case):
        return {name: value + 1e-6 for name, value in right(case).items()}

    protocol, right = ADAPTERS["retrieval"]
    monkeypatch.setitem(ADAPTERS, "retrieval", (protocol, wrong))
    assert check.main(["--no-speed"]) == 1
    assert "| retrieval | 0 of 9 |" in capsys.readouterr().out


def test_a_peer_that_disagrees_shows(monkeypatch, capsys):
    monkeypatch.setattr(check.peers, "differences", lambda: [("retrieval", "peer", 1e-9)])
    assert check.main(["--no-speed"]) == 1
    assert "peer 1.0e-09" in capsys.readouterr().out
