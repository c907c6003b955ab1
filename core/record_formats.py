"""What records of an earlier format say otherwise: a fleet goes on after an upgrade, and its past stays readable.

Format 1 kept how workers come to a master among the master's abilities, as a word, beside abilities that nobody read.
"""

from ebbflow.core.canonical import Plain

_NOT_READ = ("drain_guards_busy", "decides_counts", "in_use_visible")


def master_section(value: Plain) -> Plain:
    """The section `master` as `MasterLook` is written now.

    Args:
        value: of any format, as its record holds it; its hash covers that.
    """
    if not isinstance(value, dict) or "caps" in value:
        return value
    caps = {name: content for name, content in value.items() if name not in (*_NOT_READ, "registration")}
    return {"caps": caps, "takes_urls": value.get("registration", "push_url") == "push_url"}
