"""YAML, read strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, of which YAML would keep the last and drop the first unsaid."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no UTF-8 or no YAML, or gives a key twice; the file and the line are named.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"No such file: {path}..")
    try:
        text = Path(path).read_text(encoding="utf-8")
        return yaml.load(text, Loader=_StrictLoader)  # a SafeLoader: plain data, no Python objects
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is no valid YAML: {error}") from error
