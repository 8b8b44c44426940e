"""Values to try the chart with: each option alone, and all of them together."""

from functools import cache
from typing import Any

from app.dev.chart_reference import values
from tests.chart.helm import Values, at, merged

TRAEFIK = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "traefik"}}}
MONITORING = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
}
LAN = {"ipBlock": {"cidr": "10.20.0.0/16"}}
DIGEST = "sha256:" + "0123456789abcdef" * 4
VOLUME = {"name": "extra", "emptyDir": {"sizeLimit": "1Mi"}}
MOUNT = {"name": "extra", "mountPath": "/extra"}
SPREAD = {"topologyKey": "rack", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
RULE = {"ports": [{"port": 4000}]}
EXTRA_CONTAINER = {
    "name": "extra",
    "image": "extra:1",
    "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}, "limits": {"memory": "8Mi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
}
AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]
        }
    }
}

INGRESS = {"ingress": {"enabled": True}, "networkPolicy": {"ingressControllers": [TRAEFIK]}}
HTTP_ROUTE = {
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public", "namespace": "gateways"}]},
    "networkPolicy": {"ingressControllers": [TRAEFIK]},
}
EXTERNAL_LIMITS = {"limits": {"mode": "external", "externalSecret": "shared-valkey"}}
NO_POOLER = {"pgbouncer": {"enabled": False}, "database": {"maxConnections": 500}}
POD_MONITOR = {"metrics": {"podMonitor": {"enabled": True}}, "networkPolicy": {"prometheus": [MONITORING]}}
SERVICE_MONITOR = {"metrics": {"serviceMonitor": {"enabled": True}}, "networkPolicy": {"prometheus": [MONITORING]}}
ANNOTATIONS: Values = {"metrics": {"annotations": {"enabled": True}}, "networkPolicy": {"prometheus": [MONITORING]}}
TRACING: Values = {"tracing": {"endpoint": "http://collector.elsewhere:4318"}, "networkPolicy": {"otlp": [LAN]}}

CONTEXTS: list[tuple[str, Values]] = [
    ("ingress.", INGRESS),
    ("httpRoute.", HTTP_ROUTE),
    ("limits.external", EXTERNAL_LIMITS),
    ("networkPolicy.externalLimits", EXTERNAL_LIMITS),
    ("pgbouncer.enabled", {"database": {"maxConnections": 500}}),
    ("metrics.podMonitor.", POD_MONITOR),
    ("metrics.serviceMonitor.", SERVICE_MONITOR),
    ("autoscaling.inFlight.", {"autoscaling": {"inFlight": {"enabled": True}}}),
    ("autoscaling.minReplicas", {"autoscaling": {"maxReplicas": 10}}),
    ("api.replicas", {"autoscaling": {"enabled": False}}),
    ("metrics.annotations.", ANNOTATIONS),
    ("networkPolicy.otlp", TRACING),
    ("tracing.", TRACING),
    ("database.tls.caKey", {"database": {"tls": {"caSecret": "database-ca"}}}),
    ("dashboards.", {"dashboards": {"enabled": True}}),
    ("rules.", {"rules": {"enabled": True}}),
]
"""What has to be on for an option to mean something."""

BY_NAME: dict[str, Any] = {
    "affinity": AFFINITY,
    "annotations": {"example.com/note": "a note"},
    "digest": DIGEST,
    "extraEnv": [{"name": "EXTRA", "value": "1"}],
    "extraVolumeMounts": [MOUNT],
    "extraVolumes": [VOLUME],
    "interval": "30s",
    "labels": {"release": "prometheus"},
    "maxmemoryPercent": 50,
    "nodeSelector": {"disk": "ssd"},
    "podAnnotations": {"example.com/note": "a note"},
    "podLabels": {"team": "platform"},
    "priorityClassName": "high",
    "pullPolicy": "Always",
    "repository": "registry.example/other",
    "resources": {"requests": {"cpu": "700m", "memory": "300Mi"}, "limits": {"memory": "300Mi"}},
    "tag": "other",
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "topologySpreadConstraints": [SPREAD],
}
"""Another value than the default one, for options that mean the same wherever they stand."""

