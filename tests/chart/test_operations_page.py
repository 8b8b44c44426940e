"""docs/operations.md keeps its word: its values exist, its numbers are the chart's own, its SQL and its commands are real."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import sql
from pydantic import BaseModel, SecretStr

from app.core.config import DatabaseSettings, Settings
from app.migrations.run import migrate
from tests.conftest import SERVER_URL, server_url

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/gantry"
PAGE = (ROOT / "docs/operations.md").read_text()
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
HELM = Path(sys.executable).with_name("helm")
RELEASE = "gantry"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def production() -> dict[str, Any]:
    (example,) = blocks("yaml")
    loaded: dict[str, Any] = yaml.safe_load(example)
    return loaded


def helm(chart: Path, values: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HELM, "template", RELEASE, chart, "--namespace", "gantry", "--values", "-", *arguments],
        input=yaml.safe_dump(values),
        capture_output=True,
        text=True,
        check=False,
    )


def render(chart: Path, values: dict[str, Any], *arguments: str) -> list[dict[str, Any]]:
    done = helm(chart, values, *arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="module")
def objects() -> dict[tuple[str, str], dict[str, Any]]:
    """What the page's values make: by kind and name."""
    return {(o["kind"].lower(), o["metadata"]["name"]): o for o in render(CHART, production())}


def test_every_value_that_it_names_exists() -> None:
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    named = {name for name in re.findall(r"`([A-Za-z]+(?:\.[A-Za-z]+)+)", prose) if name.split(".")[0] in VALUES}
    named |= set(re.findall(r"--set ([\w.]+)=", PAGE))
    assert len(named) > 30
    wrong = []
    for name in sorted(named):
        if name.startswith("config."):
            continue  # the next test's
        place: Any = VALUES
        for part in name.split("."):
            if not isinstance(place, dict) or part not in place:
                wrong.append(name)
                break
            place = place[part]
    assert wrong == []


def test_every_setting_that_it_names_exists() -> None:
    for group, name in re.findall(r"config\.(\w+)\.(\w+)", PAGE):
        model = Settings.model_fields[group].annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        assert name in model.model_fields, f"config.{group}.{name}"


@pytest.fixture(scope="module")
def talking_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the chart that says what its helpers compute."""
    chart = tmp_path_factory.mktemp("chart") / "gantry"
    shutil.copytree(CHART, chart)
    (chart / "templates/numbers.yaml").write_text(
        'kind: Numbers\nbudget: {{ include "gantry.budget" . | fromYaml | toJson }}\n'
        'shutdown: {{ include "gantry.shutdown" . | fromYaml | toJson }}\n'
        'pgbouncer: {drain: {{ include "gantry.pgbouncer.drainSeconds" . }}, '
        'grace: {{ include "gantry.pgbouncer.terminationGracePeriodSeconds" . }}}\n'
    )
    return chart


@pytest.fixture(scope="module")
def numbers(talking_chart: Path) -> dict[str, int]:
    """The chart's own numbers, with the defaults."""
    (said,) = render(talking_chart, production(), "--show-only", "templates/numbers.yaml")
    both = said["budget"] | said["shutdown"]
    assert len(both) == len(said["budget"]) + len(said["shutdown"])
    return {name: int(value) for name, value in both.items()} | {
        "pgbouncer-drain": said["pgbouncer"]["drain"],
        "pgbouncer-grace": said["pgbouncer"]["grace"],
    }


def test_its_numbers_are_the_charts(numbers: dict[str, int]) -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (\d+) \|$", PAGE, re.MULTILINE)
    assert {name: int(number) for name, number in rows}.items() <= numbers.items()
    assert len(rows) >= 17
    assert f"({numbers['pgbouncer-drain']})" in PAGE
    assert f"({numbers['pgbouncer-grace']} in all)" in PAGE
    assert f"`database.maxConnections` ({numbers['max']})" in PAGE


def test_its_formulas_give_its_numbers(numbers: dict[str, int]) -> None:
    n, api, pooler = numbers, VALUES["api"], VALUES["pgbouncer"]
    assert n["apiPods"] == 2 * VALUES["autoscaling"]["maxReplicas"]
    assert n["clients"] == n["apiPods"] * api["workers"] * api["poolSize"] <= n["accepted"]
    assert n["accepted"] == max(pooler["replicas"] - 1, 1) * pooler["maxClientConnections"]
    assert n["users"] == 1
    assert n["perPooler"] == (pooler["poolSize"] + pooler["reservePoolSize"]) * n["users"]
    assert n["queries"] == 2 * pooler["replicas"] * n["perPooler"]
    assert n["listeners"] == n["apiPods"]
    assert n["needed"] == n["queries"] + n["listeners"] + n["migrations"] + n["others"] + n["reserved"]
    assert n["free"] == VALUES["database"]["maxConnections"] - n["needed"] >= 0
    assert n["graceful"] == n["grace"] - n["drain"] - n["close"] - n["margin"] > n["deadline"]
    assert n["pgbouncer-drain"] == 5 + api["poolRecycleSeconds"]
    assert n["pgbouncer-grace"] == n["pgbouncer-drain"] + n["deadline"] + 5


def test_a_new_password_needs_smaller_pools_as_it_says(talking_chart: Path) -> None:
    two_users = ("--set", "database.previousSecret=b")
    too_many, enough = re.findall(r"asked for (\d+) connections.*?smaller meanwhile \((\d+)\)", PAGE, re.DOTALL)[0]
    assert f"may be asked for {too_many} connections" in helm(CHART, production(), *two_users).stderr
    smaller = ("--set", "pgbouncer.poolSize=6", "--show-only", "templates/numbers.yaml")
    (said,) = render(talking_chart, production(), *two_users, *smaller)
    assert int(said["budget"]["needed"]) == int(enough)


