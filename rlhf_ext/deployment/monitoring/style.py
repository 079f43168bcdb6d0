"""How the status page looks: as reports do, with what only it has."""

from __future__ import annotations

from ...evaluation._report_style import STYLE as REPORT

STYLE = (
    REPORT
    + """
main { max-width: 76rem; } a { color: var(--c0); text-underline-offset: .2em; }
.top { display: flex; flex-wrap: wrap; gap: .6rem 2rem; align-items: baseline; justify-content: space-between; }
.skip { position: absolute; left: 1rem; top: -5rem; background: var(--card); padding: .5rem 1rem; z-index: 2; } .skip:focus { top: .5rem; }
:focus-visible { outline: 2px solid var(--c0); outline-offset: 3px; border-radius: 3px; }
.windows { display: flex; flex-wrap: wrap; gap: .4rem; list-style: none; padding: 0; margin: 0; } .windows li { margin: 0; }
.windows a { display: inline-block; min-width: 2.75rem; padding: .45rem .8rem; border: 1px solid var(--line); border-radius: 99px; text-decoration: none;
  text-align: center; color: var(--ink); background: var(--card); font-size: .9rem; line-height: 1.4; }
.windows a:hover { border-color: var(--soft); } .windows a[aria-current] { background: var(--ink); color: var(--page); border-color: var(--ink); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 1px; margin: 2rem 0 0; padding: 0; background: var(--line);
  border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.tiles div { background: var(--card); padding: 1rem 1.2rem; display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.tiles dd { margin: 0; font-size: 1.55rem; font-weight: 600; letter-spacing: -.015em; font-variant-numeric: tabular-nums; line-height: 1.3; white-space: nowrap; }
.tiles dt { color: var(--soft); font-size: .88rem; }
.gate ul { list-style: none; padding: 0; font-size: 1rem; font-weight: 400; }
.scroll { overflow-x: auto; } .numbers td { text-align: right; } .numbers thead th + th { text-align: right; } .numbers td, .numbers th { padding-right: 1.4rem; }
.results td.words { white-space: normal; text-align: left; } .hint { color: var(--soft); font-size: .9rem; max-width: 46rem; margin: .9rem 0 0; }
.meter { width: 8rem; height: 12px; display: inline-block; vertical-align: -1px; } .meter rect { fill: var(--line); } .meter .full { fill: var(--plain); }
.meter .full.over { fill: var(--bad); }
.small thead th, .small td:last-child { white-space: nowrap; }
.plots + table, .plots + .scroll, .scroll + .plots { margin-top: 2rem; } h2 + .plots { margin-top: 1.4rem; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 3rem; align-items: start; } .two h2 { margin-top: 3.25rem; }
footer { margin-top: 4rem; border-top: 1px solid var(--line); padding-top: 1rem; color: var(--soft); font-size: .88rem; }
@media (max-width: 44rem) { .numbers tr { display: grid; grid-template-columns: 1fr 1fr; gap: .1rem 1rem; } .numbers tr > th { grid-column: 1 / -1; }
  .results td small { display: block; } .plots { gap: 1.6rem; } .meter { width: 6rem; } .small th, .small td { display: table-cell; } .numbers td, .numbers th { text-align: left; } .tiles { grid-template-columns: 1fr 1fr; margin-top: 1.5rem; }
  .tiles div { padding: .8rem 1rem; } .tiles dd { font-size: 1.35rem; } h2, .two h2 { margin-top: 2.5rem; } }
"""
)
