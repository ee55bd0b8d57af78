"""Renders the labels of fluentd.conf that come from the topology; the rest of the file is written by hand."""

from lab.topology import PROJECT, Topology

FILE = "system/deploy/fluentd.conf"
BEGIN = "      # --- rendered from system/topology.toml by `lab render` ---\n"
END = "      # --- end of the rendered lines ---\n"


def files(topology: Topology) -> dict[str, str]:
    """fluentd.conf with its labels rendered again."""
    return {FILE: replaced((PROJECT / FILE).read_text(), topology)}


def labels(topology: Topology) -> str:
    """One line per label, in the syntax of record_transformer; the record has `service` already."""
    names = " ".join(topology.services)
    outside = " ".join(each.name for each in topology.services.values() if each.outside)
    service = 'record["service"]'
    return (
        f'      tier ${{%w[{names}].include?({service}) ? "service" : "server"}}\n'
        f"      outside ${{%w[{outside}].include?({service})}}\n"
    )


def replaced(text: str, topology: Topology) -> str:
    """The text of fluentd.conf with its labels rendered again. Raises ValueError without the marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{FILE} lacks the marks of its rendered lines:\n{BEGIN}{END}")
    return before + BEGIN + labels(topology) + END + after
