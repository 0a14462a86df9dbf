"""The recorded loads beside envlock's prediction: accepted or refused, and the first symbol."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from envlock.environment.live import Environment
from envlock.linker.resolve import predict
from envlock.linker.simulate import for_environment
from envlock.models.errors import EnvlockError
from tests.campaigns.truth import wheels
from tests.campaigns.truth.records import Record
from tests.support.environments import TfEnvironment

_SYMBOL = re.compile(r"undefined symbol: (\S+?)(?:, version \S+)?$")


@dataclass(frozen=True)
class Disagreement:
    """One recorded load that was predicted differently."""

    record: Record
    predicted: str

    def __str__(self) -> str:
        record = self.record
        happened = record.message if record.refused else record.outcome
        return (
            f"{record.dist} {Path(record.member).name} in {record.package} {record.version}\n"
            f"    happened:  {happened}\n    predicted: {self.predicted}"
        )


@dataclass
class Score:
    """How many loads were compared, and which were predicted wrongly."""

    compared: int = 0
    refused: int = 0
    wrong_verdict: list[Disagreement] = field(default_factory=list)
    """Accepted where it was refused, or the other way round."""
    symbols: int = 0
    wrong_symbol: list[Disagreement] = field(default_factory=list)
    """Refused rightly, but for another first symbol than the dynamic linker named."""

    def add(self, other: Score) -> None:
        self.compared += other.compared
        self.refused += other.refused
        self.symbols += other.symbols
        self.wrong_verdict += other.wrong_verdict
        self.wrong_symbol += other.wrong_symbol

    @property
    def symbol_agreement(self) -> float:
        """Share of the refused loads whose first missing symbol was named right, 0 to 1."""
        return 1 - len(self.wrong_symbol) / self.symbols if self.symbols else 1.0


def compare(records: Iterable[Record], env: TfEnvironment) -> Score:
    """Predict each recorded load of one environment and compare."""
    scope = for_environment(Environment.open(str(env.prefix)))
    score = Score()
    for record in records:
        plugin = wheels.unpacked(record.dist) / record.member
        try:
            prediction = predict(str(plugin), scope)
        except EnvlockError as error:
            outcome, text = "unreadable", str(error)
        else:
            outcome, text = prediction.outcome, prediction.error or "ok"
        score.compared += 1
        score.refused += record.refused
        if (outcome == "refused") != record.refused or outcome == "unreadable":
            score.wrong_verdict.append(Disagreement(record, f"{outcome}: {text}"))
        elif record.missing_symbol is not None:
            score.symbols += 1
            named = _SYMBOL.search(text)
            if named is None or named[1] != record.missing_symbol:
                score.wrong_symbol.append(Disagreement(record, text))
    return score