BY_PATH: dict[str, Any] = {
    "api.args": ["serve", "--help"],
    "api.command": ["python", "-m", "debugpy"],
    "api.drainSeconds": 0,
    "api.extraContainers": [EXTRA_CONTAINER],
    "api.extraEnvFrom": [{"secretRef": {"name": "more"}}],
    "api.maxSurge": 3,
    "api.minReadySeconds": 9,
    "api.poolRecycleSeconds": 30,
    "api.poolSize": 8,
    "api.replicas": 5,
    "api.terminationGracePeriodSeconds": 60,
    "api.tmpSize": "32Mi",
    "api.workers": 3,
    "autoscaling.behavior": {"scaleUp": {"stabilizationWindowSeconds": 60}},
    "autoscaling.inFlight.metricName": "in_flight",
    "autoscaling.inFlight.target": "32",
    "autoscaling.maxReplicas": 6,
    "autoscaling.minReplicas": 3,
    "autoscaling.targetCPUUtilizationPercentage": 50,
    "commonAnnotations": {"example.com/owner": "platform"},
    "commonLabels": {"team": "platform"},
    "config": {
        "environment": "production",
        "http": {"trusted_hosts": ["api.example"], "deadline": 12.5, "max_body_bytes": 20_000_000},
        "log": {"format": "json"},
        "limits": {"default": "1200/minute"},
        "tracing": {"honour_parent": False},
    },
    "database.caKey": "authority.pem",
    "database.existingSecret": "other-database",
    "database.host": "fd00::5432",
    "database.maxConnections": 300,
    "database.migrationsSecret": "gantry-owner",
    "database.name": "other",
    "database.otherConnections": 7,
    "database.passwordKey": "secret",
    "database.port": 5433,
    "database.previousSecret": "gantry-database-former",
    "database.reservedConnections": 4,
    "database.tls.caKey": "authority.pem",
    "database.tls.caSecret": "database-ca",
    "database.tls.mode": "require",
    "database.usernameKey": "user",
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}, "data": {"a": "b"}},
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-text\ndata: {c: d}\n",
    ],
    "fullnameOverride": "another",
    "global": {"registry": "registry.example"},
    "httpRoute.hostnames": ["api.example"],
    "httpRoute.parentRefs": [{"name": "private", "sectionName": "https"}],
    "imagePullSecrets": [{"name": "registry"}],
    "ingress.className": "traefik",
    "ingress.controller": "nginx",
    "ingress.hosts": ["api.example", "www.example"],
    "ingress.tls": [{"secretName": "certificate", "hosts": ["api.example"]}],
    "limits.externalPort": 6380,
    "limits.externalSecret": "another-valkey",
    "limits.mode": "local",
    "limits.valkey.existingSecret": "limits-password",
    "logging.level": "debug",
    "migrations.activeDeadlineSeconds": 60,
    "migrations.backoffLimit": 3,
    "migrations.ttlSecondsAfterFinished": 600,
    "nameOverride": "another",
    "networkPolicy.dns": [LAN],
    "networkPolicy.externalLimits": [LAN],
    "networkPolicy.extraEgress": [RULE],
    "networkPolicy.extraIngress": [RULE],
    "networkPolicy.ingressControllers": [TRAEFIK],
    "networkPolicy.otlp": [MONITORING],
    "networkPolicy.otlpPort": 14318,
    "networkPolicy.postgresql": [LAN],
    "networkPolicy.prometheus": [MONITORING],
    "pgbouncer.extraConfig": {"server_idle_timeout": 60, "stats_users": "operator"},
    "pgbouncer.maxClientConnections": 2000,
    "pgbouncer.maxPreparedStatements": 100,
    "pgbouncer.poolSize": 5,
    "pgbouncer.port": 7432,
    "pgbouncer.queryWaitTimeoutSeconds": 3,
    "pgbouncer.replicas": 3,
    "pgbouncer.reservePoolSize": 1,
    "pgbouncer.tls.existingSecret": "pgbouncer-tls",
    "podDisruptionBudget.maxUnavailable": "25%",
    "podSecurityContext.fsGroup": 20001,
    "podSecurityContext.runAsGroup": 20001,
    "podSecurityContext.runAsUser": 20001,
    "security.existingSecret": "other-security",
    "service.port": 8080,
    "service.type": "LoadBalancer",
    "serviceAccount.name": "robot",
    "tracing.endpoint": "https://traces.example/otlp",
    "tracing.headersSecret": "traces-headers",
    "tracing.resourceAttributes": {"deployment.environment.name": "test, here", "k8s.cluster.name": "north"},
    "tracing.sampleRatio": 0.25,
}
"""The same for options that stand once. Booleans are turned round."""

