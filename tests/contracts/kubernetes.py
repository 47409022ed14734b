"""`deploy/kubernetes` as built by `kubectl`, with helpers to query the manifests."""

import hashlib
import json
import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tarfile import open as open_tar
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
FILES: Final = ROOT / "deploy" / "kubernetes"
_LOCK: Final = ROOT / "deploy" / "locks" / "kubernetes.txt"
_KEPT: Final = ROOT / ".venv" / "kubernetes"

Manifest = dict[str, Any]


def tools() -> Path:
    """The folder with the locked tools, installed once per lock file; skips if they cannot be installed."""
    folder = _KEPT / hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    if folder.exists():
        return folder
    with TemporaryDirectory(dir=_KEPT.parent) as fresh:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        wanted = ["--no-compile", "--require-hashes", "-r", str(_LOCK), "--target", f"{fresh}/tools"]
        done = subprocess.run(pip + wanted, capture_output=True, text=True, timeout=150, check=False)
        if done.returncode:
            assert "THESE PACKAGES DO NOT MATCH" not in done.stderr, done.stderr
            pytest.skip(f"the package index cannot be reached: {done.stderr.strip()[-300:]}")
        (Path(fresh) / "tools" / "kubectl").write_bytes(_kubectl(Path(fresh) / "tools"))
        (Path(fresh) / "tools" / "kubectl").chmod(0o755)
        _KEPT.mkdir(exist_ok=True)
        (Path(fresh) / "tools").rename(folder)
    return folder


def _kubectl(folder: Path) -> bytes:
    """Extract kubectl: the package contains a tarball, which contains a zip file, which contains kubectl."""
    with open_tar(next(folder.glob("aws_cdk/*/_jsii/*.jsii.tgz"))) as bundle:
        layer = bundle.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(BytesIO(layer.read())) as packed:
            return packed.read("kubectl/kubectl")


def keda_schema() -> Manifest:
    """The JSON Schema of a `ScaledObject`, from models generated from KEDA's own definition."""
    program = (
        "import json; from cloudcoil.models.keda.v1alpha1 import ScaledObject;"
        "print(json.dumps(ScaledObject.model_json_schema(by_alias=True)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tools())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    schema: Manifest = json.loads(done.stdout)
    return schema


@dataclass(frozen=True, slots=True)
class Process:
    """A deployment or job: its manifest and its only container."""

    manifest: Manifest
    config_maps: dict[str, dict[str, str]]

    @property
    def name(self) -> str:
        """The name of the deployment or job."""
        name: str = self.manifest["metadata"]["name"]
        return name

    @property
    def pod(self) -> Manifest:
        """The pod's spec."""
        pod: Manifest = self.manifest["spec"]["template"]["spec"]
        return pod

    @property
    def labels(self) -> dict[str, str]:
        """The pod's labels."""
        labels: dict[str, str] = self.manifest["spec"]["template"]["metadata"]["labels"]
        return labels

    @property
    def container(self) -> Manifest:
        """Its only container."""
        (container,) = self.pod["containers"]
        assert isinstance(container, dict)
        return container

    @property
    def secrets(self) -> set[str]:
        """The variables that come from secrets."""
        return {each["name"] for each in self.container["env"] if "secretKeyRef" in each.get("valueFrom", {})}

    def environment(self, secrets: dict[str, str]) -> dict[str, str]:
        """Its variables, with the given values for those from secrets."""
        found = {}
        for each in self.container["env"]:
            source = each.get("valueFrom", {})
            if "configMapKeyRef" in source:
                reference = source["configMapKeyRef"]
                found[each["name"]] = self.config_maps[reference["name"]][reference["key"]]
            else:
                found[each["name"]] = secrets[each["name"]] if source else each["value"]
        return found


@dataclass(frozen=True, slots=True)
class Built:
    """The output of one kustomization."""

    text: str
    manifests: list[Manifest]

    def of_kind(self, *kinds: str) -> Iterator[Manifest]:
        """The manifests of the given kinds."""
        return (manifest for manifest in self.manifests if manifest["kind"] in kinds)

    def processes(self) -> dict[str, Process]:
        """Deployments and jobs by name."""
        config_maps = {each["metadata"]["name"]: each["data"] for each in self.of_kind("ConfigMap")}
        found = (Process(manifest, config_maps) for manifest in self.of_kind("Deployment", "Job"))
        return {process.name: process for process in found}


def build(folder: str) -> Built:
    """The output of `kubectl kustomize` for a folder; fails the test with its error otherwise."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("the package contains kubectl only for Linux on x86-64")
    done = subprocess.run(
        [str(tools() / "kubectl"), "kustomize", str(FILES / folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return Built(done.stdout, list(yaml.safe_load_all(done.stdout)))


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector matches a pod with these labels."""
    matches = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return matches and all(_expression(each, labels) for each in selector.get("matchExpressions", []))


def _expression(each: Manifest, labels: dict[str, str]) -> bool:
    assert each["operator"] == "In", "only In is supported"
    return labels.get(each["key"]) in each["values"]
