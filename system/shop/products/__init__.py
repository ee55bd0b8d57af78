"""products: owns the catalogue: what is sold, in which category, at what price.

Calls nobody. Publishes and consumes nothing. Answers from Valkey where it may, from PostgreSQL otherwise.
"""
