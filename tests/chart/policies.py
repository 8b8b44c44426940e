"""What network policies let through, as the specification has it: a pod that some policy selects is open only to what a rule allows.

https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from tests.chart.helm import Object
from tests.chart.objects import of_kind, selects, workloads

OWN_NAMESPACE = {"kubernetes.io/metadata.name": "gantry"}


@dataclass(frozen=True)
class Endpoint:
    """A pod, or an address outside the cluster."""

    labels: dict[str, str] = field(default_factory=dict)
    namespace: dict[str, str] = field(default_factory=lambda: OWN_NAMESPACE)
    address: str = "10.244.0.9"


def component(objects: list[Object], name: str) -> Endpoint:
    """The pods of a component."""
    labels = {tuple(sorted(w.labels.items())) for w in workloads(objects) if w.component == name}
    assert labels, f"no pods of {name}"
    return Endpoint(dict(min(labels)))


def lets_through(objects: list[Object], source: Endpoint, target: Endpoint, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection is made: the source may go out, and the target lets it in. ``objects`` may be of several namespaces."""
    return _open(objects, source, target, "Egress", port, protocol) and _open(
        objects, target, source, "Ingress", port, protocol
    )


def _open(objects: list[Object], pod: Endpoint, peer: Endpoint, direction: str, port: int, protocol: str) -> bool:
    own = pod.namespace["kubernetes.io/metadata.name"]
    policies = [
        policy["spec"]
        for policy in of_kind(objects, "NetworkPolicy")
        if policy["metadata"]["namespace"] == own
        and direction in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], pod.labels)
    ]
    rules = [rule for spec in policies for rule in spec.get(direction.lower()) or []]
    side = "to" if direction == "Egress" else "from"
    return not policies or any(
        _port_fits(rule, port, protocol) and _peer_fits(rule.get(side), peer, pod.namespace) for rule in rules
    )


def _port_fits(rule: Object, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    return ports is None or any(p["port"] == port and p.get("protocol", "TCP") == protocol for p in ports)


def _peer_fits(peers: list[Object] | None, other: Endpoint, namespace: dict[str, str]) -> bool:
    return not peers or any(_is(peer, other, namespace) for peer in peers)


def _is(peer: Object, other: Endpoint, namespace: dict[str, str]) -> bool:
    if block := peer.get("ipBlock"):
        return ip_address(other.address) in ip_network(block["cidr"])
    own = {"matchLabels": namespace}
    return selects(peer.get("namespaceSelector", own), other.namespace) and selects(
        peer.get("podSelector", {}), other.labels
    )
