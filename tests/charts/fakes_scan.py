"""What the drop scan would say of random numbers: intervals, agreements and effects are really computed from them."""

from functools import cache

import numpy as np

from measures.significance.intervals import bootstrap
from probes.scan.agreement import rank_agreement
from probes.scan.drop_scan import DropScanResult, Part
from probes.scan.scores import PARTS, SCORES
from probes.scan.skips import depth_score


@cache
def scanned(layers: int, windows: int = 4, missing: tuple[int, ...] = (), skips: bool = True) -> DropScanResult:
    """A scan of so many layers, of which the plan left nothing in those that are missing."""
    random = np.random.default_rng(layers)
    values = np.exp(random.normal(size=(windows, 3, len(PARTS), layers)) - 2)
    values[:, 2] = np.exp(-values[:, 2])
    scores = np.exp(random.normal(size=(len(SCORES), len(PARTS), layers)))
    values[..., list(missing)] = scores[..., list(missing)] = np.nan
    ends = zip(("", "_low", "_high"), (values.mean(0), *bootstrap(values)), strict=True)
    tables = [(end, name, table[m]) for end, table in ends for m, name in enumerate(("kl", "loss", "agreement"))]
    parts = {
        part: Part(
            **{f"{name}{end}": table[k].tolist() for end, name, table in tables},
            **{name: score[k].tolist() for name, score in zip(SCORES, scores, strict=True)},
        )
        for k, part in enumerate(PARTS)
    }
    effects = np.triu(random.random((windows, 2, layers, layers)))
    shown = np.where(np.tri(layers, k=-1, dtype=bool), np.nan, effects.max(0))
    shown[:, list(missing)] = shown[..., list(missing)] = np.nan
    depths = {mode: [depth_score(each) for each in effects[:, m]] for m, mode in enumerate(("current", "future"))}
    return DropScanResult(
        layers=layers,
        tokens=100,
        windows=windows,
        base_kl=0.0,
        base_loss=3.0,
        base_agreement=1.0,
        **parts,
        agreements=rank_agreement(dict(zip(SCORES, scores, strict=True)), values.mean(0)[0]),
        skip_current=shown[0] if skips else np.full((layers, layers), np.nan),
        skip_future=shown[1] if skips else np.full((layers, layers), np.nan),
        depth={mode: [float(np.mean(each)), min(each), max(each)] for mode, each in depths.items()},
    )
