"""The report: verdicts in words, text shown as it is, a page that needs nothing else, and the way to disk and back."""

from __future__ import annotations

import json
import math
import os
import re
import xml.etree.ElementTree as ElementTree
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import pytest

from rlhf_ext.evaluation.report import (
    Curve,
    Example,
    Figure,
    Intervals,
    Measure,
    Report,
    Stage,
    render_html,
    render_side_by_side,
    render_table,
    write_report,
)
from rlhf_ext.stats import Estimate, bootstrap_mean, paired_difference, wilson

HOSTILE = (
    "<script>alert('x')</script> & \"quoted\" </div></details> \x1b[31mred\x00 \ud800 <img src=http://evil.test/a.png>"
)


def figure(
    low: float,
    high: float,
    better: Literal["higher", "lower"] | None = "higher",
    unit: Literal["", "%"] = "",
    **more: Any,
) -> Figure:
    estimate = Estimate(0.5, 0.4, 0.6, 100)
    change = Estimate((low + high) / 2, low, high, more.pop("n", 100))
    return Figure("score", more.pop("label", "Score"), estimate, estimate, change, better, unit, **more)


def full_report() -> Report:
    before, after = [0.0, 1.0, 0.0, 0.0] * 10, [1.0, 1.0, 0.0, 1.0] * 10
    win = Figure(
        "win", "Win rate", wilson(10, 40), wilson(30, 40), paired_difference(before, after), "higher", "%", "n"
    )
    one = Figure("one", "One row", bootstrap_mean([1.0]), bootstrap_mean([2.0]), paired_difference([1.0], [2.0]))
    return Report(
        title="A run",
        subtitle="On 40 prompts",
        figures=[win, one, figure(-0.2, -0.1)],
        examples=[Example("Hi?\nYou there?", "No.", "Yes.", "chat", {"reward": (0.25, 0.75)}), Example("p", "b", "a")],
        curves=[
            Curve("Reward", "step", "reward", {"train": [(0, 0.0), (1, 0.5), (2, 1.0)], "test": [(0, 0.1), (2, 0.9)]}),
            Curve("KL", "step", "nats", {}),
        ],
        stages=[Stage("DPO", 4000.0, "100 steps")],
        settings={"seed": "42"},
        notes=["The judge is a model."],
    )


def svgs(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)]


