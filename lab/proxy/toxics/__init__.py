"""All types of toxic by their API name. A new one needs a file and a name in this list."""

from typing import Any

from lab.proxy.toxics.bandwidth import Bandwidth
from lab.proxy.toxics.connection_cap import ConnectionCap
from lab.proxy.toxics.latency import Latency
from lab.proxy.toxics.limit_data import LimitData
from lab.proxy.toxics.noop import Noop
from lab.proxy.toxics.packet_loss import PacketLoss
from lab.proxy.toxics.reset_peer import ResetPeer
from lab.proxy.toxics.slicer import Slicer
from lab.proxy.toxics.slow_close import SlowClose
from lab.proxy.toxics.stage import Stage
from lab.proxy.toxics.timeout import Timeout

REGISTRY: dict[str, type[Stage[Any]]] = {
    stage.type_name: stage
    for stage in (
        Noop,
        Latency,
        Bandwidth,
        SlowClose,
        Timeout,
        ResetPeer,
        Slicer,
        LimitData,
        PacketLoss,
        ConnectionCap,
    )
}
