"""Colours and patterns of procedural objects: palettes, and small repeating textures."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TEXTURE_PX = 64
SURFACE_PX = 128
Color = NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """The look of a part.

    Args:
        base, tip: [3] display colours at the part's base and tip, blended along it; they multiply
            the texture.
        texture: index into the looks' textures, -1 for none.
        repeats: how often the texture repeats around and along the part.
    """

    base: Color
    tip: Color
    texture: int = -1
    repeats: tuple[int, int] = (1, 1)


def random_palette(generator: np.random.Generator) -> list[Color]:
    """Five colours that go together: main, second, accent, light, dark.

    The mood is natural (browns, tans, greys with a colour), vivid, muted or pastel.
    """
    hue = generator.random()
    mood = generator.choice(4, p=[0.35, 0.3, 0.2, 0.15])
    if mood == 0:
        hue = generator.uniform(0.02, 0.14)
    low, high = ((0.1, 0.6), (0.6, 1.0), (0.1, 0.45), (0.15, 0.4))[mood]
    darkest = (0.2, 0.4, 0.25, 0.75)[mood]

    def color(hue: float, saturation: float, value: float) -> Color:
        jitter = generator.normal(0, 0.03, 3)
        rgb = colorsys.hsv_to_rgb(hue % 1.0, float(np.clip(saturation, 0, 1)), value)
        return np.clip(np.array(rgb) + jitter, 0.02, 1.0)

    def matching(hue: float) -> Color:
        return color(hue, generator.uniform(low, high), generator.uniform(darkest, 1.0))

    scheme = generator.choice([0.03, 0.08, 0.33, 0.5], p=[0.4, 0.3, 0.15, 0.15])
    accent = color(generator.random(), generator.uniform(0.5, 1.0), generator.uniform(0.6, 1.0))
    light = color(hue + 0.05, 0.15 * generator.random(), generator.uniform(0.8, 1.0))
    dark = color(hue + scheme, 0.5 * generator.random(), generator.uniform(0.05, 0.3))
    return [matching(hue), matching(hue + scheme), accent, light, dark]


class Looks:
    """The materials and textures of one object."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self.palette = random_palette(generator)
        self.materials: list[Material] = []
        self.textures: list[NDArray[np.uint8]] = []

    def _add(self, material: Material) -> int:
        self.materials.append(material)
        return len(self.materials) - 1

    def plain(self, color: Color | int, tip: Color | None = None) -> int:
        """One colour (or a palette index), or a blend from base to tip."""
        base = self.palette[color] if isinstance(color, int) else np.asarray(color, np.float64)
        return self._add(Material(base, base if tip is None else np.asarray(tip, np.float64)))

    def random(self, color: int = 0, pattern_share: float = 0.5) -> int:
        """A look built on a palette colour: plain, blended, or patterned with another colour."""
        generator = self.generator
        base = self.palette[color]
        choice = generator.random()
        if choice < pattern_share:
            other = self.palette[(color + int(generator.integers(1, 5))) % 5]
            make = random_surface if generator.random() < 0.45 else random_pattern
            self.textures.append(make(generator, base, other))
            repeats = (int(generator.integers(1, 4)), int(generator.integers(1, 4)))
            return self._add(Material(np.ones(3), np.ones(3), len(self.textures) - 1, repeats))
        if choice < pattern_share + 0.25:
            return self.plain(color, np.clip(base * generator.uniform(0.5, 1.4), 0, 1))
        return self.plain(color)

    def perforated(self, color: int = 0) -> int:
        """A look with holes: net, slats, sieve or torn cloth."""
        self.textures.append(random_holes(self.generator, self.palette[color]))
        repeats = (int(self.generator.integers(1, 3)), int(self.generator.integers(1, 3)))
        return self._add(Material(np.ones(3), np.ones(3), len(self.textures) - 1, repeats))


