"""packet_loss drops chunks of the stream, singly or in bursts."""

from dataclasses import dataclass

from lab.proxy.toxics.attributes import probability
from lab.proxy.toxics.stage import KIB, Stage

CHUNK = 32 * KIB  # Toxiproxy reads at most this much at once and draws once per read


@dataclass(frozen=True, slots=True)
class PacketLossAttributes:
    """`loss_rate` is the probability that a chunk is lost; after a loss `correlation` is added to it."""

    loss_rate: float = probability(0.1)
    correlation: float = probability(0.0)


class PacketLoss(Stage[PacketLossAttributes]):
    type_name = "packet_loss"
    attributes_type = PacketLossAttributes
    ours = True
    _lost_last = False

    def feed(self, data: bytes, arrived_s: float) -> None:
        for start in range(0, len(data), CHUNK):
            chunk = data[start : start + CHUNK]
            chance = self.attributes.loss_rate
            if self._lost_last:
                chance += self.attributes.correlation
            self._lost_last = self.rng.random() < chance
            if self._lost_last:
                self.hit(len(chunk))
            else:
                self.emit(chunk, arrived_s)
