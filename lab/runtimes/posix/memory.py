"""The memory of a process; a page that n processes share counts as 1/n."""

import psutil


def pss_mb(pid: int, *, with_children: bool) -> float:
    """Proportional set size in MB; resident size where the platform has no PSS."""
    try:
        process = psutil.Process(pid)
        group = process.children(recursive=True) if with_children else []
        return round(sum(map(_bytes, [process, *group])) / 1e6, 1)
    except psutil.Error:
        return 0.0


def _bytes(process: psutil.Process) -> int:
    try:
        info = process.memory_full_info()
        return int(getattr(info, "pss", 0) or info.rss)
    except psutil.Error:
        return 0
