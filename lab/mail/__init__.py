"""The lab's mail sink: a real SMTP server whose mails are files, and a page to read them."""
