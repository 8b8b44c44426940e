"""``skaffold.yaml``, without Skaffold: it keeps to its schema, and whatever it names is there and fits together, in every profile."""

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

if TYPE_CHECKING:
    from tests.gunicorn import LiveApi

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/gantry"
SCHEMA = Path(__file__).parent / "schemas/skaffold-v4beta14.json"
HELM = Path(sys.executable).parent / "helm"

CONFIGS: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "skaffold.yaml").read_text()))
PROFILES: dict[str, tuple[str, ...]] = {
    "none": (),
    "dev": ("dev",),
    "debug": ("dev", "debug"),
    "observability": ("dev", "observability"),
    "prod-like": ("prod-like",),
    "ci": ("ci",),
}
"""Which profiles are used together."""

DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = dict(zip(*[iter(re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)[1:])] * 2, strict=True))
"""What the Dockerfile says of each stage."""


def config(name: str) -> dict[str, Any]:
    (found,) = (config for config in CONFIGS if config["metadata"]["name"] == name)
    return copy.deepcopy(found)


def patched(document: Any, patch: dict[str, Any]) -> None:
    """Apply one operation of RFC 6902; what it is about has to be there."""
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in patch["path"].split("/")[1:]]
    for part in parents:
        document = document[int(part) if isinstance(document, list) else part]
    match patch["op"], document:
        case "add", list():
            assert last == "-"
            document.append(copy.deepcopy(patch["value"]))
        case "add", dict():
            assert last not in document, f"{patch['path']} would be replaced"
            document[last] = copy.deepcopy(patch["value"])
        case "replace", dict():
            assert last in document, patch["path"]
            document[last] = copy.deepcopy(patch["value"])
        case "remove", dict():
            del document[last]
        case _:
            raise AssertionError(f"an operation this test does not know: {patch}")


def with_profiles(names: tuple[str, ...]) -> dict[str, Any]:
    """The configuration of Gantry as these profiles make it."""
    document = config("gantry")
    profiles = {profile["name"]: profile for profile in document.pop("profiles")}
    for name in names:
        for patch in profiles[name]["patches"]:
            patched(document, patch)
    return document


@pytest.fixture(params=PROFILES)
def effective(request: pytest.FixtureRequest) -> dict[str, Any]:
    return with_profiles(PROFILES[request.param])


def release(document: dict[str, Any]) -> dict[str, Any]:
    (only,) = document["deploy"]["helm"]["releases"]
    assert isinstance(only, dict)
    return only


def render(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The chart as the release of a configuration renders it."""
    only = release(document)
    options = [option for file in only["valuesFiles"] for option in ("--values", ROOT / file)]
    values = only.get("setValues", {}) | {"image.repository": "gantry", "image.tag": "built"}
    options += [option for name, value in values.items() for option in ("--set-json", f"{name}={json.dumps(value)}")]
    command = [HELM, "template", only["name"], ROOT / only["chartPath"], "--namespace", only["namespace"], *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return [manifest for manifest in yaml.safe_load_all(result.stdout) if manifest]


def one(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name))
    return found


def api_container(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    containers = one(manifests, "Deployment", "gantry-api")["spec"]["template"]["spec"]["containers"]
    (found,) = (container for container in containers if container["name"] == "api")
    assert isinstance(found, dict)
    return found


def values_of(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The path of each value that a release sets, by files and otherwise."""
    only = release(document)
    for file in only["valuesFiles"]:
        yield from leaves(yaml.safe_load((ROOT / file).read_text()))
    for name in chain(only["setValueTemplates"], only.get("setValues", {})):
        yield tuple(name.split("."))


def leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(values, dict) and values:
        for name, value in values.items():
            yield from leaves(value, (*path, name))
    else:
        yield path


def is_value(path: tuple[str, ...], chart: Any) -> bool:
    """Whether the chart has this value; within an empty object of the chart, anything may stand."""
    for part in path:
        if chart == {}:
            return True
        if not isinstance(chart, dict) or part not in chart:
            return False
        chart = chart[part]
    return True


def test_it_keeps_to_its_schema() -> None:
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    for document in CONFIGS:
        assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)] == []
        assert document["apiVersion"] == "skaffold/v4beta14"


def test_the_schema_is_one_that_refuses() -> None:
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    wrong = config("gantry")
    wrong["build"]["artifacts"][0]["dokcer"] = {}
    assert not validator.is_valid(wrong)


