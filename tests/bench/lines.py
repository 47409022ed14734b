"""The results of a benchmark: a figure, its baseline from the same run, and its bar."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

RESULTS: Final = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure. `bar` is the minimum for value / baseline, or the maximum if `at_most`."""

    name: str
    value: float
    baseline: float
    bar: float
    unit: str = "1/s"
    at_most: bool = False

    @property
    def ratio(self) -> float:
        """The value divided by its baseline."""
        return self.value / self.baseline if self.baseline else float("inf")

    @property
    def met(self) -> bool:
        """Whether the bar is reached."""
        return self.ratio <= self.bar if self.at_most else self.ratio >= self.bar

    def __str__(self) -> str:
        wanted = f"{'≤' if self.at_most else '≥'} {self.bar:g}: {'met' if self.met else 'short'}"
        figures = f"{self.value:,.1f} / {self.baseline:,.1f} {self.unit} = {self.ratio:.2f}"
        return f"{self.name}: {figures} ({wanted})"


def machine() -> dict[str, Any]:
    """The machine it was measured on."""
    cpu = "?"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def show(lines: list[Line]) -> None:
    """Print a table, and save the figures as JSON."""
    table = Table(title=f"{machine()['cores']} cores, {machine()['cpu']}, Python {machine()['python']}")
    for column in ("name", "value", "baseline", "ratio", "bar", ""):
        table.add_column(column, justify="left" if column in {"name", ""} else "right", overflow="fold")
    for line in lines:
        bar = f"{'≤' if line.at_most else '≥'} {line.bar:g}"
        table.add_row(
            line.name,
            f"{line.value:,.1f} {line.unit}",
            f"{line.baseline:,.1f} {line.unit}",
            f"{line.ratio:.2f}",
            bar,
            "met" if line.met else "short",
        )
    Console(width=130).print(table)
    RESULTS.mkdir(exist_ok=True)
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    content = {
        "machine": machine(),
        "lines": [{**asdict(line), "ratio": line.ratio, "met": line.met} for line in lines],
    }
    (RESULTS / f"{moment}.json").write_text(json.dumps(content, indent=1) + "\n")
