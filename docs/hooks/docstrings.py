"""A griffe extension for docstrings in TRL's style, which no parser of griffe's reads.

Google's parser comes nearest, but takes a whole specification (`` `int`, *optional*, defaults to `8` ``) for an annotation, and
the lines between parameters (`> Parameters of PPO`) and comma-separated names for mistakes. So sections are rewritten as
definition lists, and [`Name`] and [`~path.Name`] become cross references, pages links, before mkdocstrings takes the text for plain Markdown.
"""

from __future__ import annotations

import re
from inspect import cleandoc
from typing import Any

import griffe

_SECTION = re.compile(r"(Args|Parameters|Attributes|Returns|Yields|Raises|Example):")
_TITLES = {"Args": "Parameters"}
_ITEM = re.compile(r"(?P<name>[*\w][\w*., ]*?)(?: \((?P<spec>.+)\))?\s?:(?: (?P<text>.*))?")
_REFERENCE = re.compile(r"\[`(?P<full>~?)(?P<path>[A-Za-z_][\w.]*)`\](?![\[(])")
_PAGE = re.compile(r"\bdocs/(\w+)\.md\b")
_OUTSIDE = ("trl.", "transformers.", "peft.", "torch.", "datasets.")

_log = griffe.get_logger("docstrings")


class TRLDocstrings(griffe.Extension):
    """Rewrites every docstring of a package once it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        self._rewrite(pkg)

    def _rewrite(self, obj: Any) -> None:
        if obj.docstring is not None:
            text = to_markdown(cleandoc(obj.docstring.value))
            text = _REFERENCE.sub(lambda found: _link(obj, found), text)
            obj.docstring.value = _PAGE.sub(r"[docs/\1.md](../\1.md)", text)
        for member in list(obj.members.values()):
            if not member.is_alias:
                self._rewrite(member)


def to_markdown(text: str) -> str:
    """A docstring with its sections as Markdown: definition lists of parameters and errors, titles, doctests as sessions."""
    lines: list[str] = []
    section = None
    for line in text.replace("```python\n>>>", "```pycon\n>>>").splitlines():
        title = _SECTION.fullmatch(line)
        if title:
            section = title[1]
            lines += ["", _TITLES.get(section, section), "{ .doc-part }", ""]
        elif line.startswith(" ") and section is not None:
            lines += _in_section(section, line[4:])
        else:
            section = section if not line else None
            lines.append(line)
    return "\n".join(lines)


def _in_section(section: str, line: str) -> list[str]:
    """A line of a section, without the section's indentation."""
    if section in ("Returns", "Yields", "Example"):
        return [line]
    if line.startswith(">"):
        return ["", line[1:].strip(), "{ .doc-group }", ""]
    item = None if line.startswith(" ") else _ITEM.fullmatch(line)
    if item is None:
        return [line if line.startswith(" ") or not line else f"    {line}"]
    names = ", ".join(f"`{name.strip()}`" if name.strip() != "..." else "..." for name in item["name"].split(","))
    spec = f" ({item['spec']})" if item["spec"] else ""
    return ["", names + spec, "", ":   " + (item["text"] or "")]


def _link(obj: Any, found: re.Match[str]) -> str:
    """A cross reference to what a name means where it is written; plain code for what other packages have."""
    path = found["path"]
    shown = path.rpartition(".")[2] if found["full"] else path
    if path.startswith(_OUTSIDE):
        return f"`{shown}`"
    target = _resolve(obj, path)
    if target is None:
        _log.warning(f"{obj.path}: [`{path}`] names nothing that there is")
        return f"`{shown}`"
    return f'<autoref identifier="{target}" optional><code>{shown}</code></autoref>'


def _resolve(obj: Any, path: str) -> str | None:
    """The full path of a name, as the module sees it, as the package exports it, or where there is one of that name alone."""
    root = obj.package
    first, _, rest = path.partition(".")
    tries = [path] if first == root.name else []
    try:
        tries.append(".".join(filter(None, [obj.resolve(first), rest])))
    except griffe.NameResolutionError:
        scopes = [obj.parent, obj.module, root] if obj.parent is not None else [root]
        tries += [f"{scope.path}.{path}" for scope in scopes]
    for one in tries:
        try:
            return root.modules_collection[one].canonical_path
        except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError):
            continue
    named = [one for one in _everything(root) if one.name == first]
    return ".".join(filter(None, [named[0].path, rest])) if len(named) == 1 else None


def _everything(obj: Any) -> Any:
    for member in obj.members.values():
        if not member.is_alias:
            yield member
            yield from _everything(member)