def test_every_profile_keeps_to_the_schema(effective: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(effective)


def test_all_profiles_are_tested() -> None:
    assert {profile["name"] for profile in config("gantry")["profiles"]} == set(chain(*PROFILES.values()))


def test_what_is_required_is_there() -> None:
    names = {document["metadata"]["name"] for document in CONFIGS}
    required = [dependency for document in CONFIGS for dependency in document.get("requires", [])]
    assert required == [{"configs": ["backing"]}]
    assert names == {"backing", "gantry"}


def test_every_path_exists(effective: dict[str, Any]) -> None:
    only = release(effective)
    paths = [only["chartPath"] + "/Chart.yaml", *only["valuesFiles"]]
    paths += [artifact["docker"]["dockerfile"] for artifact in effective["build"]["artifacts"]]
    paths += [case["executionMode"]["kubernetesCluster"]["jobManifestPath"] for case in effective["verify"]]
    paths += [f"{path}/kustomization.yaml" for path in config("backing")["manifests"]["kustomize"]["paths"]]
    hooks = effective["deploy"]["helm"]["hooks"]["before"]
    programs = [hook["host"]["command"][0] for hook in hooks]
    assert [path for path in paths + programs if not (ROOT / path).is_file()] == []
    assert all(os.access(ROOT / program, os.X_OK) for program in programs)


def test_the_namespace_and_the_secrets_are_those_that_the_hook_makes(effective: dict[str, Any]) -> None:
    script = (ROOT / "k8s/secrets.sh").read_text()
    namespace = yaml.safe_load((ROOT / "k8s/namespace.yaml").read_text())["metadata"]["name"]
    assert release(effective)["namespace"] == namespace
    used = re.findall(
        r"secretKeyRef: \{[^}]*name: ([\w-]+)", yaml.safe_dump(render(effective), default_flow_style=None)
    )
    assert set(used) == {"gantry-security", "gantry-database"}
    assert all(f"create secret generic {name} " in script for name in used)


def test_the_backing_services_are_forwarded_by_their_names() -> None:
    backing = config("backing")
    folders = [ROOT / path for path in backing["manifests"]["kustomize"]["paths"]]
    resources = [
        folder / name
        for folder in folders
        for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    ]
    manifests = [manifest for file in resources for manifest in yaml.safe_load_all(file.read_text()) if manifest]
    for forward in backing["portForward"]:
        service = one(manifests, "Service", forward["resourceName"])
        assert forward["port"] in [port["port"] for port in service["spec"]["ports"]]
    namespaces = {yaml.safe_load((folder / "kustomization.yaml").read_text())["namespace"] for folder in folders}
    assert namespaces == {forward["namespace"] for forward in backing["portForward"]}


def test_every_image_is_one_that_is_built(effective: dict[str, Any]) -> None:
    (artifact,) = effective["build"]["artifacts"]
    name = artifact["image"]
    assert artifact["docker"]["target"] in STAGES
    assert release(effective)["setValueTemplates"] == {
        "image.repository": f"{{{{.IMAGE_REPO_{name}}}}}",
        "image.tag": f"{{{{.IMAGE_TAG_{name}}}}}",
    }
    assert [case["container"]["image"] for case in effective["verify"]] == [name]
    assert api_container(render(effective))["image"] == f"{name}:built"


def test_every_value_is_one_of_the_chart(effective: dict[str, Any]) -> None:
    chart = yaml.safe_load((CHART / "values.yaml").read_text())
    assert [".".join(path) for path in values_of(effective) if not is_value(path, chart)] == []


def test_every_port_is_one_of_a_service_of_the_chart(effective: dict[str, Any]) -> None:
    manifests = render(effective)
    for forward in effective.get("portForward", []):
        assert forward["namespace"] == release(effective)["namespace"]
        if forward["resourceType"] == "service":
            service = one(manifests, "Service", forward["resourceName"])
            assert forward["port"] in [port["port"] for port in service["spec"]["ports"]]
    local = [forward["localPort"] for forward in effective.get("portForward", []) + config("backing")["portForward"]]
    assert len(local) == len(set(local))


def test_production_is_what_is_deployed_unless_someone_develops() -> None:
    for names in PROFILES.values():
        document = with_profiles(names)
        container = api_container(render(document))
        developing = "dev" in names
        assert document["build"]["artifacts"][0]["docker"]["target"] == ("dev" if developing else "production")
        assert ("command" in container) is developing
        assert container["securityContext"]["readOnlyRootFilesystem"] is not developing
        assert ("sync" in document["build"]["artifacts"][0]) is developing


def test_sources_are_copied_to_where_the_dev_target_imports_from() -> None:
    document = with_profiles(("dev",))
    (rule,) = document["build"]["artifacts"][0]["sync"]["manual"]
    sources = [path.relative_to(ROOT) for path in ROOT.glob(rule["src"])]
    assert Path("app/api/root.py") in sources
    assert Path("app/cli.py") in sources
    (owner, copied) = re.findall(r"^COPY --chown=(\S+) app (\S+)$", STAGES["dev"], re.MULTILINE)[0]
    (imported,) = re.findall(r"PYTHONPATH=(\S+)", STAGES["dev"])
    (user,) = re.findall(r"^USER (\S+)$", STAGES["dev"], re.MULTILINE)
    assert owner == user
    assert f"{imported}/app" == copied
    # As Skaffold does it: the prefix away, the rest below the destination.
    for source in sources:
        assert str(source).startswith(rule["strip"])
        assert Path(rule["dest"]) / str(source).removeprefix(rule["strip"]) == Path(imported) / source
    assert api_container(render(document))["command"][-1] == rule["dest"], "what is watched"
    numbers = yaml.safe_load((CHART / "values.yaml").read_text())["podSecurityContext"]
    assert f"{numbers['runAsUser']}:{numbers['runAsGroup']}" == user


def test_a_pod_for_development_is_alone_and_goes_at_once() -> None:
    manifests = render(with_profiles(("dev",)))
    assert one(manifests, "Deployment", "gantry-api")["spec"]["replicas"] == 1
    assert "lifecycle" not in api_container(manifests)
    assert [m for m in manifests if m["kind"] == "HorizontalPodAutoscaler"] == []


def test_the_debugger_takes_the_place_of_the_restarts() -> None:
    document = with_profiles(("dev", "debug"))
    container = api_container(render(document))
    listen = container["command"][container["command"].index("--listen") + 1]
    assert listen.partition(":")[2] in [str(forward["port"]) for forward in document["portForward"]]
    assert "watchfiles" not in container["command"]
    assert {"GANTRY_SERVER__WORKER_TIMEOUT", "GANTRY_HTTP__DEADLINE"} <= {entry["name"] for entry in container["env"]}


def test_prod_like_has_what_production_has() -> None:
    manifests = render(with_profiles(("prod-like",)))
    kinds = {manifest["kind"] for manifest in manifests}
    assert {"HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"} <= kinds
    assert one(manifests, "HorizontalPodAutoscaler", "gantry-api")["spec"]["minReplicas"] == 3


def test_the_smoke_test_is_let_through_and_has_a_key() -> None:
    document = with_profiles(())
    manifests = render(document)
    (case,) = document["verify"]
    job = yaml.safe_load((ROOT / case["executionMode"]["kubernetesCluster"]["jobManifestPath"]).read_text())
    template = job["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["name"] == case["container"]["name"], "by which Skaffold finds it"
    assert job["metadata"]["namespace"] == release(document)["namespace"]
    policy = one(manifests, "NetworkPolicy", "gantry-test")
    assert policy["spec"]["podSelector"]["matchLabels"] == template["metadata"]["labels"]
    (url, key) = container["env"]
    one(manifests, "Service", url["value"].removeprefix("http://"))
    api = {entry["name"]: entry for entry in api_container(manifests)["env"]}
    reference, used = (
        key["valueFrom"]["secretKeyRef"],
        api["GANTRY_SECURITY__BOOTSTRAP_KEY"]["valueFrom"]["secretKeyRef"],
    )
    assert (reference["name"], reference["key"]) == (used["name"], used["key"])


def smoke(api: "LiveApi", key: str) -> subprocess.CompletedProcess[str]:
    """The smoke test's own command, against a running API."""
    container = config("gantry")["verify"][0]["container"]
    command = [sys.executable, *container["command"][1:], *container["args"]]
    environment = os.environ | {"API_URL": api.url, "API_KEY": key}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_smoke_test_passes_and_fails(live_api: "LiveApi") -> None:
    passed = smoke(live_api, live_api.key)
    assert (passed.returncode, passed.stdout) == (0, "created, read, deleted; refused without a key\n"), passed.stderr
    failed = smoke(live_api, "no-key")
    assert failed.returncode == 1
    assert "creating an item: 401" in failed.stderr
