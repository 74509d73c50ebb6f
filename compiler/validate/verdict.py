"""What a validation found out, in words that every command can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Plain: TypeAlias = "str | bool | int | list[str]"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an import was compared with its file.

    ``why``: the reason where it was not.  ``comparisons`` by kind; ``seconds`` of processor time.
    """

    validated: bool = False
    why: str = ""
    smooth: int = 0
    hard: int = 0
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()
    other_gradients: str = ""
    """Why the import may infer and not train, although its results are those of the file."""

    @property
    def words(self) -> str:
        """One line for people."""
        if not self.validated:
            return f"not validated: {self.why}"
        if self.other_gradients:
            return "validated for inference only: gradients are not those of the file"
        made = [f"{self.smooth} of values and gradients"] if self.smooth else []
        made += [f"{self.hard} of plain values"] if self.hard else []
        return f"validated: the import computes what the file computes ({', '.join(made)})"

    def as_json(self) -> dict[str, Plain]:
        """Return plain data that does not change from run to run."""
        if not self.validated:
            return {"validated": False, "why": self.why}
        made: dict[str, Plain] = {"validated": True, "smooth": self.smooth, "hard": self.hard}
        if self.other_gradients:
            made["other_gradients"] = self.other_gradients
        return {**made, "remarks": list(self.remarks)} if self.remarks else made


def from_json(facts: Mapping[str, Any]) -> Verdict:
    """Return the verdict that ``as_json`` wrote; KeyError, TypeError where it is none."""
    if facts["validated"] is not True:
        return Verdict(why=str(facts["why"]))
    remarks = tuple(str(r) for r in facts.get("remarks", ()))
    made = int(facts["smooth"]), int(facts["hard"])
    other = str(facts.get("other_gradients", ""))
    return Verdict(True, "", *made, remarks=remarks, other_gradients=other)


SWITCHED_OFF = Verdict(why="--no-validate")
