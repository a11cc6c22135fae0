"""Tables to read, and the gate that keeps ratios from getting worse."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .contest import Quartiles

FRONT = ("projection", "sort", "tile lists")  # what is done before a pixel is touched


@dataclass(frozen=True)
class Ratio:
    """A number that says how good the renderer is on any machine.

    Attributes:
        value: median over the rounds, with the quartiles of the rounds.
        is_better_high: whether more is better.
        needs_quiet: whether it is about several threads against the clock, and means nothing on a busy machine.
    """

    name: str
    value: Quartiles
    is_better_high: bool
    needs_quiet: bool = False

    def is_worse_than(self, baseline: float, tolerance: float) -> bool:
        """By more than the share `tolerance` of the baseline, at the better quartile too: other work is no fault."""
        if self.is_better_high:
            return self.value.high < baseline * (1 - tolerance)
        return self.value.low > baseline * (1 + tolerance)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A markdown table with aligned columns."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def write(path: Path, machine: dict, ratios: list[Ratio], details: dict) -> None:
    """Everything measured, as JSON; `ratios` is the part that `gate` reads."""
    content = {
        "machine": machine,
        "ratios": {r.name: asdict(r.value) for r in ratios},
        "details": details,
    }
    path.write_text(json.dumps(content, indent=1, default=asdict) + "\n")


def gate(ratios: list[Ratio], baseline: Path, tolerance: float) -> list[str]:
    """What has become worse than in the baseline; ratios that only one of the two has are left out."""
    old = {name: value["median"] for name, value in json.loads(baseline.read_text())["ratios"].items()}
    return [
        f"{r.name}: {r.value.text(digits=2)}, the baseline has {old[r.name]:.2f}"
        for r in ratios
        if r.name in old and r.is_worse_than(old[r.name], tolerance)
    ]
