"""One direction of one connection: a source socket, a chain of toxics, a sender."""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from lab.proxy.data_path.memory import Memory
from lab.proxy.data_path.sender import HIGH_WATER, Sender, Traffic
from lab.proxy.data_path.timers import Clock
from lab.proxy.deviations import Deviations
from lab.proxy.toxic import Toxic
from lab.proxy.toxics.stage import KIB, End, Sink, Stage, StageContext

# one buffer for all links: a read and its forwarding happen in one turn of the event loop
BUFFER = memoryview(bytearray(256 * KIB))
READS_A_TURN = 4


@dataclass(slots=True)
class Slot:
    """A toxic's place in the chain; `stage` is None if its toxicity spared this link."""

    toxic: Toxic
    key: str
    stage: Stage[Any] | None
    present_at_open: bool


class Link:
    """Reads only while no stage and no socket is full, so that backpressure reaches the peer."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        deviations: Deviations,
        memory: Memory,
        source: socket.socket,
        sender: Sender,
        traffic: Traffic,
    ) -> None:
        self.source = source
        self.sender = sender
        self.slots: list[Slot] = []
        self._loop = loop
        self._clock = clock
        self._deviations = deviations
        self._memory = memory
        self._held = 0
        self._traffic = traffic
        self._stages: list[Stage[Any]] = []
        self._head: Sink = sender
        self._reading = False
        self._source_ended = False
        self._closed = False
        sender.on_progress = self.balance

    def start(self, toxics: Iterable[tuple[Toxic, str]]) -> None:
        """Installs the toxics (each with its key for random draws) and starts to read."""
        for toxic, key in toxics:
            self.install(toxic, key, present_at_open=True)
        self.balance()

    def install(self, toxic: Toxic, key: str, *, present_at_open: bool) -> None:
        slot = Slot(toxic, key, None, present_at_open)
        self.slots.append(slot)
        rng = toxic.rng(key)
        if rng.random() < toxic.toxicity:
            toxic.record.connections += 1
            self._enter(slot, rng)
        else:
            toxic.record.spared += 1

    def update(self, toxic: Toxic) -> None:
        """Draws again for a changed toxic, then updates, adds or removes its stage."""
        for slot in self.slots:
            if slot.toxic is toxic:
                self._update(slot)
                self.balance()

    def remove(self, toxic: Toxic) -> None:
        """Removes a toxic at once and sends the data that it held."""
        for slot in self.slots:
            if slot.toxic is toxic:
                self.slots.remove(slot)
                self._leave(slot)
                self.balance()
                return

    def end_source(self, how: End) -> None:
        """Passes the end of the source to the chain, once."""
        if not self._source_ended:
            self._source_ended = True
            self.balance()
            self._head.end(how)

    def close(self) -> None:
        self._closed = True
        for stage in self._stages:
            stage.close()
        self.balance()
        self.sender.close()

    def balance(self) -> None:
        """Starts or stops reading, depending on what the stages, the sender and all links hold."""
        held = self.sender.queued + sum(stage.held for stage in self._stages)
        if self._closed:
            held = 0
        self._memory.held += held - self._held
        self._held = held
        reading = (
            not self._closed
            and not self._source_ended
            and self._memory.admits(held)
            and self.sender.queued < HIGH_WATER
            and all(stage.held < stage.capacity for stage in self._stages)
        )
        if reading is not self._reading:
            self._reading = reading
            if reading:
                self._loop.add_reader(self.source, self._readable)
            else:
                self._loop.remove_reader(self.source)

    def _readable(self) -> None:
        """Reads until the source is empty or the link is full.

        uvloop reports data and an error that arrive together once, and then no more: a link that reads
        only the data never sees the error.
        """
        for _ in range(READS_A_TURN):
            if not self._read():
                return
        self._loop.call_soon(self._read_on)  # the other connections come first

    def _read_on(self) -> None:
        if self._reading:
            self._readable()

    def _read(self) -> bool:
        """Reads and forwards once. Returns whether there may be more to read."""
        try:
            count = self.source.recv_into(BUFFER)
        except BlockingIOError:
            return False
        except OSError:
            self.end_source(End.RST if self._deviations.resets_travel else End.FIN)
            return False
        if count == 0:
            self.end_source(End.FIN)
            return False
        self._traffic.received += count
        if self._stages:
            self._head.feed(bytes(BUFFER[:count]), self._clock.now_s())
            self.balance()
        else:
            self.sender.feed(BUFFER[:count], 0.0)
            if self.sender.queued:
                self.balance()
        return self._reading

    def _update(self, slot: Slot) -> None:
        toxic, stage = slot.toxic, slot.stage
        rng = toxic.rng(slot.key)
        drawn = rng.random() < toxic.toxicity
        if stage is None and drawn:
            toxic.record.spared -= 1
            toxic.record.connections += 1
            self._enter(slot, rng)
        elif stage is not None and drawn:
            stage.attributes = toxic.attributes
            stage.rng = rng
            stage.updated()
        elif stage is not None:
            toxic.record.connections -= 1
            toxic.record.spared += 1
            self._leave(slot)

    def _enter(self, slot: Slot, rng: Random) -> None:
        toxic = slot.toxic
        context = StageContext(
            self._clock, rng, toxic.record, self._deviations, slot.present_at_open
        )
        slot.stage = toxic.stage_type(toxic.attributes, context)
        slot.stage.on_progress = self.balance
        self._rewire()
        slot.stage.start()

    def _leave(self, slot: Slot) -> None:
        if slot.stage is not None:
            slot.stage.release()
            slot.stage.close()
            slot.stage = None
            self._rewire()

    def _rewire(self) -> None:
        self._stages = [slot.stage for slot in self.slots if slot.stage is not None]
        sink: Sink = self.sender
        for stage in reversed(self._stages):
            stage.next = sink
            sink = stage
        self._head = sink
