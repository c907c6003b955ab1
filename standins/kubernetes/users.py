"""Whom a stand-in Kubernetes API server lets do what.

Source: Kubernetes docs, "Using RBAC Authorization".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a Role."""

    resources: frozenset[str]
    verbs: frozenset[str]


@dataclass(frozen=True, slots=True)
class User:
    """Whom a token stands for. Without rules everything is allowed."""

    name: str
    namespace: str = ""
    rules: tuple[Rule, ...] | None = None

    @classmethod
    def of_role(cls, name: str, role: Mapping[str, Any]) -> "User":
        """A user to whom one Role is bound, and nothing else."""
        rules = tuple(Rule(frozenset(each["resources"]), frozenset(each["verbs"])) for each in role["rules"])
        return cls(name, role["metadata"]["namespace"], rules)

    def may(self, verb: str, resource: str, namespace: str) -> bool:
        """Whether a request is allowed."""
        if self.rules is None:
            return True
        fits = (verb in rule.verbs and resource in rule.resources for rule in self.rules)
        return namespace == self.namespace and any(fits)
