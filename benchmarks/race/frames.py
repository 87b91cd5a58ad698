"""How the contestants that work on pandas frames read the input."""

from __future__ import annotations

import pandas as pd

from benchmarks.race.heat import Load


def latest(load: Load) -> pd.DataFrame:
    """The last record of each key. pandas' reader with pyarrow is its fastest, four times as fast as its own."""
    frames = [pd.read_json(path, lines=True, engine="pyarrow") for path in load.files]
    frame = pd.concat(frames, ignore_index=True).drop_duplicates("id", keep="last")
    frame["ordered_at"] = pd.to_datetime(frame["ordered_at"], utc=True)
    return frame
