"""What a run tells while it goes on: numbers by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phys4d.atomic import write_text
from phys4d.training.trackers import tracker_of

BAD_STEPS = "bad-steps.jsonl"
"""Steps that were skipped: why, and which clips they had read."""


class RunLog:
    """Numbers to `RUN/log.jsonl`, to TensorBoard and to a tracker.

    start: the step from which the run goes on. tracker: its name, or "none"; settings: of the run, to show there.
    """

    def __init__(self, run: Path, start: int, *, tracker: str, settings: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        run.mkdir(parents=True, exist_ok=True)
        self.path = run / "log.jsonl"
        if self.path.exists():
            # What a killed run logged beyond its last checkpoint is about to be computed again.
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= start > 0]
            write_text(self.path, "".join(line + "\n" for line in kept))
        self.board = SummaryWriter(str(run / "tensorboard"), purge_step=start or None)
        self.tracker = tracker_of(tracker, run, settings)

    def write(self, step: int, numbers: dict[str, float], kind: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "kind": kind, **numbers}) + "\n")
        named = {f"{kind}/{key}": value for key, value in numbers.items()}
        for key, value in named.items():
            self.board.add_scalar(key, value, step)
        if self.tracker is not None:
            self.tracker.log(named, step)

    def bad_step(self, step: int, reason: str, clips: list[str]) -> None:
        """Remember a step that was skipped. clips: keys of the worlds that it read."""
        with (self.path.parent / BAD_STEPS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "reason": reason, "clips": clips}) + "\n")

    def close(self) -> None:
        self.board.close()
        if self.tracker is not None:
            self.tracker.close()
