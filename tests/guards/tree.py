"""The files of this repository as git sees them: tracked, or new and not ignored."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def git(*arguments: str, root: Path = ROOT) -> str:
    """Run git in ``root`` and return what it prints."""
    return subprocess.run(
        ["git", *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout


def files(*pathspecs: str, root: Path = ROOT) -> list[str]:
    """Return the files that match git's pathspecs, relative to ``root``, sorted."""
    options = ("-z", "--cached", "--others", "--exclude-standard")
    listing = git("ls-files", *options, "--", *pathspecs, root=root)
    return sorted(f for f in set(listing.split("\0")) if f and (root / f).is_file())
