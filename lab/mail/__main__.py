"""`python -m lab.mail --smtp-port P --page-port Q --folder DIR`: the mail sink as a process of its own."""

import argparse
import asyncio
import signal
from pathlib import Path

from lab import httpd
from lab.mail.page import Page
from lab.mail.sink import Mailbox, listen


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.mail", description=__doc__)
    parser.add_argument("--smtp-port", type=int, required=True, help="takes mails")
    parser.add_argument("--page-port", type=int, required=True, help="shows them")
    parser.add_argument("--folder", type=Path, required=True, help="keeps them as *.eml")
    parser.add_argument("--host", default="127.0.0.1", help="where both listen (default: loopback)")
    options = parser.parse_args()
    asyncio.run(serve(options.smtp_port, options.page_port, options.folder, options.host))


async def serve(smtp_port: int, page_port: int, folder: Path, host: str = "127.0.0.1") -> None:
    """Take and show mails until SIGTERM or SIGINT. Raises OSError if a port is taken."""
    mailbox = Mailbox(folder)
    smtp = await listen(mailbox, smtp_port, host)
    page = await httpd.serve(Page(mailbox).answer, page_port, host)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    smtp.close()
    page.close()


if __name__ == "__main__":
    main()
