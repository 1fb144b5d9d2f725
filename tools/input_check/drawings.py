"""Pictures drawn with a pen that are no chest X-rays: text, windows, plots, noise, and other parts
of the body as a child would draw them.

No film of a hand or a side view of a chest comes with any package. These stand in for them where
the input check is fitted; how well it then does on real ones is measured as far as it can be
(:func:`tools.input_check.pictures.project_volumes`) and is otherwise not known.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFilter, ImageFont


def draw(count: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """``count`` pictures, kind by kind in turn, each with its kind and uint8 ``(H, W)``; another
    ``seed`` draws others.
    """
    rng = np.random.default_rng(seed)
    pens: list[tuple[str, Callable[[np.random.Generator], np.ndarray]]] = [
        ("screenshot", _text),
        ("screenshot", _window),
        ("screenshot", _plot),
        ("nothing", _noise),
        ("nothing", _gradient),
        ("other part", _limb),
        ("other part", _hand),
        ("other part", _head),
        ("lateral", _lateral),
    ]
    for index in range(count):
        kind, pen = pens[index % len(pens)]
        yield kind, pen(rng).astype(np.uint8)


def _canvas(rng: np.random.Generator) -> tuple[Image.Image, ImageDraw.ImageDraw, int, int]:
    paper, ink = ((255, 0), (245, 40), (30, 220), (0, 255))[rng.integers(4)]
    image = Image.new("L", (int(rng.integers(300, 900)), int(rng.integers(300, 900))), paper)
    return image, ImageDraw.Draw(image), paper, ink


def _words(rng: np.random.Generator, letters: int) -> str:
    return " ".join(
        "".join(chr(97 + int(code)) for code in rng.integers(0, 26, rng.integers(2, 11)))
        for _ in range(letters // 6 + 1)
    )[:letters]


def _text(rng: np.random.Generator) -> np.ndarray:
    image, draw, _, ink = _canvas(rng)
    size = int(rng.integers(10, 40))
    margin, line = int(rng.integers(5, 60)), round(size * rng.uniform(1.1, 2))
    for y in range(margin, image.height - margin, line):
        letters = int(rng.uniform(0.3, 1) * (image.width - 2 * margin) / (0.5 * size))
        if letters > 2 and rng.random() < 0.9:
            draw.text(
                (margin, y), _words(rng, letters), fill=ink, font=ImageFont.load_default(size)
            )
    return np.asarray(image)


def _window(rng: np.random.Generator) -> np.ndarray:
    image, draw, paper, ink = _canvas(rng)
    for _ in range(rng.integers(4, 25)):
        x, y = int(rng.integers(0, image.width - 40)), int(rng.integers(0, image.height - 30))
        box = (
            x,
            y,
            x + int(rng.integers(30, image.width // 2)),
            y + int(rng.integers(12, image.height // 3)),
        )
        draw.rounded_rectangle(
            box,
            int(rng.integers(0, 12)),
            fill=int(rng.choice([paper, 128, int(rng.integers(256))])),
            outline=int(rng.integers(256)),
        )
        draw.text(
            (x + 6, y + 4),
            _words(rng, int(rng.integers(3, 30))),
            fill=ink,
            font=ImageFont.load_default(int(rng.integers(9, 22))),
        )
    return np.asarray(image)


def _plot(rng: np.random.Generator) -> np.ndarray:
    figure = Figure(figsize=(float(rng.uniform(3, 7)), float(rng.uniform(3, 7))), dpi=80)
    axes = figure.subplots()
    for _ in range(rng.integers(1, 5)):
        values = np.cumsum(rng.normal(size=60))
        (axes.plot, axes.bar, axes.scatter)[rng.integers(3)](np.arange(60), values)
    axes.set_title(_words(rng, 20))
    canvas = FigureCanvasAgg(figure)
    stream = io.BytesIO()
    canvas.print_png(stream)
    with Image.open(stream) as image:
        return np.asarray(image.convert("L"))


def _noise(rng: np.random.Generator) -> np.ndarray:
    # Its power falls as a power of the frequency: 0 is white, -2 is like clouds or terrain.
    side = 256
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij"))
    frequency[0, 0] = 1
    values = np.fft.ifft2(
        np.fft.fft2(rng.normal(size=(side, side))) * frequency ** -rng.uniform(0, 2)
    ).real
    return _grey(values, rng)


def _gradient(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:256, 0:256] / 256 - 0.5
    values = rng.normal() * x + rng.normal() * y
    for _ in range(rng.integers(0, 4)):
        values = values + rng.normal() * np.exp(
            -((x - rng.uniform(-0.5, 0.5)) ** 2 + (y - rng.uniform(-0.5, 0.5)) ** 2)
            / rng.uniform(0.01, 0.3)
        )
    return _grey(values + rng.uniform(0, 0.03) * rng.normal(size=values.shape), rng)


def _grey(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    low, high = np.percentile(values, (1, 99))
    return 255 * np.clip((values - low) / max(high - low, 1e-6), 0, 1) ** np.exp(
        rng.uniform(-0.5, 0.5)
    )


def _film(image: Image.Image, rng: np.random.Generator) -> np.ndarray:
    # The blur and grain of a film, so that it is not by sharpness that a drawing is told.
    soft = np.asarray(
        image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.5, 4)))), np.float64
    )
    return np.clip(soft + rng.normal(0, rng.uniform(1, 6), soft.shape), 0, 255)


def _bone(
    draw: ImageDraw.ImageDraw, ends: np.ndarray, width: float, flesh: float, grey: int
) -> None:
    (x0, y0), (x1, y1) = ends
    draw.line((x0, y0, x1, y1), fill=grey // 2, width=round(width * flesh))
    draw.line((x0, y0, x1, y1), fill=grey, width=round(width))
    for x, y in ends:
        draw.ellipse(
            (x - 0.75 * width, y - 0.75 * width, x + 0.75 * width, y + 0.75 * width), fill=grey
        )


def _limb(rng: np.random.Generator) -> np.ndarray:
    """A knee or an elbow: two long bones that meet, one or two films of it side by side."""
    image = Image.new("L", (400, 480), int(rng.integers(0, 25)))
    draw = ImageDraw.Draw(image)
    for centre in (200,) if rng.random() < 0.6 else (110, 290):
        joint = np.array([centre + rng.normal(0, 15), rng.uniform(190, 290)])
        for end in ((centre + rng.normal(0, 40), -20), (centre + rng.normal(0, 40), 500)):
            _bone(
                draw,
                np.array([joint, end]),
                rng.uniform(28, 55),
                rng.uniform(2.2, 3.2),
                int(rng.integers(150, 240)),
            )
    return np.rot90(_film(image, rng), int(rng.integers(4)))


def _hand(rng: np.random.Generator) -> np.ndarray:
    image = Image.new("L", (400, 480), int(rng.integers(0, 25)))
    draw = ImageDraw.Draw(image)
    grey, width = int(rng.integers(150, 240)), rng.uniform(12, 20)
    draw.rounded_rectangle((120, 230, 290, 400), 40, fill=grey // 2)
    _bone(draw, np.array([(205, 400), (205, 500)]), 2 * width, 2.2, grey)
    for finger in range(5):
        start, angle = (
            np.array([140 + 32 * finger, 330.0]),
            (finger - 2) * 0.22 + rng.normal(0, 0.05),
        )
        for length in (90, 70, 45, 35)[: 4 if finger else 3]:
            end = start + 0.95 * length * np.array([np.sin(angle), -np.cos(angle)])
            _bone(draw, np.array([start, end]), width, 2.4, grey)
            start = end
    return np.rot90(_film(image, rng), int(rng.integers(4)))


def _head(rng: np.random.Generator) -> np.ndarray:
    image = Image.new("L", (400, 460), int(rng.integers(0, 25)))
    draw = ImageDraw.Draw(image)
    width, height, grey = rng.uniform(120, 160), rng.uniform(150, 190), int(rng.integers(90, 150))
    draw.ellipse(
        (200 - width, 220 - height, 200 + width, 220 + height),
        fill=grey,
        outline=240,
        width=int(rng.integers(8, 18)),
    )
    draw.rectangle((150, 350, 250, 470), fill=grey - 20)
    for side in (-1, 1) if rng.random() < 0.5 else (1,):
        x = 200 + side * width * 0.45
        draw.ellipse((x - 40, 200, x + 40, 265), fill=grey // 2, outline=220, width=6)
    for row in range(2):
        for tooth in range(8):
            draw.rectangle(
                (140 + 15 * tooth, 330 + 22 * row, 152 + 15 * tooth, 348 + 22 * row), fill=235
            )
    return _film(image, rng)


def _lateral(rng: np.random.Generator) -> np.ndarray:
    """A chest from the side: one lung before the spine, the heart in front, two domes below, an arm
    above.
    """
    image = Image.new("L", (400, 460), int(rng.integers(0, 25)))
    draw = ImageDraw.Draw(image)
    grey = int(rng.integers(130, 180))
    draw.polygon(
        [(150, 0), (310, 0), (370, 130), (375, 460), (60, 460), (40, 260), (90, 120)], fill=grey
    )
    draw.ellipse((90 + rng.normal(0, 10), 60, 320 + rng.normal(0, 10), 400), fill=grey // 3)
    draw.line(
        [(300, 0), (330, 150), (335, 300), (310, 460)],
        fill=min(255, grey + 60),
        width=int(rng.integers(35, 60)),
    )
    draw.ellipse((80, 200 + rng.normal(0, 15), 220, 370), fill=grey + 40)
    for offset in (0, int(rng.integers(10, 40))):
        draw.chord((60, 320 + offset, 380, 620 + offset), 180, 360, fill=grey + 50)
    picture = _film(image, rng)
    return picture[:, ::-1] if rng.random() < 0.5 else picture