class Elements(HTMLParser):
    """Collects the elements and the visible text of a page, and checks that they nest."""

    VOID = {"meta", "line", "circle", "polyline"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names += [name for name, _ in attrs]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


# ---- verdicts ----


@pytest.mark.parametrize(
    ("low", "high", "better", "verdict"),
    [
        (0.1, 0.3, "higher", "better"),
        (-0.3, -0.1, "higher", "worse"),
        (0.1, 0.3, "lower", "worse"),
        (-0.3, -0.1, "lower", "better"),
        (-0.1, 0.3, "higher", "no clear change"),
        (0.0, 0.3, "higher", "no clear change"),
        (0.1, 0.3, None, "higher"),
        (-0.3, -0.1, None, "lower"),
        (-math.inf, math.inf, "lower", "no clear change"),
    ],
)
def test_verdict_follows_interval_and_direction(
    low: float, high: float, better: Literal["higher", "lower"] | None, verdict: str
) -> None:
    estimate = Estimate(0.5, 0.4, 0.6, 100)
    shown = Figure("f", "Label", estimate, estimate, Estimate(0.1, low, high, 100), better)
    assert shown.verdict == verdict
    report = Report("t", figures=[shown])
    assert verdict in render_table(report)
    # In words, so that it does not rest on colour.
    assert verdict in Elements(render_html(report)).text


def test_figure_refuses_an_unknown_direction_or_unit() -> None:
    with pytest.raises(ValueError, match="'up' for 'score'"):
        figure(0.1, 0.2, better="up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unit must be"):
        figure(0.1, 0.2, unit="percent")  # type: ignore[arg-type]


# ---- terminal ----


def test_table_shows_percentages_and_points() -> None:
    table = render_table(full_report(), width=100)
    row = next(line for line in table.splitlines() if line.startswith("Win rate"))
    assert re.search(r"25%\s+75%\s+\+50 points \[\+3\d, \+6\d\]\s+better", row)


def test_table_columns_line_up_and_keep_to_the_width() -> None:
    long = figure(-0.5, 0.25, label="A label that is far too long for one line of a terminal of eighty columns")
    lines = render_table(
        Report("t", figures=[long, figure(0.1, 0.2), figure(1, 2, label="宽 label")]), 80
    ).splitlines()
    assert all(len(line) <= 80 for line in lines)
    header = next(line for line in lines if line.startswith("measure"))
    rows = [line for line in lines if "change" in line or line.endswith("better")]
    wide = [line for line in rows if "宽" in line]
    ends = {line.index("[") - line.index("  ") for line in rows if line == header}
    assert len(ends) == 1
    assert wide[0].index("better") == header.index("verdict") - 1  # one character, two columns


def test_table_says_how_sure() -> None:
    table = " ".join(render_table(Report("t", figures=[figure(0.1, 0.2, n=5)] * 5)).split())
    assert "95% interval" in table
    assert "Fewer than 20 rows" in table
    assert "by chance alone" in table


def test_zero_has_no_sign_and_unknown_is_said() -> None:
    table = render_table(Report("t", figures=[figure(-0.11, 0.1099), full_report().figures[1]]))
    assert re.search(r" 0\.00 \[-0\.11, \+0\.11\]", table)
    assert "+1.0 [unknown]" in table


def test_side_by_side_keeps_lines_and_width() -> None:
    example = Example("Write code", "    indented\nnext", "word " * 30 + "z" * 90 + "中" * 50)
    text = render_side_by_side(Report("t", examples=[example] * 5), count=2, width=60)
    assert text.count("Write code") == 2
    assert "    indented" in text
    assert all(len(line) + line.count("中") <= 60 for line in text.splitlines())
    bars = {line.replace("中", "中中").index("|") for line in text.splitlines() if "|" in line}
    assert len(bars) == 1
    assert "".join(re.findall("[z中]", text.split("Example")[1])) == "z" * 90 + "中" * 50


def test_terminal_escapes_are_shown_not_sent() -> None:
    hostile = Report(HOSTILE, examples=[Example(HOSTILE, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: (1.0, 2.0)})])
    for text in (render_side_by_side(hostile), render_table(hostile)):
        assert "\x1b" not in text and "\x00" not in text
        assert "␛[31mred␀" in text
        text.encode("utf-8")


def test_an_empty_report_is_still_readable() -> None:
    empty = Report("Nothing yet")
    assert "No measures." in render_table(empty)
    assert render_side_by_side(empty) == "No examples."
    assert "<h2>" not in render_html(empty)


# ---- page ----


def test_text_is_escaped_wherever_it_comes_from() -> None:
    score: dict[str, tuple[float, float]] = {HOSTILE: (0.0, 1.0)}
    report = Report(
        title=HOSTILE,
        subtitle=HOSTILE,
        figures=[figure(0.1, 0.2, label=HOSTILE, note=HOSTILE), figure(0.1, 0.2, unit="%", label=HOSTILE, n=3)],
        examples=[Example(HOSTILE + "\n", HOSTILE, HOSTILE, HOSTILE, score)],
        curves=[Curve(HOSTILE, HOSTILE, HOSTILE, {HOSTILE: [(0, 1)], HOSTILE + "2": [(1, 2)]})],
        stages=[Stage(HOSTILE, 1.0, HOSTILE)],
        settings={HOSTILE: HOSTILE},
        notes=[HOSTILE],
    )
    page = render_html(report)
    elements = Elements(page)
    assert not {"script", "img", "link", "iframe", "object"} & set(elements.tags)
    assert not {"src", "href", "onerror", "style"} & set(elements.names)
    assert len(svgs(page)) == 3
    page.encode("utf-8")
    # A reader sees the text itself, with symbols for what cannot be shown.
    shown = HOSTILE.replace("\x1b", "␛").replace("\x00", "␀").replace("\ud800", "\ufffd")
    assert shown in elements.text
    assert "&lt;script&gt;" in page and "<script" not in page


