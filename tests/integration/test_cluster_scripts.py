"""What `make cluster`, `deploy`, `observability`, `e2e` and `cluster-down` say where something that they need is missing: one
sentence, and no success; and what those that deploy ask helm for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

BASICS = ("bash", "dirname", "grep", "mkdir", "mv", "rm", "timeout")
ANSWERS = "#!/bin/sh\nexit 0\n"
FAILS = "#!/bin/sh\nexit 1\n"
UNLESS_ROLLOUT = '#!/bin/sh\n[ "$3" != rollout ]\n'
UNLESS_UPGRADE = '#!/bin/sh\n[ "$1" != upgrade ]\n'


def said(folder: Path, script: str, *, programs: dict[str, str], **variables: str) -> str:
    """Run a script of a copy of k8s/ where only these programs are on the PATH; it has to fail."""
    path = folder / "bin"
    path.mkdir()
    for name in BASICS:
        found = shutil.which(name)
        assert found
        (path / name).symlink_to(found)
    for name, text in programs.items():
        (path / name).write_text(text)
        (path / name).chmod(0o755)
    shutil.copytree("k8s", folder / "k8s")
    done = subprocess.run(
        [shutil.which("bash") or "bash", folder / "k8s" / script],
        env={"PATH": str(path), "HOME": os.environ["HOME"]} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr.splitlines()[-1]


CASES: list[tuple[str, dict[str, str], dict[str, str], str]] = [
    ("kind.sh", {}, {}, "make cluster: docker is missing. Install Docker"),
    ("kind.sh", {"docker": FAILS}, {}, "make cluster: Docker is installed, but its daemon does not answer"),
    ("kind.sh", {"docker": ANSWERS}, {}, "make cluster: kind is missing. Install it"),
    ("cluster.sh", {"docker": ANSWERS}, {}, "make cluster: kind is missing. Install it"),
    (
        "cluster.sh",
        {"kind": FAILS},
        {"CLUSTER_SCRIPT": "true"},
        "make cluster: true has left no kind cluster named gantry",
    ),
    ("cluster.sh", {}, {"KUBECONFIG": "/none"}, "make cluster: kubectl is missing. Install it"),
    (
        "cluster.sh",
        {"kubectl": FAILS},
        {"KUBECONFIG": "/none"},
        "make cluster: the cluster of KUBECONFIG (/none) does not answer",
    ),
    ("deploy.sh", {}, {}, "make deploy: kubectl is missing. Install it"),
    ("deploy.sh", {"kubectl": ANSWERS}, {}, "make deploy: there is no cluster: run `make cluster` first"),
    ("deploy.sh", {"kubectl": ANSWERS}, {"KUBECONFIG": "/one"}, "make deploy: helm is missing. Install it"),
    (
        "deploy.sh",
        {"kubectl": ANSWERS, "helm": ANSWERS},
        {"KUBECONFIG": "/one"},
        "make deploy: this is no kind cluster: push an image, and set IMAGE=repository:tag.",
    ),
    ("observability.sh", {}, {}, "make observability: kubectl is missing. Install it"),
    (
        "observability.sh",
        {"kubectl": ANSWERS},
        {},
        "make observability: there is no cluster: run `make cluster` first",
    ),
    (
        "observability.sh",
        {"kubectl": ANSWERS},
        {"KUBECONFIG": "/one"},
        "make observability: helm is missing. Install it",
    ),
    (
        "observability.sh",
        {"kubectl": UNLESS_ROLLOUT, "helm": ANSWERS},
        {"KUBECONFIG": "/one"},
        "make observability: prometheus does not become ready: see `kubectl -n gantry-observability get events`.",
    ),
    (
        "observability.sh",
        {"kubectl": ANSWERS, "helm": UNLESS_UPGRADE},
        {"KUBECONFIG": "/one"},
        "make observability: the release does not become ready: see `kubectl -n gantry get pods,events`.",
    ),
    ("e2e.sh", {"kubectl": ANSWERS}, {}, "make e2e: there is no cluster: run `make cluster` first"),
    ("e2e.sh", {"kubectl": ANSWERS}, {"KUBECONFIG": "/one"}, "make e2e: docker is missing. Install Docker"),
    (
        "e2e.sh",
        {"kubectl": ANSWERS, "docker": FAILS},
        {"KUBECONFIG": "/one"},
        "make e2e: Docker is installed, but its daemon does not answer",
    ),
    (
        "e2e.sh",
        dict.fromkeys(("kubectl", "docker", "kind", "helm"), ANSWERS),
        {"KUBECONFIG": "/one"},
        "make e2e: k6 is missing. Install it",
    ),
    ("down.sh", {}, {}, "make cluster-down: docker is missing. Install Docker"),
    (
        "down.sh",
        {"kubectl": FAILS},
        {"KUBECONFIG": "/none"},
        "make cluster-down: the cluster of KUBECONFIG (/none) does not",
    ),
]


@pytest.mark.parametrize(("script", "programs", "variables", "sentence"), CASES)
def test_what_is_missing_is_named(
    tmp_path: Path, script: str, programs: dict[str, str], variables: dict[str, str], sentence: str
) -> None:
    assert said(tmp_path, script, programs=programs, **variables).startswith(sentence)


def asked_for(folder: Path, script: str, *, missing: str) -> tuple[list[str], str]:
    """Commands of kubectl and helm that a script runs on a cluster of KUBECONFIG where one thing is not there, and what it says."""
    path, log = folder / "bin", folder / "asked"
    path.mkdir()
    for name in ("kubectl", "helm"):
        (path / name).write_text(
            f'#!/bin/sh\necho "{name} $*" >> "{log}"\ncase "{name} $*" in *"{missing}"*) exit 1 ;; esac\n'
        )
        (path / name).chmod(0o755)
    shutil.copytree("k8s", folder / "k8s")
    done = subprocess.run(
        [folder / "k8s" / script],
        env={
            "PATH": f"{path}:{os.environ['PATH']}",
            "HOME": str(folder),
            "KUBECONFIG": "/one",
            "IMAGE": "registry.example/gantry:1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return log.read_text().splitlines(), done.stdout


def upgrades(commands: list[str]) -> list[str]:
    return [command for command in commands if command.startswith("helm upgrade")]


def test_the_stack_connects_a_release_that_is_there(tmp_path: Path) -> None:
    commands, said = asked_for(tmp_path, "observability.sh", missing="nothing")
    applied = [command for command in commands if " apply " in command]
    assert applied == ["kubectl apply -f k8s/namespace.yaml", "kubectl apply -k k8s/observability"]
    (upgrade,) = upgrades(commands)
    assert upgrade.startswith("helm upgrade gantry charts/gantry --namespace gantry --reset-then-reuse-values ")
    assert "--values k8s/values-observability.yaml" in upgrade
    assert "port-forward service/prometheus 9090" in said


def test_the_stack_can_be_there_before_the_release(tmp_path: Path) -> None:
    commands, said = asked_for(tmp_path, "observability.sh", missing="helm status gantry")
    assert upgrades(commands) == []
    assert "`make deploy` connects it" in said


@pytest.mark.parametrize("there", [True, False])
def test_a_deployment_stays_connected_while_the_stack_is_there(tmp_path: Path, there: bool) -> None:
    missing = "nothing" if there else "get namespace gantry-observability"
    commands, _ = asked_for(tmp_path, "deploy.sh", missing=missing)
    (upgrade,) = upgrades(commands)
    assert ("--values k8s/values-small.yaml --values k8s/values-observability.yaml" in upgrade) is there
    assert "image.repository=registry.example/gantry,image.tag=1" in upgrade


def test_all_that_was_put_on_a_cluster_is_taken_away(tmp_path: Path) -> None:
    commands, _ = asked_for(tmp_path, "down.sh", missing="nothing")
    deleted = {command.split(" --")[0] for command in commands if " delete -k " in command}
    assert deleted == {"kubectl delete -k k8s/postgres", "kubectl delete -k k8s/observability"}
