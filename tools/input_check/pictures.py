"""Pictures that are no chest X-rays: found in installed packages, projected from CT volumes, or
drawn. The input check is fitted and measured on them.

Which are fitted and which only measured goes by where they come from, so that no picture, and no
package, stands on both sides.
"""

from __future__ import annotations

import gzip
import importlib.util
import plistlib
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pneumonia import radiograph
from pneumonia.radiograph import Radiograph
from tools.input_check import drawings

# Packages whose pictures are fitted on, and those whose pictures are only measured. Each is left
# out, and said to be, where it is not installed.
FITTED = ("skimage", "matplotlib", "pydicom")
HELD_BACK = ("sklearn", "gradio", "mahotas", "nibabel", "nilearn")

_SUFFIXES = {
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".tif",
    ".tiff",
    ".bmp",
    ".webp",
    ".dcm",
    ".gz",
    ".nii",
}
_FOLDERS = {
    "skimage": "data",
    "matplotlib": "mpl-data",
    "pydicom": "data/test_files",
    "sklearn": "datasets/images",
    "gradio": "media_assets",
    "mahotas": "demos/data",
    "nibabel": "nicom/tests/data",
    "nilearn": "datasets/data",
}
# What the files of a folder are where it is not photographs; by a part of the name.
_KINDS = {
    "modality": (
        "cell",
        "microaneurysms",
        "retina",
        "phantom",
        "ihc",
        "nuclear",
        ".dcm",
        ".nii",
        "s1045",
    ),
    "screenshot": (
        "screenshot",
        "page.",
        "text.",
        "logo",
        "chessboard",
        "color.",
        "clock",
        "Minduka",
        "horse",
        "avatar",
        "bus.",
        "matplotlib",
        "subplots",
    ),
}
_LEAST_SIDE = 60


@dataclass(frozen=True)
class Picture:
    """One picture, most often no chest X-ray.

    Attributes:
        kind: ``photograph``, ``modality`` (another kind of scan, or a microscope's), ``screenshot``
            (text, windows, plots, logos), ``lateral``, ``other part``, ``nothing`` (noise,
            gradients), or ``frontal``, the one kind that is a chest X-ray from the front.
        source: the package or volume it comes from, or ``drawn``.
        radiograph: the decoded picture, its colour and what its file says known.
    """

    kind: str
    source: str
    radiograph: Radiograph


def find_pictures(packages: tuple[str, ...]) -> Iterator[Picture]:
    """The pictures of those of ``packages`` that are installed; a few slices of each volume."""
    for package in packages:
        specification = importlib.util.find_spec(package)
        if specification is None or not specification.submodule_search_locations:
            continue
        folder = Path(specification.submodule_search_locations[0]) / _FOLDERS[package]
        for file in sorted(folder.rglob("*")):
            if file.suffix.lower() in _SUFFIXES and file.is_file():
                kind = next(
                    (
                        kind
                        for kind, words in _KINDS.items()
                        if any(word in file.name for word in words)
                    ),
                    "photograph",
                )
                for picture in _open_file(file):
                    yield Picture(kind, package, picture)


def _open_file(file: Path) -> Iterator[Radiograph]:
    if file.name.endswith((".nii", ".nii.gz")):
        yield from (radiograph.read(piece) for piece in _slices(_nifti(file)))
        return
    if file.name == "s1045.ima.gz":
        # A slice of a head, 256 x 256 big-endian 16-bit numbers and nothing else.
        yield radiograph.read(
            np.frombuffer(gzip.decompress(file.read_bytes()), ">u2").reshape(256, 256)
        )
        return
    try:
        # GIF is no format of radiographs, but has the only screenshot that is shipped.
        with Image.open(file) as image:
            picture = radiograph.read(image.convert("RGB") if image.format == "GIF" else file)
    except OSError:
        try:
            picture = radiograph.read(file)
        except radiograph.UnreadableImage:
            return
    except radiograph.UnreadableImage:
        return
    if min(picture.size) >= _LEAST_SIDE and np.ptp(picture.pixels) > 0:
        yield picture


def _nifti(file: Path) -> np.ndarray:
    """The first volume of a NIfTI file, indexed slice, row, column; empty where it is none."""
    import nibabel  # noqa: PLC0415  optional, and here with the packages whose files these are

    try:
        volume = np.asanyarray(nibabel.load(file).dataobj)
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError):
        return np.zeros((0, 0, 0))
    return volume.reshape(*volume.shape[:3], -1)[..., 0].T


def _slices(volume: np.ndarray) -> Iterator[np.ndarray]:
    for axis in range(3):
        for share in (0.35, 0.5, 0.65):
            if min(volume.shape) >= 20:
                piece = np.take(volume, int(volume.shape[axis] * share), axis).astype(np.float64)[
                    ::-1
                ]
                if (
                    min(piece.shape) >= _LEAST_SIDE
                    and np.isfinite(piece).all()
                    and np.ptp(piece) > 0
                ):
                    yield piece


