"""`python -m lab.mail --smtp-port P --page-port Q --folder DIR`: runs the mail sink."""

import argparse
import asyncio
import signal
from pathlib import Path

from lab import httpd
from lab.mail.page import Page
from lab.mail.sink import Mailbox, listen


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.mail", description=__doc__)
    parser.add_argument("--smtp-port", type=int, required=True, help="port that receives mails")
    parser.add_argument(
        "--page-port", type=int, required=True, help="port of the page that shows them"
    )
    parser.add_argument("--folder", type=Path, required=True, help="stores them as *.eml")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address of both ports (default: 127.0.0.1)"
    )
    options = parser.parse_args()
    asyncio.run(serve(options.smtp_port, options.page_port, options.folder, options.host))


async def serve(smtp_port: int, page_port: int, folder: Path, host: str = "127.0.0.1") -> None:
    """Receives and shows mails until SIGTERM or SIGINT. Raises OSError if a port is in use."""
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
