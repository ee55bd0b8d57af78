"""The labels of fluentd.conf that come from the topology; the rest of the file is written by hand."""

from lab.topology import PROJECT, Topology

FILE = "system/deploy/fluentd.conf"
BEGIN = "      # --- rendered from system/topology.toml by `lab render` ---\n"
END = "      # --- end of what is rendered ---\n"


def files(topology: Topology) -> dict[str, str]:
    """fluentd.conf as it is, with its labels rendered anew."""
    return {FILE: replaced((PROJECT / FILE).read_text(), topology)}


def labels(topology: Topology) -> str:
    """One line a label, as record_transformer takes them; `service` is known by then."""
    names = " ".join(topology.services)
    outside = " ".join(each.name for each in topology.services.values() if each.outside)
    service = 'record["service"]'
    return (
        f'      tier ${{%w[{names}].include?({service}) ? "service" : "server"}}\n'
        f"      outside ${{%w[{outside}].include?({service})}}\n"
    )


def replaced(text: str, topology: Topology) -> str:
    """fluentd.conf `text` with its labels rendered anew. Raises ValueError without the marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{FILE} has lost the marks of its rendered lines:\n{BEGIN}{END}")
    return before + BEGIN + labels(topology) + END + after
