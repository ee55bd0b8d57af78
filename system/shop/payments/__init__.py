"""payments: owns the payments, one per order, and the record of every call to the bank.

Calls the bank. Publishes no event: orders gets the result in the answer.
`domain.py` has the rules; `payments.py` calls the bank and recovers from missing answers.
"""
