"""From the topology to text: pure functions; what is committed of their output is checked against them."""
