"""The data set: where it is, what is in it, what is wrong with it, and its images as one cached
array.

The layout is that of Kaggle's ``paultimothymooney/chest-xray-pneumonia``: ``train|val|test`` /
``NORMAL|PNEUMONIA`` / images.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pneumonia import radiograph
from pneumonia.model_spec import LABELS
from pneumonia.text import harmless

SPLITS = ("train", "val", "test")
KAGGLE_DATASET = "paultimothymooney/chest-xray-pneumonia"
IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")
# What file managers, archivers, network drives and notebooks leave behind, in lower case; Kaggle's
# own archive has some.
_LITTER = {".ds_store", "thumbs.db", "desktop.ini", "__macosx", "@eadir", ".ipynb_checkpoints"}
# From this likeness on (difflib's ratio) a folder's name is taken for a misspelt one.
_MISSPELT = 0.75

_PNEUMONIA_NAME = re.compile(r"(?P<patient>person\d+_(?P<cause>bacteria|virus))_")
_NORMAL_NAME = re.compile(r"(?P<patient>(?:NORMAL2-)?IM-\d+)-")


class DataError(Exception):
    """The data set is missing or not as it should be; the message says what to do."""


@dataclass(frozen=True)
class Item:
    """One image file.

    Attributes:
        path: where it is.
        split: ``train``, ``val`` or ``test``.
        label: 0 NORMAL, 1 PNEUMONIA.
        patient: the key that groups a patient's images; the whole prefix, for ``IM-0115`` and
            ``NORMAL2-IM-0115`` are different children, as are ``person1_bacteria`` and
            ``person1_virus``. A file whose name has no such key is a patient of its own.
        cause: ``bacteria``, ``virus`` or None.
    """

    path: Path
    split: str
    label: int
    patient: str
    cause: str | None

    @property
    def relative(self) -> str:
        """``split/LABEL/file``: the name of the file in every table."""
        return f"{self.split}/{LABELS[self.label]}/{self.path.name}"


@dataclass(frozen=True)
class Dataset:
    """Every image of the three splits, split by split in the order of their names, with its
    fingerprint.

    Attributes:
        root: the folder with the splits.
        items: the images.
        digests: sha256 of each.
        ignored: files and folders that were passed over, for they are none of the data set's: what
            file managers and the like leave behind.
    """

    root: Path
    items: tuple[Item, ...]
    digests: tuple[str, ...]
    ignored: tuple[Path, ...] = ()

    def split(self, name: str) -> list[Item]:
        """The items of one split; raises DataError where the name is none of ``train``, ``val``,
        ``test``.
        """
        if name not in SPLITS:
            raise DataError(f"There is no split {name!r}; expected one of {', '.join(SPLITS)}.")
        return [item for item in self.items if item.split == name]

    @property
    def fingerprint(self) -> str:
        """sha256 over every relative name and content: two people who trained on the same bytes
        have the same one.
        """
        listing = "".join(
            f"{digest}  {item.relative}\n"
            for item, digest in zip(self.items, self.digests, strict=True)
        )
        return hashlib.sha256(listing.encode()).hexdigest()


def locate(folder: str | os.PathLike[str] | None = None) -> Path:
    """Finds the data set: ``folder``, else ``CHEST_XRAY_DIR``, else Kaggle through kagglehub.

    Raises:
        DataError: it is in none of these; says what to download and where to put it.
    """
    named = folder or os.environ.get("CHEST_XRAY_DIR")
    if named:
        root = Path(named).expanduser()
        if not root.is_dir():
            raise DataError(
                f"There is no data folder {root}; it should hold {', '.join(SPLITS)}, each with"
                f" {' and '.join(LABELS)}."
            )
        return _inner(root)
    advice = (
        f"Download {KAGGLE_DATASET} from Kaggle, unpack it, and give its chest_xray folder with"
        " --data DIR or CHEST_XRAY_DIR."
    )
    try:
        # Optional, and only needed here.
        import kagglehub  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
    except ImportError:
        raise DataError(
            f"No data folder was given and kagglehub is not installed. {advice}"
        ) from None
    try:
        return _inner(Path(kagglehub.dataset_download(KAGGLE_DATASET)))
    except DataError:
        raise
    # kagglehub lets through whatever its HTTP client, its credentials store or the disk raise.
    except Exception as error:
        raise DataError(
            f"Kaggle could not be reached ({type(error).__name__}). {advice}"
        ) from error


def scan(root: Path) -> Dataset:
    """Lists and hashes every image under ``root`` and checks that it lies where its name says.

    Raises:
        DataError: a split or class folder is missing, misspelt or empty, a file or folder is none
            that belongs here, a file is empty, its name is no text, or a name and a folder
            contradict each other; up to five culprits are named.
    """
    root = _inner(root)
    # Old Kaggle copies repeat the whole set in an inner chest_xray beside the splits; that copy is
    # ignored, not counted twice.
    ignored: list[Path] = []
    _refuse_strangers(root, SPLITS, "split folders", ignored, copy="chest_xray")
    items: list[Item] = []
    for split in SPLITS:
        if not (root / split).is_dir():
            raise DataError(f"{root} has no folder {split}; expected {', '.join(SPLITS)}.")
        _refuse_strangers(root / split, LABELS, "class folders", ignored)
        for label, name in enumerate(LABELS):
            folder = root / split / name
            if not folder.is_dir():
                raise DataError(
                    f"{root / split} has no folder {name}; expected {' and '.join(LABELS)}."
                )
            found = [_item(path, split, label) for path in _images(folder, ignored)]
            if not found:
                raise DataError(
                    f"{folder} has no images; expected {', '.join(IMAGE_SUFFIXES)} files."
                )
            items.extend(found)
    digests = [
        hashlib.sha256(item.path.read_bytes()).hexdigest()
        for item in tqdm(items, "hashing", unit="file", disable=None, leave=False)
    ]
    return Dataset(root, tuple(items), tuple(digests), tuple(ignored))


def load(
    items: Sequence[Item],
    size: tuple[int, int],
    *,
    cache: Path | None = None,
    skip_corrupt: bool = False,
) -> tuple[np.ndarray, np.ndarray, list[Item]]:
    """Decodes and resizes images once and keeps them as one array on disk, so that an epoch decodes
    nothing.

    Args:
        items: what to load, in the order wanted.
        size: ``(height, width)`` in pixels.
        cache: folder for the array, or None for none. The key covers contents, sizes and the
            decoder's version, so a stale one is never used.
        skip_corrupt: leave out what cannot be decoded (reported on stderr) instead of stopping.

    Returns:
        uint8 ``(N, H, W)`` grey images, int64 ``(N,)`` labels, and the N items they belong to.

    Raises:
        DataError: files cannot be decoded and ``skip_corrupt`` is not set, or nothing is left.
    """
    stored = _cache_file(items, size, cache) if cache else None
    if stored and stored.is_file():
        with np.load(stored) as archive:
            images, kept = archive["images"], [items[index] for index in archive["kept"]]
        readable = set(kept)
        broken = [item.relative for item in items if item not in readable]
        if broken and not skip_corrupt:
            raise _corrupt(broken)
        for name in broken:
            print(f"corrupt: {name}: left out of the cached images", file=sys.stderr)
    else:
        decoded: list[np.ndarray] = []
        kept, broken = [], []
        for item in tqdm(
            items, f"decoding {size[0]}x{size[1]}", unit="image", disable=None, leave=False
        ):
            try:
                decoded.append(radiograph.resize(radiograph.read(item.path), size))
                kept.append(item)
            except radiograph.UnreadableImage as error:
                broken.append(item.relative)
                print(f"corrupt: {item.relative}: {error}", file=sys.stderr)
        if broken and not skip_corrupt:
            raise _corrupt(broken)
        if not kept:
            raise DataError(f"None of the {len(items)} images could be decoded.")
        images = np.stack(decoded)
        if stored:
            stored.parent.mkdir(parents=True, exist_ok=True)
            partial = stored.with_name(f"{stored.stem}.{os.getpid()}.tmp.npz")
            positions = {item: index for index, item in enumerate(items)}
            np.savez(
                partial, images=images, kept=np.array([positions[item] for item in kept], np.int64)
            )
            partial.replace(stored)
    return images, np.array([item.label for item in kept], np.int64), kept


def _cache_file(items: Sequence[Item], size: tuple[int, int], cache: Path) -> Path:
    # Size and time of each file stand for its content: hashing 5,856 files at each start would cost
    # more than the cache saves on the small variants.
    states = [
        (item.relative, (stat := item.path.stat()).st_size, stat.st_mtime_ns) for item in items
    ]
    key = hashlib.sha256(repr((size, radiograph.describe(), states)).encode()).hexdigest()[:16]
    return cache / f"images-{size[0]}x{size[1]}-{key}.npz"


def _corrupt(names: Sequence[str]) -> DataError:
    return DataError(
        f"{_enumerate(names)} cannot be decoded; download again what is damaged, or leave it out"
        " with --skip-corrupt."
    )


def _inner(root: Path) -> Path:
    # Kaggle's archive unpacks to chest_xray/, and older copies hold a second one inside.
    while not (root / "train").is_dir() and (root / "chest_xray").is_dir():
        root = root / "chest_xray"
    return root


def _visible(folder: Path, ignored: list[Path]) -> list[Path]:
    """What lies in a folder, in the order of names; what is litter goes to ``ignored``."""
    visible: list[Path] = []
    for path in sorted(folder.iterdir()):
        litter = path.name.lower() in _LITTER or path.name.startswith("._")
        (ignored if litter else visible).append(path)
    return visible


def _refuse_strangers(
    folder: Path, expected: Sequence[str], what: str, ignored: list[Path], copy: str = ""
) -> None:
    names = [path.name for path in _visible(folder, ignored)]
    strangers = [name for name in names if name not in (*expected, copy)]
    for missing in (name for name in expected if name not in names):
        if meant := [name for name in strangers if _alike(name, missing)]:
            raise DataError(
                f"{folder} has {harmless(meant[0])} and no {missing}; if it is that, rename it to"
                f" {missing}."
            )
    if strangers:
        raise DataError(
            f"{folder} has {_enumerate(strangers)} beside the {what} {', '.join(expected)}; move it"
            " away."
        )


def _alike(name: str, expected: str) -> bool:
    one, other = name.casefold(), expected.casefold()
    return one.startswith(other) or SequenceMatcher(None, one, other).ratio() >= _MISSPELT


def _images(folder: Path, ignored: list[Path]) -> list[Path]:
    paths = _visible(folder, ignored)
    strangers = [
        path.name
        for path in paths
        if not path.is_file() or path.suffix.lower() not in IMAGE_SUFFIXES
    ]
    if strangers:
        raise DataError(
            f"{folder} has {_enumerate(strangers)}, no {', '.join(IMAGE_SUFFIXES)} files; move them"
            " away."
        )
    empty = [path.name for path in paths if path.stat().st_size == 0]
    if empty:
        raise DataError(f"{folder} has empty files, {_enumerate(empty)}; download them again.")
    # Tables and fingerprints are UTF-8. A name of other bytes comes with surrogates in it.
    if odd := [path.name for path in paths if harmless(path.name, 999) != path.name]:
        raise DataError(
            f"{folder} has {_enumerate(odd)}, whose name is no UTF-8 or has control characters;"
            " rename it."
        )
    return paths


def _item(path: Path, split: str, label: int) -> Item:
    pneumonia, normal = _PNEUMONIA_NAME.match(path.name), _NORMAL_NAME.match(path.name)
    if (pneumonia and label == 0) or (normal and label == 1):
        named = LABELS[1] if pneumonia else LABELS[0]
        raise DataError(
            f"{path} lies in {LABELS[label]}, but its name is that of a {named} image; move it to"
            f" {split}/{named}."
        )
    match = pneumonia or normal
    return Item(
        path,
        split,
        label,
        # A name that tells no patient is a patient of its own, whatever lies in other folders.
        match["patient"] if match else f"{split}/{LABELS[label]}/{path.name}",
        pneumonia["cause"] if pneumonia else None,
    )


def parse_item(relative: str) -> Item:
    """The item that a table's ``split/LABEL/file`` speaks of, without the file being here.

    Raises:
        DataError: it is no such name.
    """
    path = Path(relative)
    if len(path.parts) != 3 or path.parts[0] not in SPLITS or path.parts[1] not in LABELS:
        raise DataError(
            f"{relative!r} names no image; expected split/LABEL/file, such as"
            " test/NORMAL/IM-0001-0001.jpeg."
        )
    return _item(path, path.parts[0], LABELS.index(path.parts[1]))


def _enumerate(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(harmless, names[:5])) + more


def counts(items: Iterable[Item]) -> dict[str, dict[str, int]]:
    """How many images each split and class has."""
    tally = Counter((item.split, LABELS[item.label]) for item in items)
    return {split: {label: tally[split, label] for label in LABELS} for split in SPLITS}