def test_model_text_keeps_its_lines_and_spaces() -> None:
    code = "\n\ndef f():\n\treturn '<b>&amp;</b>'\r\n  # 中文 🙂"
    page = render_html(Report("t", examples=[Example("p", code, "after")]))
    block = re.search(r"<h3>Before</h3><div class='text' dir='auto'>(.*?)</div>", page, flags=re.DOTALL)
    assert block and unescape(block[1]) == code.replace("\r\n", "\n")


def test_page_needs_nothing_from_outside() -> None:
    page = render_html(full_report())
    assert "://" not in page
    assert not re.search(r"url\(|@import|<script|<link|\bsrc=|\bhref=", page)
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page


def test_page_nests_and_shows_every_part() -> None:
    elements = Elements(render_html(full_report()))
    for part in (
        "Win rate",
        "You there?",
        "reward: 0.25 → 0.75",
        "1 h 7 min",
        "seed",
        "The judge is a model.",
        "chat",
    ):
        assert part in elements.text
    assert "Of 3 measures: 1 ✓ better, 1 ✗ worse, 1 ○ no clear change." in elements.text


# ---- plots ----


def curve_svg(**series: list[tuple[float, float]]) -> ElementTree.Element:
    (svg,) = svgs(render_html(Report("t", curves=[Curve("Title", "step", "loss", series)])))
    return svg


def texts(svg: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in svg.iter("text")]


def test_curve_has_axes_ticks_and_a_legend() -> None:
    svg = curve_svg(train=[(i, i / 100) for i in range(101)], test=[(0, 0), (100, 0.5)])
    assert {"step", "loss", "train", "test", "0", "20", "100", "0.2", "1.0"} <= set(texts(svg))
    lines = list(svg.iter("polyline"))
    assert [line.get("class") for line in lines] == ["s0", "s1"]
    first, last = (point.split(",") for point in (lines[0].get("points") or "").split()[::100])
    assert float(first[0]) < float(last[0]) and float(first[1]) > float(last[1])  # SVG counts y downwards


def test_curve_skips_what_is_not_a_number() -> None:
    svg = curve_svg(loss=[(0, 1.0), (1, math.nan), (2, math.inf), (3, 2.0), (math.nan, 1.0)])
    (line,) = svg.iter("polyline")
    assert len((line.get("points") or "").split()) == 2


@pytest.mark.parametrize("series", [{}, {"loss": []}, {"loss": [(0.0, math.nan)]}])
def test_empty_curve_says_so(series: dict[str, list[tuple[float, float]]]) -> None:
    assert texts(curve_svg(**series)) == ["nothing logged"]


@pytest.mark.parametrize(
    "points",
    [
        [(5.0, 3.0)],
        [(0.0, 0.0), (1.0, 0.0)],
        [(0.0, 1e-7), (1.0, 2e-7)],
        [(0.0, 1e16), (1.0, 1e16 + 2)],
        [(0.0, -1e299), (1e9, 1e299)],
        [(0.0, 0.0), (1.0, 5e-324)],
    ],
)
def test_any_range_can_be_drawn(points: list[tuple[float, float]]) -> None:
    svg = curve_svg(loss=points)
    assert not any(re.search("nan|inf", value) for element in svg.iter() for value in element.attrib.values())
    assert len(list(svg.iter("circle"))) == len(points)


def test_too_many_series_are_refused() -> None:
    with pytest.raises(ValueError, match="5 series"):
        Curve("t", "x", "y", {str(i): [] for i in range(5)})


