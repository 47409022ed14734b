"""The Kubernetes files: built by kubectl, strictly valid, and consistent with the code and compose."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import httpx
import jsonschema
import pytest
import yaml
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from services.command.settings import ApiSettings, RelaySettings, StoreSettings, TopicsSettings
from services.projection.metrics import ProjectionMetrics
from services.projection.settings import ProjectionSettings
from services.query.settings import QuerySettings
from shared.telemetry import Operations, Readiness
from shared.telemetry.operations import nothing_here
from shared.topics import DEFAULT_PARTITIONS
from tests.contracts.kubernetes import (
    FILES,
    ROOT,
    Built,
    Manifest,
    Process,
    build,
    keda_schema,
    selects,
)

VERSION: Final = "1.35"
SETTINGS: Final[dict[str, type[BaseSettings]]] = {
    "command": ApiSettings,
    "relay": RelaySettings,
    "migrate": StoreSettings,
    "topics": TopicsSettings,
    "projection": ProjectionSettings,
    "query": QuerySettings,
}
SECRETS: Final = {
    "POSTGRES_URL": "postgresql://orders@postgres/orders",
    "MONGODB_URL": "mongodb://orders@mongodb/",
    "JWT_SECRET": "a secret for this test that is long enough",
    "PERSONAL_DATA_TOKEN": "a token",
    "KAFKA_SASL_USERNAME": "somebody",
    "KAFKA_SASL_PASSWORD": "a password",
}
PORTS: Final = {
    "POSTGRES_URL": {5432},
    "MONGODB_URL": {27017},
    "KAFKA_BOOTSTRAP_SERVERS": {9092, 9093},
    "PERSONAL_DATA_KEYS_URL": {8000},
    "JWKS_URL": {443},
    "OTEL_EXPORTER_OTLP_ENDPOINT": {4318},
}
"""The ports that each address variable refers to."""
OPENTELEMETRY: Final = {"OTEL_EXPORTER_OTLP_ENDPOINT"}
"""What OpenTelemetry's own exporter reads."""
IMAGE: Final = {"HOST": "0.0.0.0", "PORT": "8000", "LOG_FORMAT": "json"}
"""What the image itself sets."""


@pytest.fixture(scope="module", params=["base", "overlays/production"])
def built(request: pytest.FixtureRequest) -> Built:
    """The output of each kustomization."""
    return build(request.param)


