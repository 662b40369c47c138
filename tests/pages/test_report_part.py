"""The report's buttons on the Storage page."""

from pages.kept.report import _composed


def buttons(visitor):
    return {each.key: each for each in visitor.at.get("download_button")}


def test_a_report_can_be_downloaded_once_there_is_an_answer(visit):
    visitor = visit("model", plan="a1").go("storage")
    assert all(each.proto.disabled for each in buttons(visitor).values()) and "no answers on" in visitor.texts()
    visitor.go("drop_lab").click("ask_fidelity").wait().go("storage")
    assert set(buttons(visitor)) == {"report", "report_plan"}
    assert not any(each.proto.disabled for each in buttons(visitor).values())
    known = visitor.bench.known
    assert "KL against non-zero parameters kept" in _composed(known, visitor.ref, "")
    assert "Plotly.newPlot(" in _composed(known, visitor.ref, "a1")
    assert "no answers on" in _composed(known, visitor.ref, "m3")
