"""How a report looks: light, dark and on a phone."""

STYLE = """
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
.results tr.group th { padding-top: 1.8rem; border-top: 0; font-weight: 650; } .results tbody tr.group:first-child th { padding-top: .6rem; }
.results tr.group + tr > * { border-top: 0; padding-top: .3rem; }
.gate { font-size: 1.15rem; font-weight: 600; margin: 1.6rem 0 0; padding: .8rem 1.2rem; border-left: 4px solid var(--plain);
  background: var(--card); } .gate.passes { border-color: var(--good); } .gate.fails { border-color: var(--bad); }
.lead + .named { margin-top: .8rem; } .named { margin: .3rem 0 0; }
.inner { margin: .4rem 0 0; border-color: var(--line); } .inner > summary { font-weight: 550; }
.count { color: var(--soft); font-size: .85rem; font-weight: 400; margin-left: .3rem; }
h3.part { font-size: 1rem; color: var(--ink); margin: 2rem 0 .8rem; } h3.part:first-child { margin-top: 0; }
.wide { overflow-x: auto; } h3 + .wide { margin-bottom: 1.6rem; }
.small td, .small th { padding-top: .45rem; padding-bottom: .45rem; }
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