def random_pattern(
    generator: np.random.Generator, first: Color, second: Color
) -> NDArray[np.uint8]:
    """[64, 64, 4] a repeating picture in two colours and blends of them."""
    size = TEXTURE_PX
    y, x = np.mgrid[0:size, 0:size] / size
    kind = generator.integers(0, 8)
    count = int(generator.integers(1, 5))
    if kind == 0:  # rings
        mask = np.sin(2 * np.pi * count * y) > generator.uniform(-0.6, 0.6)
    elif kind == 1:  # stripes along
        mask = np.sin(2 * np.pi * (count + 1) * x) > generator.uniform(-0.6, 0.6)
    elif kind == 2:  # spiral stripes
        mask = np.sin(2 * np.pi * ((count + 1) * x + count * y)) > 0
    elif kind == 3:  # checks
        mask = (np.sin(2 * np.pi * (count + 1) * x) > 0) ^ (np.sin(2 * np.pi * count * y) > 0)
    elif kind == 4:  # spots
        mask = np.zeros((size, size))
        for _ in range(int(generator.integers(4, 14))):
            dx = np.abs(x - generator.random())
            dy = np.abs(y - generator.random())
            distance = np.hypot(np.minimum(dx, 1 - dx), np.minimum(dy, 1 - dy))
            mask = np.maximum(mask, distance < generator.uniform(0.04, 0.15))
    elif kind in (5, 6):  # patches, or marble
        noise = smooth_noise(generator, 2 + int(generator.integers(0, 3)))
        mask = noise > 0 if kind == 5 else 0.5 + 0.5 * np.sin(4 * noise + 2 * np.pi * count * x)
    else:  # belly: one side differs
        mask = np.clip(2.5 * np.cos(2 * np.pi * (x - 0.5)) + generator.uniform(-1.5, 0.5), 0, 1)
    mask = np.asarray(mask, np.float64)[..., None]
    grain = 1.0 + generator.uniform(0, 0.06) * generator.normal(size=(size, size, 1))
    color = (first * (1 - mask) + second * mask) * grain
    out = np.full((size, size, 4), 255, np.uint8)
    out[..., :3] = np.clip(color * 255 + 0.5, 0, 255)
    return out


def smooth_noise(generator: np.random.Generator, octaves: int) -> NDArray[np.float64]:
    """[64, 64] repeating noise of mean about 0: sines of random whole frequencies."""
    y, x = np.mgrid[0:TEXTURE_PX, 0:TEXTURE_PX] / TEXTURE_PX
    total = np.zeros((TEXTURE_PX, TEXTURE_PX))
    for _ in range(3 * octaves):
        fx, fy = generator.integers(-2 * octaves, 2 * octaves + 1, 2)
        if fx or fy:
            wave = np.sin(2 * np.pi * (fx * x + fy * y + generator.random()))
            total += wave / np.hypot(fx, fy)
    return total


def random_surface(
    generator: np.random.Generator, first: Color, second: Color
) -> NDArray[np.uint8]:
    """[128, 128, 4] a repeating picture that looks like a material, not like a drawing.

    Two colours blended by one field and lit by another, both made of noise of all sizes with the
    statistics of photographs (amplitude falling with frequency).
    """
    surface = SURFACES[int(generator.integers(len(SURFACES)))]
    mix, light = surface(generator)
    share = np.clip(mix, 0, 1)[..., None]
    color = (first * (1 - share) + second * share) * np.clip(light, 0.3, 1.7)[..., None]
    out = np.full((SURFACE_PX, SURFACE_PX, 4), 255, np.uint8)
    out[..., :3] = np.clip(color * 255 + 0.5, 0, 255)
    return out


# Surfaces: the share of the second colour, and the light, both [128, 128].
Fields = tuple[NDArray[np.float64], NDArray[np.float64]]


def _grid() -> Fields:
    """Rows and columns of a picture, in 0..1."""
    y, x = np.mgrid[0:SURFACE_PX, 0:SURFACE_PX] / SURFACE_PX
    return y, x


def stone(generator: np.random.Generator) -> Fields:
    """Stone, plaster, mottled skin."""
    rough = fractal_noise(generator, SURFACE_PX, generator.uniform(1.2, 2.2))
    return _step(rough, 0.8), 1.0 + 0.12 * rough + 0.08 * fractal_noise(generator, SURFACE_PX, 0.6)


def wood(generator: np.random.Generator) -> Fields:
    """Boards: rings that wander, with streaks."""
    rough = fractal_noise(generator, SURFACE_PX, 2.0)
    rings = np.sin(2 * np.pi * (generator.integers(2, 6) * _grid()[1] + 0.25 * rough))
    return 0.5 + 0.4 * rings, 1.0 + 0.1 * fractal_noise(generator, SURFACE_PX, 1.2, (9.0, 1.0))


def fur(generator: np.random.Generator) -> Fields:
    """Fur or grass: fine hairs along the part, in patches."""
    rough = fractal_noise(generator, SURFACE_PX, 1.6)
    hairs = fractal_noise(generator, SURFACE_PX, 0.9, (7.0, 1.0))
    return _step(rough + 0.5 * hairs, 0.6), 1.0 + 0.25 * hairs


