"""A report as one page that has no scripts and loads nothing, and its style.

Text from models and data is escaped everywhere and shown as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ._report_examples import examples_html
from ._report_plots import Matrix
from ._report_style import STYLE
from ._report_svg import curve_svg, forests_html, plot_svg
from ._report_types import Example, Figure, Measure, Report, Stage
from ._report_words import (
    SYMBOLS,
    by_group,
    cautions_of,
    duration_text,
    escaped,
    level_of,
    measure_numbers,
    minus,
    number_of,
    numbers_of,
    power_text,
)


def render_html(report: Report) -> str:
    """The report as one HTML page: inline styles and plots, no script, nothing loaded; light, dark and on a phone.

    Args:
        report ([`Report`]):
            What to show. Parts that are empty are left out.

    Returns:
        `str`: the page.
    """
    settings = "".join(
        f"<tr><th scope='row'>{escaped(k)}</th><td>{escaped(v)}</td></tr>" for k, v in report.settings.items()
    )
    sections = [
        _section("Release gate", _measures_html(report.gate)),
        _section("Results", _results_html(report.figures)),
        _section("Measures", _measures_html(report.measures)),
        _section("Tables", "".join(_matrix_html(matrix) for matrix in report.matrices)),
        _section("What to keep in mind", _list_html([*report.notes, *cautions_of(report.figures, report.measures)])),
        _section("The changes, drawn", forests_html(report.figures)),
        _section("By category", _breakdown_html(report.breakdown)),
        _section("The measures, drawn", "".join(plot_svg(plot) for plot in report.plots), "plots"),
        _section(_title_of(report.examples), examples_html(report.examples)),
        _section("Training", "".join(curve_svg(curve) for curve in report.curves), "plots"),
        _section("Stages", _stages_html(report.stages)),
        _section("Settings", settings and f"<table class='plain'><tbody>{settings}</tbody></table>"),
    ]
    subtitle = f"<p class='soft'>{escaped(report.subtitle)}</p>" if report.subtitle else ""
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        # Belt and braces: should anything slip past the escaping, the browser still runs and loads nothing.
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escaped(report.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escaped(report.title)}</h1>{subtitle}{_gate_html(report.gate)}{_summary_html(report)}</header>\n"
        f"{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _section(title: str, body: str, style: str = "") -> str:
    return f"<section><h2>{title}</h2><div class='{style}'>{body}</div></section>\n" if body else ""


def _gate_html(gate: Sequence[Measure]) -> str:
    if not gate:
        return ""
    failing = sum(row.verdict == "fails" for row in gate)
    word = "fails" if failing else "passes"
    text = f"The gate is passed: {len(gate)} of {len(gate)} threshold{'s' * (len(gate) > 1)} held."
    if failing:
        text = f"The gate is not passed: {failing} of {len(gate)} threshold{'s' * (len(gate) > 1)} failed."
    return f"<p class='gate {word}'>{SYMBOLS[word]} {text}</p>"


def _summary_html(report: Report) -> str:
    counts = Counter([f.verdict for f in report.figures] + [m.verdict for m in report.measures if m.verdict])
    total = sum(counts.values())
    if not total:
        return ""
    parts = [_badge(word, f"<strong>{counts[word]}</strong> ") for word in SYMBOLS if counts[word]]
    return (
        f"<p class='lead'>Of {total} measure{'s' * (total > 1)}: {', '.join(parts)}.</p>"
        f"{_named_html(report.figures, 'better')}{_named_html(report.figures, 'worse')}"
    )


def _named_html(figures: Sequence[Figure], verdict: str) -> str:
    """What got better, or worse, by name."""
    named = []
    for figure in (f for f in figures if f.verdict == verdict):
        (before, _), (after, _), _ = numbers_of(figure)
        named.append(f"{escaped(figure.label)} ({minus(before)} → {minus(after)})")
    return f"<p class='named'>{_badge(verdict)}: {', '.join(named)}</p>" if named else ""


def _results_html(figures: Sequence[Figure]) -> str:
    if not figures:
        return ""
    rows = []
    for group, members in by_group(figures).items():
        rows += [f"<tr class='group'><th scope='rowgroup' colspan='5'>{escaped(group)}</th></tr>"] if group else []
        rows += [_figure_html(f, f.label, _about(f)) for f in members]
    return _table_html(rows, figures)


def _table_html(rows: Sequence[str], figures: Sequence[Figure], style: str = "") -> str:
    columns = ["Measure", "Before", "After", f"Change <small>{level_of(figures)}</small>", "Verdict"]
    head = "".join(f"<th scope='col'>{name}</th>" for name in columns)
    return f"<table class='results{style}'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _figure_html(figure: Figure, label: str, about: str) -> str:
    cells = [
        f"<td data-label='{name}'><b>{minus(value)}</b> <small>{minus(interval)}</small></td>"
        for name, (value, interval) in zip(["Before", "After", "Change"], numbers_of(figure), strict=True)
    ]
    return (
        f"<tr><th scope='row'>{escaped(label)}<small>{about}</small></th>"
        f"{''.join(cells)}<td data-label='Verdict'>{_badge(figure.verdict)}</td></tr>"
    )


def _about(figure: Figure) -> str:
    wanted = f"{figure.better} is better" if figure.better else "neither way is better"
    texts = [figure.note.rstrip("."), f"{wanted[0].upper()}{wanted[1:]}"]
    return f"{escaped('. '.join(filter(None, texts)))}. n&nbsp;=&nbsp;{figure.difference.n:,}{escaped(power_text(figure))}"


def _breakdown_html(figures: Sequence[Figure]) -> str:
    """A table for each figure, closed, with a row for each category; the categories that got worse first."""
    parts = []
    for name in dict.fromkeys(figure.name for figure in figures):
        members = sorted((f for f in figures if f.name == name), key=lambda f: _ORDER.index(f.verdict))
        rows = [_figure_html(f, f.category, f"n&nbsp;=&nbsp;{f.difference.n:,}") for f in members]
        counts = Counter(f.verdict for f in members)
        said = ", ".join(f"{counts[word]} {word}" for word in _ORDER if counts[word])
        parts.append(
            f"<details><summary>{escaped(name.partition('.')[0])}: {escaped(members[0].label)} "
            f"<span class='count'>{said}</span></summary>{_table_html(rows, members, ' small')}</details>"
        )
    return "".join(parts)


_ORDER = ("worse", "better", "higher", "lower", "no clear change")


def _measures_html(measures: Sequence[Measure]) -> str:
    rows, asked = [], any(measure.wanted for measure in measures)
    for group, members in by_group(measures).items():
        rows += (
            [f"<tr class='group'><th scope='rowgroup' colspan='{4 if asked else 2}'>{escaped(group)}</th></tr>"]
            if group
            else []
        )
        rows += [_measure_html(measure, asked) for measure in members]
    columns = ["Measure", "Value", "Wanted", "Verdict"] if asked else ["Measure", "Value"]
    head = "".join(f"<th scope='col'>{name}</th>" for name in columns)
    table = f"<table class='results'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return table if rows else ""


def _measure_html(measure: Measure, asked: bool) -> str:
    value, interval = measure_numbers(measure)
    about = [escaped(measure.note.rstrip("."))] if measure.note else []
    about += [f"n&nbsp;=&nbsp;{measure.estimate.n:,}"] if measure.estimate is not None else []
    verdict = _badge(measure.verdict) if measure.verdict else ""
    return (
        f"<tr><th scope='row'>{escaped(measure.label)}<small>{'. '.join(about)}</small></th>"
        f"<td data-label='Value'><b>{minus(value)}</b> <small>{minus(interval)}</small></td>"
        + (
            f"<td data-label='Wanted'>{escaped(measure.wanted)}</td><td data-label='Verdict'>{verdict}</td>"
            if asked
            else ""
        )
        + "</tr>"
    )


def _matrix_html(matrix: Matrix) -> str:
    head = "".join(f"<th scope='col'>{escaped(name)}</th>" for name in matrix.columns)
    rows = []
    for name, cells in zip(matrix.rows, matrix.cells, strict=True):
        shown = [("–", "", 0) if cell is None else (*number_of(cell, matrix.unit), cell.n) for cell in cells]
        texts = [
            f"<td data-label='{escaped(column)}'><b>{minus(value)}</b> <small>{minus(interval)}"
            f"{f' n&nbsp;=&nbsp;{n:,}' if n else ''}</small></td>"
            for column, (value, interval, n) in zip(matrix.columns, shown, strict=True)
        ]
        rows.append(f"<tr><th scope='row'>{escaped(name)}</th>{''.join(texts)}</tr>")
    return (
        f"<h3>{escaped(matrix.title)}</h3><div class='wide'><table class='results'><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _title_of(examples: Sequence[Example]) -> str:
    return "Answers before and after" if any(e.before is not None for e in examples) else "Answers"


def _badge(verdict: str, before: str = "") -> str:
    return f"<span class='badge {verdict.split()[0]}'>{before}{SYMBOLS[verdict]} {verdict}</span>"


def _list_html(texts: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escaped(text)}</li>' for text in texts)}</ul>" if texts else ""


def _stages_html(stages: Sequence[Stage]) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escaped(s.name)}</th><td class='time'>{duration_text(s.seconds)}</td>"
        f"<td>{escaped(s.summary)}</td></tr>"
        for s in stages
    )
    return rows and f"<table class='plain'><tbody>{rows}</tbody></table>"
