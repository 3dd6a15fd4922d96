"""Environment of TensorFlow Addons, which needs TensorFlow 2.15 and Python 3.11 or 3.10."""

import shutil
import subprocess
from pathlib import Path

PACKAGES = ("tensorflow-cpu==2.15.1", "tensorflow-addons==0.23.0", "numpy<2")
PYTHONS = ("python3.11", "python3.10")


def tfa_python(folder: Path | None) -> str | None:
    """Returns the Python of the environment in a folder, which is made if it does not exist.

    Returns `None`, and prints the reason, without a folder or if it cannot be made.
    """
    if folder is None:
        print("TensorFlow Addons: skipped, no folder for its environment (--tfa FOLDER)")
        return None
    python = folder / "bin" / "python"
    if python.exists():
        return str(python)
    for command in filter(shutil.which, PYTHONS):
        try:
            subprocess.run([command, "-m", "venv", folder], check=True, capture_output=True)
            install = [python, "-m", "pip", "install", "--quiet", *PACKAGES]
            subprocess.run(install, check=True, capture_output=True)
            return str(python)
        except subprocess.CalledProcessError as error:
            shutil.rmtree(folder, ignore_errors=True)
            print(f"{command}: {error.stderr.decode().strip().splitlines()[-1:]}")
    print(f"TensorFlow Addons: skipped, {' and '.join(PYTHONS)} could not install it")
    return None
