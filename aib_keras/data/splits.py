"""Splits of a data set and slices of them, such as "train[:45000]"."""

import dataclasses
import re

from aib_keras.utils.suggestions import did_you_mean

_BOUND = r"-?\d+%?"
_PATTERN = re.compile(rf"(?P<name>\w[\w.-]*)(\[(?P<start>{_BOUND})?:(?P<stop>{_BOUND})?\])?")


@dataclasses.dataclass(frozen=True)
class Split:
    """The name of a split and a slice of it, in the notation of TensorFlow Datasets.

    Attributes:
        name: String.
        start, stop: Strings as written, or None. A number counts examples, from the end if it is
            negative; a number with "%" is a percentage.
    """

    name: str
    start: str | None = None
    stop: str | None = None

    @classmethod
    def parse(cls, text):
        """Reads "train", "train[:45000]", "train[-5000:]" or "train[90%:]".

        Raises:
            ValueError: If `text` is anything else.
        """
        match = _PATTERN.fullmatch(text.replace(" ", "")) if isinstance(text, str) else None
        if match is None:
            raise ValueError(
                'A split is written "train", "train[:45000]", "train[45000:]" or "train[90%:]"; '
                f"got {text!r}."
            )
        return cls(match["name"], match["start"], match["stop"])

    def __str__(self):
        if self.start is None and self.stop is None:
            return self.name
        return f"{self.name}[{self.start or ''}:{self.stop or ''}]"

    def require(self, names, source):
        """Raises a ValueError unless the split's name is one of `names`, which `source` has."""
        if self.name not in names:
            raise ValueError(
                f"{source} has no split {self.name!r}; it has {', '.join(map(repr, names))}."
                f"{did_you_mean(self.name, names)}"
            )

    def bounds(self, count, source):
        """Returns the slice as positions `(start, stop)` in a split of `count` examples.

        Raises:
            ValueError: If the slice reaches beyond the split or is empty.
        """
        start = 0 if self.start is None else self._position(self.start, count, source)
        stop = count if self.stop is None else self._position(self.stop, count, source)
        if start >= stop:
            raise ValueError(f"{source}: {self} is empty; {self.name!r} has {count} examples.")
        return start, stop

    def _position(self, text, count, source):
        value = int(text.rstrip("%"))
        size = 100 if text.endswith("%") else count
        if abs(value) > size:
            raise ValueError(
                f"{source}: {self} reaches beyond {self.name!r}, which has {count} examples."
            )
        if text.startswith("-"):
            value += size
        return round(value * count / size)
