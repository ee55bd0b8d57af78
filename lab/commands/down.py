"""`lab down`."""

from lab.options import AsJson, PortBase, console, print_json, runtime


def down(port_base: PortBase = None, as_json: AsJson = False) -> None:
    """Stop the lab: services first, stores last. The stores' data stays for the next `lab up`."""
    lab = runtime(port_base)
    was_up = lab.down()
    if as_json:
        print_json({"was_up": was_up, "port_base": lab.port_base})
    elif was_up:
        console().print("The lab is down.")
    else:
        console().print(f"No lab was up at port base {lab.port_base}.")
