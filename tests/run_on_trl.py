"""Runs the suite on another release of TRL than the installed one: python tests/run_on_trl.py 1.15.0 [arguments of pytest]

That release is put into a folder of its own, in front of the installed one; everything else is today's. TRL 1.15 projects through
Triton kernels, which CPU builds of torch come without, so that none of its trainers runs there: on such a machine it gets the
kernels of the installed TRL, which have the same interface and a form in torch operations. Where Triton is, it keeps its own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from transformers.utils import is_triton_available


def put_release(version: str, folder: Path) -> None:
    """TRL `version` in `folder`, with kernels that run here."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), f"trl=={version}"]
    subprocess.run(pip, check=True)
    if is_triton_available():
        return
    import trl

    kernels = folder / "trl" / "kernels"
    shutil.rmtree(kernels)
    shutil.copytree(Path(trl.__file__).parent / "kernels", kernels)
    with (kernels / "__init__.py").open("a", encoding="utf-8") as file:
        file.write("\nselective_log_softmax_and_entropy = None  # imported by 1.15 together with the other\n")


def main() -> int:
    version, *arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / f"trl-{version}"
        put_release(version, folder)
        path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
        env = {**os.environ, "PYTHONPATH": path}
        found = [sys.executable, "-c", "import trl; print(trl.__version__, trl.__file__)"]
        subprocess.run(found, env=env, check=True)
        return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=env).returncode


if __name__ == "__main__":
    sys.exit(main())