def project_volumes(folder: Path) -> Iterator[Picture]:
    """Films computed from the CT volumes in a folder, and slices of every volume there.

    Where to have some: the source distribution of pyradiomics has ``data/lung1_image.nrrd`` and
    others (chests of two adults, heads, a breast), and Debian's package invesalius-examples has
    ``Cranium.inv3``. A film is the sum of the attenuation along parallel rays, so it has no scatter
    and no grain.

    Yields:
        Of a volume whose name has ``lung`` in it, a film from the front, kind ``frontal``, and one
        from the side, kind ``lateral``; of an ``.inv3``, both as ``other part``; and of each volume
        five slices, kind ``modality``.
    """
    for file in sorted((*folder.rglob("*_image.nrrd"), *folder.rglob("*.inv3"))):
        volume, (thickness, pixel) = _nrrd(file) if file.suffix == ".nrrd" else _inv3(file)
        if "lung" in file.name or file.suffix == ".inv3":
            attenuation = np.clip(volume.astype(np.float32) + 1000, 0, 2500)
            for axis, kind in ((1, "frontal"), (2, "lateral")):
                film = attenuation.sum(axis=axis)[::-1]
                low, high = np.percentile(film, (1, 99.5))
                grey = Image.fromarray(
                    (np.clip((film - low) / (high - low), 0, 1) ** 0.8 * 255).astype(np.uint8)
                )
                sized = grey.resize(
                    (round(film.shape[1] * pixel), round(film.shape[0] * thickness)),
                    Image.Resampling.BICUBIC,
                )
                yield Picture(
                    kind if "lung" in file.name else "other part", file.name, radiograph.read(sized)
                )
            # The window in which lungs are looked at.
            volume = np.clip(volume, -1350, 450)
        for share in (0.2, 0.35, 0.5, 0.65, 0.8):
            piece = volume[int(len(volume) * share)]
            if min(piece.shape) >= _LEAST_SIDE:
                yield Picture("modality", file.name, radiograph.read(piece))


def _inv3(file: Path) -> tuple[np.ndarray, tuple[float, float]]:
    with tarfile.open(file) as archive:
        members = {Path(member.name).name: member for member in archive.getmembers()}

        def content(name: str) -> bytes:
            stream = archive.extractfile(members[name])
            return stream.read() if stream else b""

        facts = plistlib.loads(content("main.plist"))
        volume = np.frombuffer(
            content(facts["matrix"]["filename"]), facts["matrix"]["dtype"]
        ).reshape(facts["matrix"]["shape"])
    # Slices from the neck up, as NRRD has them.
    return volume, (float(facts["spacing"][2]), float(facts["spacing"][0]))


def _nrrd(file: Path) -> tuple[np.ndarray, tuple[float, float]]:
    head, _, body = file.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
    numbers = {
        "short": "<i2",
        "int": "<i4",
        "unsigned char": "u1",
        "unsigned short": "<u2",
        "float": "<f4",
        "double": "<f8",
    }
    values = np.frombuffer(
        zlib.decompress(body, 31) if fields["encoding"] in ("gzip", "gz") else body,
        numbers[fields["type"]],
    )
    directions = [
        [float(number) for number in vector.strip("()").split(",")]
        for vector in fields["space directions"].split()
    ]
    return values.reshape([int(size) for size in fields["sizes"].split()][::-1]), (
        abs(directions[2][2]),
        abs(directions[0][0]),
    )


def vary_picture(picture: Picture, rng: np.random.Generator) -> Picture:
    """A grey part of a picture: a third of it or more, turned by quarters, mirrored, of another
    exposure, black and white swapped one time in eight.
    """
    pixels = picture.radiograph.pixels
    share = np.sqrt(rng.uniform(0.35, 1))
    height, width = (max(_LEAST_SIDE, round(side * share)) for side in pixels.shape)
    top, left = (
        int(rng.integers(0, max(1, side - length + 1)))
        for side, length in zip(pixels.shape, (height, width), strict=True)
    )
    part = np.rot90(
        pixels[top : top + height, left : left + width],
        int(rng.integers(4)) if rng.random() < 0.5 else 0,
    )
    part = (255 * (part[:, ::-1] / 255) ** np.exp(rng.uniform(-0.5, 0.5))).astype(np.uint8)
    return Picture(
        picture.kind, picture.source, radiograph.read(255 - part if rng.random() < 0.125 else part)
    )


def draw_pictures(count: int, seed: int) -> Iterator[Picture]:
    """``count`` drawn pictures; see :func:`tools.input_check.drawings.draw`."""
    for kind, pixels in drawings.draw(count, seed):
        yield Picture(kind, "drawn", radiograph.read(pixels))
