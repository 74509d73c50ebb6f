"""Map the top-level source folders to packages of ``snncc``; the links there are not followed."""

from setuptools import find_packages, setup

FOLDERS = ("isa", "assembler", "isasim", "compiler", "models")

setup(
    packages=["snncc"]
    + [f"snncc.{f}" for f in FOLDERS]
    + [f"snncc.{f}.{sub}" for f in FOLDERS for sub in find_packages(f)],
    package_dir={"snncc": "snncc"} | {f"snncc.{f}": f for f in FOLDERS},
)