def test_every_object_that_its_commands_name_is_rendered(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    commands = "\n".join(blocks("sh")) + PAGE
    named = set(re.findall(r"\b(deployment|hpa|pdb|service)[/ ](gantry-[a-z-]+)", commands))
    assert {"deployment", "hpa"} <= {kind for kind, _ in named}
    kinds = {"hpa": "horizontalpodautoscaler", "pdb": "poddisruptionbudget"}
    assert {(kinds.get(kind, kind), name) for kind, name in named} <= set(objects)
    components = {o["metadata"]["labels"].get("app.kubernetes.io/component") for o in objects.values()}
    assert set(re.findall(r"app\.kubernetes\.io/component=([a-z]+)", commands)) <= components


def test_each_command_is_of_a_known_tool() -> None:
    known = {"kubectl", "helm", "pg_dump", "pg_restore", "psql", "vacuumdb", "export", "BOOTSTRAP_KEY=$(docker"}
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    assert {line.split()[0] for line in lines if not line.startswith("#")} <= known


@pytest.mark.parametrize("step", [1, 2, 3])
def test_each_step_of_a_new_password_renders(step: int) -> None:
    """Which users pgbouncer lets in, and which one the API is, at each of the three upgrades."""
    (block,) = [block for block in blocks("sh") if "# 1. pgbouncer lets" in block]
    upgrades = [line for line in block.replace("\\\n", "").splitlines() if line.startswith("helm upgrade")]
    sets = re.findall(r"--set \S+", upgrades[step - 1])
    rendered = {
        (o["kind"], o["metadata"]["name"]): o
        for o in render(CHART, production(), *(word for option in sets for word in option.split()))
    }
    api = rendered["Deployment", "gantry-api"]["spec"]["template"]["spec"]
    pooler = rendered["Deployment", "gantry-pgbouncer"]["spec"]["template"]["spec"]
    expected_api = "gantry-database" if step == 1 else "gantry-database-b"
    expected_pooler = {"gantry-database", "gantry-database-b"} if step < 3 else {"gantry-database-b"}
    assert _users(api["containers"]) == {expected_api}
    assert _users(pooler["initContainers"]) == expected_pooler


def _users(containers: list[dict[str, Any]]) -> set[str]:
    return {
        variable["valueFrom"]["secretKeyRef"]["name"]
        for container in containers
        for variable in container.get("env", ())
        if variable["name"].startswith("PGUSER")
    }


def test_a_bootstrap_key_is_made_as_it_says() -> None:
    (block,) = [block for block in blocks("sh") if "BOOTSTRAP_KEY" in block]
    variables = dict(re.findall(r"(GANTRY_\w+)=(\S+)", block))
    secret = json.dumps(["x" * 44])
    environment = {name: secret if "openssl" in value or "KEY" in name else value for name, value in variables.items()}
    (arguments,) = re.findall(r"registry\.example/gantry:\S+ (keys .*)\)", block)
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments.split()],
        env={"PATH": os.environ["PATH"]} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"gantry_\w+\n", done.stdout)


def test_a_database_role_is_replaced_as_it_says(worker_id: str) -> None:
    """Its SQL, run: the first role migrates, the second takes over, the first can be dropped."""
    name = f"operations_{worker_id}"
    statements = [
        statement.replace("gantry_", f"{name}_").replace("DATABASE gantry ", f"DATABASE {name} ")
        for block in blocks("sql")
        for statement in block.replace("-- as a superuser\n", "").strip().rstrip(";").split(";\n")
    ]
    first, second, last = statements[:4], statements[4:6], statements[6:]
    assert last == [f"DROP ROLE {name}_a"]
    server = psycopg.conninfo.conninfo_to_dict(os.environ[SERVER_URL])

    def settings(user: str, password: str) -> DatabaseSettings:
        url = f"postgresql://{user}:{password}@{server['host']}:{server['port']}/{name}"
        return DatabaseSettings(url=SecretStr(url))

    with psycopg.connect(os.environ[SERVER_URL], autocommit=True) as superuser:
        try:
            for statement in first:
                superuser.execute(statement.encode())
            assert migrate(settings(f"{name}_a", "a-long-one"))[0] is None
            for statement in second:
                superuser.execute(statement.encode())
            taken_over = settings(f"{name}_b", "another-long-one")
            migrate(taken_over, "base")  # drops and makes what the other role made
            migrate(taken_over)
            with psycopg.connect(server_url(name)) as connection:
                owners = {
                    row[0] for row in connection.execute("SELECT tableowner FROM pg_tables WHERE schemaname = 'public'")
                }
            assert owners == {f"{name}_owner"}
            for statement in last:
                superuser.execute(statement.encode())
        finally:
            superuser.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            for role in ("a", "b", "owner"):
                superuser.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(f"{name}_{role}")))


def test_the_log_events_and_metrics_it_names_are_in_the_code() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    (table,) = re.findall(r"\| failure \|.*?\n\n", PAGE, re.DOTALL)
    named = set(re.findall(r"`((?:gantry|database|limit|schema)_[a-z_]+)", table))
    assert {"database_unreachable", "limit_store_lost", "schema_not_in_range", "gantry_schema_seen"} <= named
    missing = {
        name for name in named if f'"{name}"' not in sources and f'"{name.removesuffix("_total")}"' not in sources
    }
    assert missing == set()
    for words in ("deploy newer code", "the migration was not made: "):
        assert words in table
        assert words in sources
