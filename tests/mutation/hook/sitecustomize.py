"""Let this process, and those that it starts, import one module from another text.

``MUTANT_FILE`` is the module's file, ``MUTANT_TEXT`` the file to read in its place.  The source
tree stays as it is, so a run that is cut off leaves no fault behind.
"""

import os
from importlib.machinery import SourceFileLoader
from types import CodeType

FILE = os.environ.get("MUTANT_FILE")
_get_code = SourceFileLoader.get_code


def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
    """Compile the other text for that file; byte code that is kept beside it is not used."""
    if os.path.realpath(self.path) != FILE:
        return _get_code(self, fullname)
    with open(os.environ["MUTANT_TEXT"], "rb") as text:
        return self.source_to_code(text.read(), self.path)


if FILE:
    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
