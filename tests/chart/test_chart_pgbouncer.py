"""pgbouncer's configuration: what the budget counts on, and what an API needs of it."""

from configparser import ConfigParser
from typing import Any

import pytest

from tests.chart.helm import Object, Values, at, merged, render
from tests.chart.objects import find, variables, workload
from tests.chart.value_sets import EVERYTHING, NO_POOLER


def configuration(*values: Values) -> ConfigParser:
    """pgbouncer.ini, read."""
    parser = ConfigParser(interpolation=None, comment_prefixes=(";",))
    parser.read_string(find(render(*values), "ConfigMap", "gantry-pgbouncer")["data"]["pgbouncer.ini"])
    return parser


def pod(*values: Values) -> Any:
    """The pods' spec."""
    return workload(render(*values), "pgbouncer")


def test_what_the_api_relies_on() -> None:
    """Transactions are pooled, prepared statements live through it, and only those of the file get in."""
    settings = configuration()["pgbouncer"]
    assert settings["pool_mode"] == "transaction"
    assert int(settings["max_prepared_statements"]) > 0
    assert settings["auth_type"] == "scram-sha-256"
    assert settings["auth_file"] == "/run/pgbouncer/users.txt"
    assert settings["listen_port"] == "6432"
    assert int(settings["query_wait_timeout"]) < 20


@pytest.mark.parametrize(
    ("values", "most"),
    [
        ({}, 12),
        ({"pgbouncer": {"poolSize": 8, "reservePoolSize": 2}}, 10),
        ({"pgbouncer": {"poolSize": 6}, "database": {"previousSecret": "former"}}, 16),
    ],
)
def test_the_budgets_number_is_a_hard_limit(values: Values, most: int) -> None:
    """However many pools there are: one for each user."""
    assert int(configuration(values)["pgbouncer"]["max_db_connections"]) == most


def test_only_the_one_database_can_be_asked_for() -> None:
    """At PostgreSQL itself, with the client's own user."""
    databases = configuration({"database": {"port": 5433, "name": "shop"}})["databases"]
    assert list(databases) == ["shop"]
    assert databases["shop"] == "host='postgres.example.internal' port=5433 dbname='shop'"


def test_the_server_is_verified_as_the_values_say() -> None:
    """With the authority's certificate where pgbouncer finds it."""
    tls: Values = {"database": {"tls": {"mode": "verify-full", "caSecret": "ca", "caKey": "root.pem"}}}
    settings = configuration(tls)["pgbouncer"]
    assert settings["server_tls_sslmode"] == "verify-full"
    path, _, file = settings["server_tls_ca_file"].rpartition("/")
    mounts = {m["name"]: m["mountPath"] for m in pod(tls).container("pgbouncer")["volumeMounts"]}
    assert (mounts["database-ca"], file) == (path, "root.pem")


def test_clients_are_encrypted_when_there_is_a_certificate() -> None:
    """And others are refused."""
    assert "client_tls_sslmode" not in configuration()["pgbouncer"]
    settings = configuration({"pgbouncer": {"tls": {"existingSecret": "tls"}}})["pgbouncer"]
    assert settings["client_tls_sslmode"] == "require"
    assert settings["client_tls_cert_file"] == "/run/secrets/pgbouncer-tls/tls.crt"


def test_further_lines_are_added() -> None:
    """And replace those that are only preferred."""
    settings = configuration({"pgbouncer": {"extraConfig": {"server_idle_timeout": 77, "verbose": 1}}})["pgbouncer"]
    assert (settings["server_idle_timeout"], settings["verbose"]) == ("77", "1")


@pytest.mark.parametrize("path", ["pgbouncer.poolSize", "pgbouncer.maxPreparedStatements", "database.port"])
def test_another_configuration_is_another_pod(path: str) -> None:
    """pgbouncer does not read its file again by itself."""
    annotations = [pod(values).metadata["annotations"] for values in ({}, at(path, 7))]
    assert annotations[0] != annotations[1]


def test_its_image_may_be_any() -> None:
    """No entry point of it runs, no shell is needed, and its user does not matter."""
    found = pod()
    assert found.container("pgbouncer")["command"] == ["pgbouncer", "/etc/pgbouncer/pgbouncer.ini"]
    assert "exec" not in str(found.container("pgbouncer"))
    assert found.spec["securityContext"]["runAsUser"] == 10001


def test_names_and_passwords_come_from_secrets() -> None:
    """Those of two users while one takes over."""
    users = pod({"pgbouncer": {"poolSize": 6}, "database": {"previousSecret": "former"}}).container("users")
    found = {name: value["secretKeyRef"]["name"] for name, value in variables(users).items()}
    assert found == {
        "PGUSER": "gantry-database",
        "PGPASSWORD": "gantry-database",
        "PGUSER_PREVIOUS": "former",
        "PGPASSWORD_PREVIOUS": "former",
    }
    assert users["args"] == ["pgbouncer-users", "--to", "/run/pgbouncer/users.txt"]


def test_the_exporter_does_not_see_them() -> None:
    """It is let in by its uid, over a socket in a volume of its own."""
    mounts = {mount["name"] for mount in pod().container("metrics")["volumeMounts"]}
    assert mounts == {"socket"}
    assert configuration()["pgbouncer"]["unix_socket_dir"] == "/run/pgbouncer-socket"


def test_without_it_nothing_of_it_is_left() -> None:
    """Nor anything that needs it."""
    objects: list[Object] = render(NO_POOLER)
    assert not any("pgbouncer" in str(o) for o in objects if o["kind"] != "ConfigMap")


def test_a_rollout_never_lacks_a_pod() -> None:
    """Clients always find one that accepts."""
    for values in ({}, merged(EVERYTHING)):
        deployment = find(render(values), "Deployment", "gantry-pgbouncer")["spec"]
        assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        assert deployment["replicas"] >= 2
