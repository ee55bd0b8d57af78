"""The judgement of a run: validity, indicators against their limits, the verdict."""
