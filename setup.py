"""Map the top-level source folders to packages under the ``snncc`` namespace."""

from setuptools import find_packages, setup

FOLDERS = ("isa", "assembler", "isasim", "compiler", "models")

setup(
    packages=[f"snncc.{f}" for f in FOLDERS]
    + [f"snncc.{f}.{sub}" for f in FOLDERS for sub in find_packages(f)],
    package_dir={f"snncc.{f}": f for f in FOLDERS},
)
