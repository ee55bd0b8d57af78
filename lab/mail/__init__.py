"""The mail sink: sink.py receives mails by SMTP and stores them as files, page.py shows them."""