def weave(generator: np.random.Generator) -> Fields:
    """Cloth: threads that cross, and dirt."""
    y, x = _grid()
    count = int(generator.integers(8, 17))
    over = np.sin(2 * np.pi * count * x) * np.sin(2 * np.pi * count * y)
    dirt = fractal_noise(generator, SURFACE_PX, 1.6)
    return _step(over, 0.5), 1.0 + 0.15 * np.abs(over) + 0.1 * dirt


def worn_paint(generator: np.random.Generator) -> Fields:
    """Paint that has come off in places, or rust."""
    rough = fractal_noise(generator, SURFACE_PX, 1.6)
    fine = fractal_noise(generator, SURFACE_PX, 0.6)
    bare = _step(rough + 0.3 * fine - generator.uniform(-0.5, 1.2), 0.15)
    return bare, 1.0 + (0.06 + 0.2 * bare) * fine


def scales(generator: np.random.Generator) -> Fields:
    """Scales, shingles: rows of lobes, every other one shifted."""
    y, x = _grid()
    count = int(generator.integers(4, 10))
    across = (count * x + 0.5 * (np.floor(2 * count * y) % 2)) % 1.0 - 0.5
    lobe = (2 * count * y) % 1.0 - np.sqrt(np.clip(0.25 - across**2, 0, 1))
    light = 0.85 + 0.3 * np.clip(lobe + 0.5, 0, 1)
    return _step(lobe - 0.2, 0.3), light + 0.1 * fractal_noise(generator, SURFACE_PX, 1.6)


def bricks(generator: np.random.Generator) -> Fields:
    """Bricks or tiles with joints."""
    y, x = _grid()
    count = int(generator.integers(2, 6))
    along = np.abs((count * x + 0.5 * (np.floor(2 * count * y) % 2)) % 1.0 - 0.5)
    up = np.abs((2 * count * y) % 1.0 - 0.5)
    joints = np.maximum(_step(along - 0.46, 0.04), _step(up - 0.42, 0.06))
    return joints, 1.0 + 0.15 * fractal_noise(generator, SURFACE_PX, 1.0)


SURFACES = (stone, wood, fur, weave, worn_paint, scales, bricks)


def random_holes(generator: np.random.Generator, color: Color) -> NDArray[np.uint8]:
    """[64, 64, 4] one colour with see-through places."""
    size = TEXTURE_PX
    y, x = np.mgrid[0:size, 0:size] / size
    kind, count = generator.integers(0, 4), int(generator.integers(2, 6))
    if kind == 0:  # net
        width = generator.uniform(0.15, 0.35)
        solid = ((count * (x + y)) % 1.0 < width) | ((count * (x - y)) % 1.0 < width)
    elif kind == 1:  # slats
        solid = (count * y) % 1.0 < generator.uniform(0.4, 0.75)
    elif kind == 2:  # sieve
        distance = np.hypot((count * x) % 1.0 - 0.5, (count * y) % 1.0 - 0.5)
        solid = distance > generator.uniform(0.2, 0.42)
    else:  # torn
        solid = fractal_noise(generator, size, 1.8) > generator.uniform(-1.0, -0.2)
    out = np.full((size, size, 4), 255, np.uint8)
    shade = 1.0 + 0.08 * fractal_noise(generator, size, 1.0)[..., None]
    out[..., :3] = np.clip(color * shade * 255 + 0.5, 0, 255)
    out[..., 3] = np.where(solid, 255, 0)
    return out


def fractal_noise(
    generator: np.random.Generator,
    size: int,
    falloff: float,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.float64]:
    """[size, size] repeating noise of mean 0 and deviation 1, amplitude f^-falloff at frequency f.

    Args:
        falloff: 1 looks like a photograph, 2 like clouds, 0 is white.
        stretch: of frequencies along (x, y); a large one shortens features there.
    """
    fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    distance = np.hypot(fx / stretch[0], fy / stretch[1]) * size
    distance[0, 0] = np.inf
    spectrum = generator.normal(size=(*distance.shape, 2)) @ np.array([1, 1j])
    noise = np.fft.irfft2(spectrum * distance**-falloff, (size, size))
    return (noise - noise.mean()) / noise.std()


def _step(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """0 below, 1 above 0, with a smooth rise of this width between."""
    share = np.clip(values / width + 0.5, 0, 1)
    return share * share * (3 - 2 * share)
