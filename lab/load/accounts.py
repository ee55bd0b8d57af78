"""The accounts that the users service seeds in lab mode: user001@example.com to user500@example.com."""

ACCOUNTS = 500  # the load uses all but the last one, the probes use the last one
PASSWORD = "correct-horse-breakwater"


def email_of(account_no: int) -> str:
    return f"user{account_no:03d}@example.com"
