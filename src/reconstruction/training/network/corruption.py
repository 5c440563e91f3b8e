"""What is done to inputs on the device before a model sees them: a chain of random changes, keyed by event."""

from __future__ import annotations

from torch import Tensor, nn

from reconstruction.random.keyed import KeyedRandom
from reconstruction.random.transforms import RandomTransform
from reconstruction.records.batch import Inputs, Masks, within


class Link(nn.Module):
    """One change in the chain.

    change: what is done to the input `reads`. scope: name of random numbers of its own. training_only: an augmentation,
    which judging leaves out. scaled: whether the noise scale is its strength. needs_noise: left out at noise scale 0,
    for records that were measured and have it behind them. by_row: whether the strengths of rows are its own.
    """

    def __init__(
        self,
        change: RandomTransform,
        reads: str = "series",
        scope: str = "",
        training_only: bool = False,
        scaled: bool = True,
        needs_noise: bool = False,
        by_row: bool = True,
    ) -> None:
        super().__init__()
        self.change, self.reads, self.scope = change, reads, scope
        self.training_only, self.scaled, self.needs_noise = training_only, scaled, needs_noise
        self.by_row = by_row

    def forward(self, values: Tensor, random: KeyedRandom, scale: float | Tensor) -> Tensor:
        """Return the changed input."""
        source = random.scoped(self.scope) if self.scope else random
        changed: Tensor = self.change(values, source, scale) if self.scaled else self.change(values, source)
        return changed


class Corruption(nn.Module):
    """The links in their order; each changes one input, and padding stays empty."""

    def __init__(self, *links: Link) -> None:
        super().__init__()
        self.links = nn.ModuleList(links)

    def forward(
        self,
        inputs: Inputs,
        masks: Masks,
        random: KeyedRandom,
        scale: float = 1.0,
        judging: bool = False,
        strength: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the corrupted inputs; with `judging` those that a score is made on.

        `strength` is that of each row over the nominal, where rows differ: (batch,), or (batch, point) by frequency.
        """
        changed = dict(inputs)
        of_rows = scale if strength is None else scale * strength
        for link in self._in_use(scale, judging):
            changed[link.reads] = link(changed[link.reads], random, of_rows if link.by_row else scale)
        return {name: within(values, masks.get(name)) for name, values in changed.items()}

    def augmented(self, inputs: Inputs, masks: Masks, random: KeyedRandom) -> dict[str, Tensor]:
        """Return the inputs with what an augmentation does to them in training, without any noise."""
        changed = dict(inputs)
        for link in self._in_use(1.0, judging=False):
            if link.training_only:
                changed[link.reads] = link(changed[link.reads], random, 1.0)
        return {name: within(values, masks.get(name)) for name, values in changed.items()}

    def _in_use(self, scale: float, judging: bool) -> list[Link]:
        links = [link for link in self.links if isinstance(link, Link)]
        return [link for link in links if not (link.training_only and judging) and (scale or not link.needs_noise)]

    @property
    def changes_judging(self) -> bool:
        """Whether a record that is judged again, with other random numbers, is another one."""
        return any(not link.training_only for link in self._in_use(1.0, judging=True) if _does_something(link.change))


def _does_something(change: nn.Module) -> bool:
    return len(getattr(change, "transforms", (change,))) > 0