FIT: dict[str, Values] = {
    "database.previousSecret": {"database": {"maxConnections": 200}},
    "pgbouncer.replicas": {"database": {"maxConnections": 200}},
}
"""What else has to be changed with an option, because of the connection budget."""


def context(path: str) -> Values:
    """The values among which an option means something."""
    found = [values for prefix, values in CONTEXTS if path.startswith(prefix)]
    return merged(*found, FIT.get(path, {}))


@cache
def options() -> dict[str, Values]:
    """Every option of values.yaml, with a value that is not its default one. A new option without one here is an error."""
    found = {}
    for value in values():
        if isinstance(value.default, bool):
            other: Any = not value.default
        elif value.name in BY_PATH:
            other = BY_PATH[value.name]
        else:
            other = BY_NAME[value.path[-1]]
        found[value.name] = at(value.name, other)
    return found


DEFAULT_PRODUCTION: Values = merged(
    INGRESS,
    {"image": {"repository": "registry.example/gantry"}, "ingress": {"hosts": ["api.example"]}},
)


def _everything() -> Values:
    """All that can be on at once."""
    left_out = (
        "limits.mode",
        "limits.external",
        "httpRoute.",
        "metrics.podMonitor.enabled",
        "metrics.annotations.enabled",
        "global",
        "nameOverride",
        "fullname",
    )
    kept = (value for path, value in options().items() if not path.startswith(left_out) and not _switches_off(path))
    together = merged(*kept, SERVICE_MONITOR, INGRESS, {"database": {"maxConnections": 400}})
    return merged(together, {"api": {"drainSeconds": 5, "replicas": 3}})


def _switches_off(path: str) -> bool:
    return any(value.name == path and value.default is True for value in values())


EVERYTHING = _everything()

VALUE_SETS: dict[str, Values] = {
    "minimal": {},
    "production": DEFAULT_PRODUCTION,
    "everything": EVERYTHING,
    "no-pooler": NO_POOLER,
    "http-route": HTTP_ROUTE,
    "external-limits": EXTERNAL_LIMITS,
    "local-limits": {"limits": {"mode": "local"}},
    "pod-monitor": POD_MONITOR,
    "service-monitor": SERVICE_MONITOR,
    "annotations": ANNOTATIONS,
    "tracing": TRACING,
    "open-network": {"networkPolicy": {"enabled": False}},
    "fixed-size": {"autoscaling": {"enabled": False}},
    "bare": merged(
        NO_POOLER,
        {
            "cache": {"enabled": False},
            "limits": {"mode": "local"},
            "migrations": {"enabled": False},
            "autoscaling": {"enabled": False},
            "podDisruptionBudget": {"enabled": False},
            "serviceAccount": {"create": False},
            "networkPolicy": {"enabled": False},
            "tests": {"enabled": False},
        },
    ),
}
"""Sets that the contracts are held against, beside each option alone."""
