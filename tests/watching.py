"""The Prometheus queries of the dashboard and the alerts."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.observability import dashboard

RULES: Final = Path(dashboard.__file__).parent / "prometheus" / "rules.yml"
_ALERT: Final = re.compile(r"(.+) [<>] [\d.]+")


def panel_queries() -> list[str]:
    """The query of every panel in the committed file."""
    panels = json.loads(dashboard.PATH.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def alert_figures() -> list[str]:
    """The left side of every alert's comparison; the comparison itself is empty while all is well."""
    found = []
    for rule in _rules():
        if "alert" in rule:
            compared = _ALERT.fullmatch(rule["expr"])
            assert compared is not None, f"{rule['alert']} does not compare a value with a threshold"
            found.append(compared[1])
    return found


def recorded() -> dict[str, str]:
    """The recording rules: name and query."""
    return {rule["record"]: rule["expr"] for rule in _rules() if "record" in rule}


def _rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]
