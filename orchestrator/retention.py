"""Keep house among the nights: old ones keep their numbers and lose their traces.

Only folders that `nightly` made (they hold a night.json) are touched, directly in the results
folder and not through links: so never `reference/`, never a run someone made by hand, never a
night that holds a file named `keep`, and never the one that `latest` points at. No result.json is
ever removed: the trend needs them all, and they are small.
"""

import shutil
from pathlib import Path

STAYS = ("result.json", "night.json", "night.md", "report.md", "suite.json", "accepted")
MARK = "keep"


def thin(results: Path, whole: int) -> list[Path]:
    """Leave the newest `whole` nights as they are, thin the others; return those it thinned."""
    found = sorted(path.parent for path in results.glob("*/night.json"))
    nights = [night for night in found if not night.is_symlink()]
    latest = (results / "latest").resolve()
    old = nights[: max(len(nights) - whole, 0)]
    return [night for night in old if _may(night, latest) and _thin(night)]


def _may(night: Path, latest: Path) -> bool:
    return not (night / MARK).exists() and night.resolve() != latest


def _thin(night: Path) -> bool:
    """Remove what does not stay; say whether anything was there to remove."""
    heavy = [path for path in night.iterdir() if path.name not in STAYS]
    for path in heavy:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return bool(heavy)