def test_forest_draws_each_change_on_its_side_of_zero() -> None:
    figures = [figure(0.1, 0.3, unit="%"), figure(-0.2, -0.1, unit="%"), figure(-0.1, 0.1)]
    figures.append(full_report().figures[1])
    rates, others = svgs(render_html(Report("t", figures=figures)))
    up, down = (float(dot.get("cx") or "") for dot in rates.iter("circle"))
    assert down < 220 < up
    assert {"−20", "0", "20"} <= set(texts(rates))
    assert [dot.get("class") for dot in others.iter("circle")] == ["dot no", "dot no"]
    bars = [bar for bar in others.iter("line") if (bar.get("class") or "").startswith("bar")]
    assert (bars[1].get("x1"), bars[1].get("x2")) == ("10.0", "430.0")  # an unknown interval runs to both edges


# ---- JSON and files ----


def test_report_goes_through_json() -> None:
    report = full_report()
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert Report.from_dict(json.loads(text)) == report


def test_missing_numbers_come_back_as_nan() -> None:
    report = Report(
        "t",
        examples=[Example("p", "b", "a", "", {"reward": (math.nan, 1.0)})],
        curves=[Curve("c", "x", "y", {"s": [(0, math.nan)]})],
    )
    again = Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert math.isnan(again.examples[0].scores["reward"][0])
    assert math.isnan(again.curves[0].series["s"][0][1])
    assert "reward: – → 1" in Elements(render_html(again)).text


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(TypeError, match="figure"):
        Report.from_dict({"title": "t", "figure": []})


def test_write_report_writes_both_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    write_report(Report("Old"), folder)
    path = write_report(full_report(), folder)
    assert path == folder / "report.html"
    assert sorted(os.listdir(folder)) == ["report.html", "report.json"]
    assert path.read_text(encoding="utf-8") == render_html(full_report())
    assert Report.from_dict(json.loads((folder / "report.json").read_text(encoding="utf-8"))) == full_report()


def test_a_failed_write_keeps_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(Report("Old"), tmp_path)

    def fail(source: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(Report("New"), tmp_path)
    assert "Old" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert sorted(os.listdir(tmp_path)) == ["report.html", "report.json"]


# ---- one model measured ----


def measured_report() -> Report:
    return Report(
        title="A reward model",
        measures=[
            Measure("accuracy", "Accuracy " + HOSTILE, wilson(30, 40), "%", HOSTILE, "at least 0.7", "passes"),
            Measure("ece", "ECE", Estimate(0.123, 0.0, 0.2, 40), "", "", "at most 0.1", "fails"),
            Measure("auc", "AUC", None, note="Not measured: " + HOSTILE),
        ],
        plots=[
            Curve("Reliability", "x", "y", {"right": [(0.5, 0.6), (0.9, 0.8)]}),
            Intervals("By category " + HOSTILE, "share", {HOSTILE: wilson(3, 9), "b": bootstrap_mean([1.0])}, 0.5),
            Intervals("Nothing", "share", {}),
        ],
    )


def test_measures_have_value_interval_and_verdict() -> None:
    report = measured_report()
    page = render_html(report)
    text = unescape(Elements(page).text)
    assert "script" not in Elements(page).tags
    for words in ("75%", "0.12", "at most 0.1", "not measured", "n = 40"):
        assert words in text.replace("\xa0", " ")
    assert "Of 2 measures: 1 ✓ passes, 1 ✗ fails." in text
    assert len(svgs(page)) == 3
    table = render_table(report, width=120)
    assert "✗" not in table
    assert re.search(r"ECE +0\.12 +\[0\.00, 0\.20\] +at most 0\.1 +fails", table)
    assert "\x1b" not in table


def test_the_reference_and_an_infinite_interval_stay_in_the_plot() -> None:
    (svg,) = svgs(render_html(Report("r", plots=[Intervals("t", "x", {"a": bootstrap_mean([2.0])}, reference=0.5)])))
    for element in svg.iter():
        for name in ("x1", "x2", "cx"):
            if name in element.attrib:
                assert 0 <= float(element.attrib[name]) <= 440


def test_measures_go_through_json() -> None:
    report = measured_report()
    again = Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert again == report


def test_a_measure_refuses_other_words() -> None:
    with pytest.raises(ValueError, match="verdict must be"):
        Measure("a", "A", None, verdict="ok")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unit must be"):
        Measure("a", "A", None, unit="ms")  # type: ignore[arg-type]
