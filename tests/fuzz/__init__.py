"""`make fuzz`: Schemathesis sends generated requests to the public API of a lab and checks the answers."""