@pytest.fixture(scope="module")
def production() -> Built:
    """The output of the production overlay."""
    return build("overlays/production")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The services of docker-compose.yml."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def complaints(manifests: list[Manifest], folder: Path) -> list[str]:
    """The errors and warnings of kubernetes-validate."""
    path = folder / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(manifests))
    done = subprocess.run(
        [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", VERSION, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not done.stderr, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(manifests), done.stdout
    return [line for line in lines if not line.startswith("INFO ")]


@pytest.fixture(scope="module")
def keda() -> jsonschema.Draft202012Validator:
    """A validator with KEDA's own schema that rejects unknown fields."""
    schema = _closed(keda_schema())
    return jsonschema.Draft202012Validator(schema)


def _closed(schema: Any) -> Any:
    """The schema with additional properties forbidden."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(each) for name, each in schema.items()}
    if isinstance(schema.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def test_every_manifest_is_strictly_valid(
    built: Built, keda: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    assert complaints([each for each in built.manifests if each["kind"] != "ScaledObject"], tmp_path) == []
    for scaled in built.of_kind("ScaledObject"):
        assert [error.message for error in keda.iter_errors(scaled)] == []


def test_invalid_manifests_are_found(
    production: Built, keda: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    job = next(production.of_kind("Job"))
    assert complaints([{**job, "spec": {**job["spec"], "backofLimit": 1}}], tmp_path)
    assert complaints([{**job, "apiVersion": "batch/v3"}], tmp_path)
    scaled = next(production.of_kind("ScaledObject"))
    assert not keda.is_valid({**scaled, "spec": {**scaled["spec"], "minReplicas": 1}})
    assert not keda.is_valid({**scaled, "spec": {**scaled["spec"], "maxReplicaCount": "twelve"}})


def test_every_process_and_job_is_deployed(built: Built) -> None:
    assert built.processes().keys() == SETTINGS.keys()


def test_the_environment_of_each_process_matches_its_settings(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, process in built.processes().items():
        known = {field.upper() for field in SETTINGS[name].model_fields}
        environment = process.environment(SECRETS)
        assert environment.keys() <= known | OPENTELEMETRY, f"{name} has variables that it does not read"
        with monkeypatch.context() as patch:
            for variable in known:
                patch.delenv(variable, raising=False)
            for variable, value in (IMAGE | environment).items():
                patch.setenv(variable, value)
            SETTINGS[name]()


def _secret_variables(settings: type[BaseSettings]) -> set[str]:
    return {
        name.upper()
        for name, field in settings.model_fields.items()
        if SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))
    }


def test_secrets_are_only_referenced(built: Built) -> None:
    assert list(built.of_kind("Secret")) == []
    secret = set().union(*map(_secret_variables, SETTINGS.values()))
    assert secret >= {"POSTGRES_URL", "MONGODB_URL", "JWT_SECRET", "PERSONAL_DATA_TOKEN"}
    for config_map in built.of_kind("ConfigMap"):
        assert not secret & config_map["data"].keys()
    for process in built.processes().values():
        names = {each["name"] for each in process.container["env"]}
        assert names & secret <= process.secrets, f"{process.name} has a secret in plain text"
        assert "envFrom" not in process.container, "a process must list its variables by name"


def test_a_process_has_the_same_secrets_as_under_compose(compose: dict[str, Any]) -> None:
    for name, process in build("base").processes().items():
        given = _secret_variables(SETTINGS[name]) & compose[name]["environment"].keys()
        assert process.secrets == given


def test_every_secret_is_documented_for_operators(built: Built) -> None:
    rows = [
        line.split("|") for line in (ROOT / "docs" / "scaling.md").read_text().splitlines() if "|" in line
    ]
    for process in built.processes().values():
        for each in process.container["env"]:
            reference = each.get("valueFrom", {}).get("secretKeyRef")
            if reference is not None:
                (row,) = [row for row in rows if f"`{reference['name']}`" in row[1]]
                assert f"`{reference['key']}`" in row[2]
                assert process.name in row[3]


def test_images_and_arguments_match_compose(built: Built, compose: dict[str, Any]) -> None:
    targets = {
        line.split()[-1]
        for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
        if line.startswith("FROM base AS ")
    }
    for name, process in built.processes().items():
        image = process.container["image"].partition(":")[0].rpartition("/")[2]
        assert image == compose[name]["image"]
        assert image.removeprefix("orders-") in targets
        assert process.container.get("args", []) == compose[name].get("command", [])


def test_production_pins_a_version_of_each_image(production: Built) -> None:
    for process in production.processes().values():
        _, _, tag = process.container["image"].partition(":")
        assert tag not in ("", "latest")


async def test_probes_use_endpoints_that_the_processes_serve(built: Built) -> None:
    app = Operations(nothing_here, Readiness({}), CollectorRegistry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://process") as client:
        for deployment in built.of_kind("Deployment"):
            process = Process(deployment, {})
            ports = {each["name"]: each["containerPort"] for each in process.container["ports"]}
            annotations = deployment["spec"]["template"]["metadata"]["annotations"]
            asked = [
                process.container[f"{probe}Probe"]["httpGet"]
                for probe in ("startup", "liveness", "readiness")
            ]
            assert {ports[each["port"]] for each in asked} == {int(IMAGE["PORT"])}
            assert annotations["prometheus.io/port"] == IMAGE["PORT"]
            for path in [*(each["path"] for each in asked), annotations["prometheus.io/path"]]:
                assert (await client.get(path)).status_code == 200, path
            # an unavailable dependency is no reason to restart a process
            assert process.container["livenessProbe"]["httpGet"]["path"] == "/health/live"
            assert process.container["readinessProbe"]["httpGet"]["path"] == "/health/ready"


def test_services_budgets_and_autoscalers_select_their_pods(production: Built) -> None:
    processes = production.processes()
    for service in production.of_kind("Service"):
        process = processes[service["metadata"]["name"]]
        assert service["spec"]["selector"].items() <= process.labels.items()
        assert [each["targetPort"] for each in service["spec"]["ports"]] == ["http"]
    budgets = {each["metadata"]["name"]: each["spec"] for each in production.of_kind("PodDisruptionBudget")}
    deployed = {each["metadata"]["name"] for each in production.of_kind("Deployment")}
    assert budgets.keys() == deployed
    assert all(selects(spec["selector"], processes[name].labels) for name, spec in budgets.items())
    scaled = {
        each["spec"]["scaleTargetRef"]["name"]: each["metadata"]["name"]
        for each in production.of_kind("HorizontalPodAutoscaler", "ScaledObject")
    }
    assert scaled == {name: name for name in ("command", "projection", "query")}
    # the manifests do not set the replicas that an autoscaler sets
    counted = {name for name in deployed if "replicas" in processes[name].manifest["spec"]}
    assert counted == deployed - scaled.keys()


def test_the_projection_scales_on_its_lag_metric_up_to_one_replica_per_partition(
    production: Built,
) -> None:
    (scaled,) = production.of_kind("ScaledObject")
    assert scaled["spec"]["maxReplicaCount"] == DEFAULT_PARTITIONS
    (trigger,) = scaled["spec"]["triggers"]
    registry = CollectorRegistry()
    ProjectionMetrics(registry)
    assert trigger["type"] == "prometheus"
    metric = trigger["metadata"]["query"].partition("{")[0].rpartition("(")[2]
    assert metric in {each.name for each in registry.collect()}


def test_a_pod_can_reach_only_the_servers_in_its_environment(built: Built) -> None:
    for process in built.processes().values():
        needed = [PORTS[name] for name in process.environment(SECRETS) if name in PORTS]
        allowed = {
            port["port"]
            for policy in built.of_kind("NetworkPolicy")
            if selects(policy["spec"]["podSelector"], process.labels)
            for rule in policy["spec"].get("egress", [])
            for port in rule["ports"]
        } - {53}
        assert len(allowed) == len(needed), f"{process.name}: {allowed}"
        assert all(len(allowed & ports) == 1 for ports in needed), f"{process.name}: {allowed}"


def test_no_traffic_to_or_from_pods_is_allowed_by_default(built: Built) -> None:
    policies = list(built.of_kind("NetworkPolicy"))
    for process in built.processes().values():
        mine = [each["spec"] for each in policies if selects(each["spec"]["podSelector"], process.labels)]
        assert any(not {"ingress", "egress"} & spec.keys() and len(spec["policyTypes"]) == 2 for spec in mine)
        assert all(rule["from"] for spec in mine for rule in spec.get("ingress", []))
    for policy in policies:
        selector = policy["spec"]["podSelector"]
        assert any(selects(selector, process.labels) for process in built.processes().values())


def test_nothing_runs_as_root_or_writes_to_its_image(built: Built) -> None:
    for process in built.processes().values():
        pod, container = process.pod, process.container["securityContext"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert container["readOnlyRootFilesystem"]
        assert container["allowPrivilegeEscalation"] is False
        assert container["capabilities"] == {"drop": ["ALL"]}
        assert process.container["resources"]["limits"]["memory"]
        assert process.container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_a_process_has_time_to_stop_gracefully(built: Built) -> None:
    from shared.process.serving import _GRACE_SECONDS

    for process in built.processes().values():
        before = process.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert process.pod["terminationGracePeriodSeconds"] >= before + _GRACE_SECONDS + 5


def test_every_file_is_listed_in_its_kustomization() -> None:
    for folder in (FILES / "base", FILES / "overlays" / "production"):
        text = (folder / "kustomization.yaml").read_text()
        assert [path.name for path in folder.iterdir() if path.name not in text] == ["kustomization.yaml"]
