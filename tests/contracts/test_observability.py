"""The monitoring of the cluster: tested alert rules, and an up-to-date dashboard."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.observability import dashboard
from services.command.relay.metrics import RelayMetrics
from services.command.store.metrics import StoreMetrics
from services.projection.metrics import ProjectionMetrics
from shared.telemetry import RequestMetrics, new_registry
from tests.watching import alert_figures, panel_queries, recorded

ROOT: Final = Path(__file__).parents[2]
WATCHING: Final = ROOT / "deploy" / "observability"
RULES: Final = WATCHING / "prometheus"
METRIC: Final = re.compile(r"\b(?:orders:[a-z0-9_:]+|(?:up|[a-z]+_[a-z_]+)(?=[{\[) ]|$))")
LANGUAGE: Final = {"histogram_quantile", "label_replace"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The services of docker-compose.yml."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def promtool(image: str, *arguments: str) -> str:
    """The output of promtool, installed or from the image, for the files in RULES; skips without either."""
    command = ["promtool"]
    if shutil.which("promtool") is None:
        if shutil.which("docker") is None or not _is_here(image):
            pytest.skip(f"neither promtool nor the image {image} is available")
        mounted = f"type=bind,source={RULES},target=/rules,readonly"
        command = ["docker", "run", "--rm", "--network=none", "--mount", mounted, "--workdir=/rules"]
        command += ["--entrypoint=promtool", image]
    done = subprocess.run(
        [*command, *arguments],
        cwd=RULES,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _is_here(image: str) -> bool:
    asked = subprocess.run(
        ["docker", "image", "inspect", image], capture_output=True, timeout=30, check=False
    )
    return asked.returncode == 0


def test_prometheus_accepts_its_configuration_and_rules(compose: dict[str, Any]) -> None:
    assert "SUCCESS" in promtool(compose["prometheus"]["image"], "check", "config", "prometheus.yml")


def test_alerts_fire_only_when_they_should(compose: dict[str, Any]) -> None:
    assert "SUCCESS" in promtool(compose["prometheus"]["image"], "test", "rules", "rules.test.yml")


def test_every_alert_is_tested_both_silent_and_firing() -> None:
    alerts = {
        rule["alert"]
        for group in yaml.safe_load((RULES / "rules.yml").read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    silent: set[str] = set()
    loud: set[str] = set()
    for case in yaml.safe_load((RULES / "rules.test.yml").read_text())["tests"]:
        for tried in case.get("alert_rule_test", []):
            (loud if tried.get("exp_alerts") else silent).add(tried["alertname"])
    assert silent == loud == alerts


def test_the_committed_dashboard_is_up_to_date() -> None:
    assert dashboard.PATH.read_text() == dashboard.built(), (
        "run `python -m deploy.observability.dashboard` and commit what it writes"
    )


def test_grafanas_data_sources_and_dashboard_folder_exist(compose: dict[str, Any]) -> None:
    folder = WATCHING / "grafana"
    sources = yaml.safe_load((folder / "datasources" / "datasources.yml").read_text())["datasources"]
    assert {each["url"].split("/")[2].partition(":")[0] for each in sources} <= compose.keys()
    panels = [each for each in json.loads(dashboard.PATH.read_text())["panels"] if each["type"] != "row"]
    assert {each["datasource"]["uid"] for each in panels} <= {each["uid"] for each in sources}
    (provider,) = yaml.safe_load((folder / "dashboards" / "provider.yml").read_text())["providers"]
    inside = provider["options"]["path"]
    mounted = next(each for each in compose["grafana"]["volumes"] if each.startswith("./deploy"))
    outside, target, _ = mounted.split(":")
    assert inside.startswith(target)
    assert (ROOT / outside / inside.removeprefix(target).lstrip("/")).resolve() == dashboard.PATH.parent


def _exported() -> set[str]:
    """The names of all series that our processes export."""
    registry = new_registry()
    for metrics in (StoreMetrics, RelayMetrics, ProjectionMetrics, RequestMetrics):
        metrics(registry)
    return {
        family.name + suffix
        for family in registry.collect()
        for suffix in ("", "_total", "_bucket", "_sum", "_count")
    }


def _named(query: str) -> set[str]:
    return set(METRIC.findall(re.sub(r'"[^"]*"|\b(by|on) \([^)]*\)', "", query))) - LANGUAGE


def test_queries_use_only_exported_metrics() -> None:
    known = _exported() | recorded().keys() | {"up"}
    for query in [*panel_queries(), *alert_figures(), *recorded().values()]:
        assert _named(query), query
        assert _named(query) <= known, query


def test_monitoring_runs_only_with_its_profile(compose: dict[str, Any]) -> None:
    watching = {name for name, service in compose.items() if service.get("profiles") == ["observability"]}
    assert watching == {"prometheus", "jaeger", "grafana"}
    for service in compose.values():
        assert not watching & set(service.get("depends_on", []))
    for name in watching:
        _, _, tag = compose[name]["image"].rpartition(":")
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag), f"{name}: {tag}"


def test_prometheus_shares_a_network_with_each_process_it_scrapes(compose: dict[str, Any]) -> None:
    asked = [
        name
        for job in yaml.safe_load((RULES / "prometheus.yml").read_text())["scrape_configs"]
        for found in job["dns_sd_configs"]
        for name in found["names"]
    ]
    assert sorted(asked) == ["command", "projection", "query", "relay"]
    for name in asked:
        assert set(compose["prometheus"]["networks"]) & set(compose[name]["networks"])
