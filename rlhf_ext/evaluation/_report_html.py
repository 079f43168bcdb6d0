"""A report as one page that has no scripts and loads nothing, and its style.

Text from models and data is escaped everywhere and shown as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ._report_svg import curve_svg, forests_html, plot_svg
from ._report_types import Example, Figure, Measure, Report, Stage
from ._report_words import (
    SYMBOLS,
    cautions_of,
    duration_text,
    escaped,
    level_of,
    measure_numbers,
    minus,
    numbers_of,
    score_text,
    short,
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
        _section("Results", _results_html(report.figures)),
        _section("Measures", _measures_html(report.measures)),
        _section("What to keep in mind", _list_html([*report.notes, *cautions_of(report.figures, report.measures)])),
        _section("The changes, drawn", forests_html(report.figures)),
        _section("The measures, drawn", "".join(plot_svg(plot) for plot in report.plots), "plots"),
        _section("Answers before and after", "".join(_example_html(e, i) for i, e in enumerate(report.examples))),
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
        f"<title>{escaped(report.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escaped(report.title)}</h1>{subtitle}{_summary_html(report)}</header>\n"
        f"{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _section(title: str, body: str, style: str = "") -> str:
    return f"<section><h2>{title}</h2><div class='{style}'>{body}</div></section>\n" if body else ""


def _summary_html(report: Report) -> str:
    counts = Counter([f.verdict for f in report.figures] + [m.verdict for m in report.measures if m.verdict])
    total = sum(counts.values())
    if not total:
        return ""
    parts = [_badge(word, f"<strong>{counts[word]}</strong> ") for word in SYMBOLS if counts[word]]
    return f"<p class='lead'>Of {total} measure{'s' * (total > 1)}: {', '.join(parts)}.</p>"


def _results_html(figures: Sequence[Figure]) -> str:
    if not figures:
        return ""
    rows = []
    for f in figures:
        wanted = f"{f.better} is better" if f.better else "neither way is better"
        about = ". ".join(filter(None, [f.note.rstrip("."), f"{wanted[0].upper()}{wanted[1:]}"]))
        cells = [
            f"<td data-label='{name}'><b>{minus(value)}</b> <small>{minus(interval)}</small></td>"
            for name, (value, interval) in zip(["Before", "After", "Change"], numbers_of(f), strict=True)
        ]
        rows.append(
            f"<tr><th scope='row'>{escaped(f.label)}"
            f"<small>{escaped(about)}. n&nbsp;=&nbsp;{f.difference.n:,}</small></th>"
            f"{''.join(cells)}<td data-label='Verdict'>{_badge(f.verdict)}</td></tr>"
        )
    columns = ["Measure", "Before", "After", f"Change <small>{level_of(figures)}</small>", "Verdict"]
    head = "".join(f"<th scope='col'>{name}</th>" for name in columns)
    return f"<table class='results'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _measures_html(measures: Sequence[Measure]) -> str:
    rows = []
    for m in measures:
        value, interval = measure_numbers(m)
        about = [m.note.rstrip(".")] if m.note else []
        about += [f"n&nbsp;=&nbsp;{m.estimate.n:,}"] if m.estimate is not None else []
        note = ". ".join([escaped(about[0]), *about[1:]]) if m.note else "".join(about)
        rows.append(
            f"<tr><th scope='row'>{escaped(m.label)}<small>{note}</small></th>"
            f"<td data-label='Value'><b>{minus(value)}</b> <small>{minus(interval)}</small></td>"
            f"<td data-label='Wanted'>{escaped(m.wanted)}</td>"
            f"<td data-label='Verdict'>{_badge(m.verdict) if m.verdict else ''}</td></tr>"
        )
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Measure", "Value", "Wanted", "Verdict"))
    table = f"<table class='results'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return table if rows else ""


def _badge(verdict: str, before: str = "") -> str:
    return f"<span class='badge {verdict.split()[0]}'>{before}{SYMBOLS[verdict]} {verdict}</span>"


def _list_html(texts: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escaped(text)}</li>' for text in texts)}</ul>" if texts else ""


def _example_html(example: Example, index: int) -> str:
    start = " ".join(example.prompt.split())
    # Where the summary line already says it all, the prompt is not repeated.
    repeated = start == example.prompt and len(start) <= 90
    prompt = "" if repeated else f"<h3>Prompt</h3><div class='text' dir='auto'>{escaped(example.prompt)}</div>"
    pill = f"<span class='pill'>{escaped(example.category)}</span> " if example.category else ""
    scores = "".join(
        f"<li>{escaped(name)}: {minus(score_text(a))} → <b>{minus(score_text(b))}</b></li>"
        for name, (a, b) in example.scores.items()
    )
    answers = "".join(
        f"<div><h3>{name}</h3><div class='text' dir='auto'>{escaped(text)}</div></div>"
        for name, text in [("Before", example.before), ("After", example.after)]
    )
    return (
        # The first ones are open for the reader in a hurry; the rest are a click away.
        f"<details{' open' if index < 3 else ''}><summary>{pill}{escaped(short(start, 90))}</summary>{prompt}"
        f"<div class='pair'>{answers}</div>{scores and f'<ul class=scores>{scores}</ul>'}</details>"
    )


def _stages_html(stages: Sequence[Stage]) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escaped(s.name)}</th><td class='time'>{duration_text(s.seconds)}</td>"
        f"<td>{escaped(s.summary)}</td></tr>"
        for s in stages
    )
    return rows and f"<table class='plain'><tbody>{rows}</tbody></table>"


_STYLE = """
:root { color-scheme: light dark; --page: #fbfbf9; --card: #ffffff; --ink: #22282e; --soft: #5d6770; --line: #dfe2e0;
  --good: #1d6f54; --bad: #a23c26; --plain: #5d6770; --c0: #2c6596; --c1: #b0672a; --c2: #4d7f48; --c3: #80558c; }
@media (prefers-color-scheme: dark) { :root { --page: #16191c; --card: #1e2226; --ink: #e2e6e8; --soft: #9aa5ad;
  --line: #343b41; --good: #74c7a5; --bad: #e8937c; --plain: #a4afb7; --c0: #7fb2de; --c1: #dfa06b; --c2: #93c18c;
  --c3: #c39bce; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.6 system-ui, -apple-system, "Segoe UI",
  "Helvetica Neue", Arial, sans-serif; -webkit-text-size-adjust: 100%; }
main { max-width: 62rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.25; font-weight: 650; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.15rem; font-weight: 650; margin: 3.25rem 0 1rem; }
h3 { font-size: .8rem; font-weight: 600; color: var(--soft); margin: 1.1rem 0 .35rem; }
.soft, small { color: var(--soft); } .soft { margin: .4rem 0 0; } .lead { font-size: 1.15rem; margin: 1.6rem 0 0; }
ul { padding-left: 1.2rem; margin: 0; } li { margin: .35rem 0; }
h1, .soft, th, td, li, summary, figcaption { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .8rem 1.2rem .8rem 0; border-top: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
th { font-weight: 550; } b { font-weight: 600; } thead th { color: var(--soft); font-size: .85rem; border-top: 0; }
tr > :last-child { padding-right: 0; } small { display: block; font-size: .82rem; font-weight: 400; }
.results td { white-space: nowrap; } .plain th { width: 14rem; } .plain .time { width: 7rem; white-space: nowrap; }
.badge { white-space: nowrap; font-weight: 600; color: var(--plain); }
.badge strong { color: var(--ink); } .badge.better, .badge.passes { color: var(--good); }
.badge.worse, .badge.fails { color: var(--bad); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 2.5rem 3rem; }
figure { margin: 0; max-width: 34rem; } figcaption { font-size: .92rem; font-weight: 550; margin-bottom: .7rem; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 13px; fill: var(--soft); } svg .word { font-weight: 600; }
.axis { stroke: var(--soft); stroke-width: 1; } .grid { stroke: var(--line); stroke-width: 1; }
.bar { stroke-width: 2.5; stroke: var(--plain); }
.dot { stroke-width: 2.5; stroke: var(--plain); fill: var(--plain); } .dot.no { fill: var(--page); }
.bar.better, .dot.better { stroke: var(--good); } .bar.worse, .dot.worse { stroke: var(--bad); }
svg .better { fill: var(--good); } svg .worse { fill: var(--bad); }
.s0, .s1, .s2, .s3 { fill: none; stroke-width: 2; stroke-linejoin: round; }
.s0 { stroke: var(--c0); } .s1 { stroke: var(--c1); stroke-dasharray: 7 4; }
.s2 { stroke: var(--c2); stroke-dasharray: 2 3; } .s3 { stroke: var(--c3); stroke-dasharray: 9 3 2 3; }
.p0 { fill: var(--c0); } .p1 { fill: var(--c1); } .p2 { fill: var(--c2); } .p3 { fill: var(--c3); }
details { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .85rem 1.2rem;
  margin: 0 0 .9rem; }
details[open] { padding-bottom: 1.2rem; } summary { cursor: pointer; }
.pill { display: inline-block; font-size: .78rem; border: 1px solid var(--line); border-radius: 99px;
  padding: 0 .6rem; margin-right: .35rem; color: var(--soft); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2rem; } .pair > div { min-width: 0; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 26rem; overflow-y: auto; font-size: .95rem; }
.scores { list-style: none; padding: 0; margin: 1.1rem 0 0; font-size: .85rem; color: var(--soft); display: flex;
  flex-wrap: wrap; gap: .2rem 1.6rem; font-variant-numeric: tabular-nums; } .scores li { margin: 0; }
.scores b { color: var(--ink); }
@media (max-width: 44rem) { main { padding: 2rem 1.1rem 3rem; } h1 { font-size: 1.55rem; }
  .pair { grid-template-columns: 1fr; } .results thead { display: none; }
  .results tr { display: block; border-top: 1px solid var(--line); padding: .9rem 0; }
  .results th, .results td { display: block; border: 0; padding: .15rem 0; white-space: normal; }
  .results td::before { content: attr(data-label) ": "; color: var(--soft); font-size: .85rem; }
  .results td small { display: inline; } .plain th, .plain td, .plain .time { display: block; width: auto; padding: 0;
  border: 0; } .plain tr { display: block; border-top: 1px solid var(--line); padding: .7rem 0; } }
"""
