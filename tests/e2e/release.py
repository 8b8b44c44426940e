"""The release under test: deployed as a newcomer does it, and given other shapes."""

import json
import os
import re
from pathlib import Path
from typing import Any

from tests.e2e.cluster import NAMESPACE, RELEASE, ROOT, get, kubectl, psql, run, wait_for_pods, wait_until_gone

VALUES = ROOT / "k8s/values-small.yaml"
STEADY = Path(__file__).parent / "values-steady.yaml"
TABLES = "users, items, idempotency_records"


class Release:
    """What is deployed, and how to reach it."""

    def __init__(self) -> None:
        """Anew: the former release and its data are taken away."""
        self.uninstall()
        if run("kubectl", "get", "statefulset", "postgres", "-n", "gantry-postgres", check=False).returncode == 0:
            psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION gantry")
        said = run("make", "--silent", "deploy", seconds=900).stdout
        found = re.search(r'^API=(\S+)\nKEY="X-API-Key: (\S+)"$', said, re.MULTILINE)
        assert found, said
        self.api, self.key = found[1], found[2]
        self.image = str(get("deployment", f"{RELEASE}-api")["spec"]["template"]["spec"]["containers"][0]["image"])

    @property
    def origin(self) -> str:
        return self.api.removesuffix("/api/v1")

    def uninstall(self) -> None:
        run(
            "helm",
            "uninstall",
            RELEASE,
            "-n",
            NAMESPACE,
            "--ignore-not-found",
            "--cascade=foreground",
            "--wait",
            "--timeout=3m",
            seconds=200,
        )

    def upgrade(self, *values: Path, image: str = "", seconds: int = 240, **settings: Any) -> None:
        """Give it a shape: k8s/values-small.yaml, further files, then single values (``__`` for the dots); and wait until it has it."""
        repository, _, tag = (image or self.image).rpartition(":")
        options = [f"--values={path}" for path in (VALUES, *values)]
        own = {"image.repository": repository, "image.tag": tag}
        for name, value in (own | {name.replace("__", "."): value for name, value in settings.items()}).items():
            options += ["--set-json", f"{name}={json.dumps(value)}"]
        run(
            "helm", "upgrade", RELEASE, "charts/gantry", "-n", NAMESPACE, *options, "--wait", f"--timeout={seconds}s",
            seconds=seconds + 30,
        )  # fmt: skip

    @property
    def steady_values(self) -> Path:
        return STEADY

    def steady(self, **settings: Any) -> None:
        """Two pods, none of which is only starting or still stopping."""
        self.upgrade(STEADY, **settings)
        wait_for_pods("api", 2)
        for component in ("api", "pgbouncer"):
            wait_until_gone(component)

    def rollback(self, seconds: int = 240) -> None:
        run("helm", "rollback", RELEASE, "-n", NAMESPACE, "--wait", f"--timeout={seconds}s", seconds=seconds + 30)

    def tagged_images(self, count: int) -> list[str]:
        """The image again, under names that the cluster does not know yet: to Kubernetes each is a new version."""
        docker = os.environ.get("DOCKER", "docker")
        cluster = kubectl("config", "current-context").strip().removeprefix("kind-")
        tags = [f"{self.image}-{number}" for number in range(1, count + 1)]
        for tag in tags:
            run(docker, "tag", self.image, tag)
            run("kind", "load", "docker-image", tag, "--name", cluster)
        return tags
