from __future__ import annotations

import numpy as np
import pytest

from l4gm.datagen.objects import looks, shapes
from l4gm.datagen.objects.catalogue import PLANS, build_object
from l4gm.datagen.objects.rig import PRESENT, Motions, Part, Path, Rig, Wave, rotation, turn_to
from l4gm.datagen.procedural import GENERATOR_VERSION, procedural_object

KINDS = list(PLANS)
# Seed: kind, vertices, mean and spread of the positions, mean colour.
RECORDED = {
    0: ("vehicle", 2040, 0.09872, 0.27324, 0.46725),
    1: ("arthropod", 1352, 0.10512, 0.20903, 0.56496),
    2: ("biped", 1968, 0.04468, 0.24385, 0.42429),
    3: ("quadruped", 2685, 0.01470, 0.34655, 0.49146),
    4: ("assembly", 1059, 0.08560, 0.16785, 1.00000),
    5: ("contraption", 641, -0.05809, 0.18571, 0.57946),
    6: ("blob", 772, 0.15435, 0.19033, 0.20775),
    8: ("bird", 1178, 0.17063, 0.20815, 0.46050),
    9: ("plant", 560, 0.20337, 0.22715, 0.30464),
    15: ("aircraft", 1415, 0.15362, 0.35986, 0.59505),
    18: ("fish", 1057, -0.09385, 0.23234, 0.87686),
    21: ("machine", 606, 0.11954, 0.24941, 0.36637),
    31: ("toy", 759, 0.09723, 0.21776, 0.63810),
    33: ("serpent", 1008, 0.00315, 0.23105, 0.62700),
    40: ("furniture", 814, 0.12519, 0.27166, 0.74071),
}


def test_a_seed_is_an_object():
    first, again, other = (procedural_object(seed, 3, 8.0) for seed in (5, 5, 6))
    for field in ("positions", "faces", "colors", "uv", "face_textures", "smoothing"):
        np.testing.assert_array_equal(getattr(first, field), getattr(again, field))
    assert first.positions.shape != other.positions.shape


def test_the_recorded_objects_have_not_changed():
    """Seeds define sets: if this fails, raise GENERATOR_VERSION and record the new numbers."""
    assert GENERATOR_VERSION == 3
    for seed, (kind, vertices, mean, spread, color) in RECORDED.items():
        mesh = procedural_object(seed, 2, 8.0)
        assert mesh.name == f"procedural-3-{seed}-{kind}"
        assert mesh.positions.shape[1] == vertices
        assert mesh.positions.mean() == pytest.approx(mean, abs=1e-4)
        assert mesh.positions.std() == pytest.approx(spread, abs=1e-4)
        assert mesh.colors.mean() == pytest.approx(color, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_sound(kind):
    for seed in range(6):
        mesh = procedural_object(seed, 8, 8.0, kind=kind)
        extent = np.ptp(mesh.positions.reshape(-1, 3), axis=0).max()
        assert 0.2 < extent < 4
        assert 20 <= len(mesh.faces) < 9000
        assert np.abs(mesh.positions - mesh.positions[:1]).max() > 0.01 * extent
        assert mesh.colors.min() >= 0
        assert mesh.colors.max() <= 1
        corners = mesh.positions[:, mesh.faces]
        normals = np.cross(
            corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
        )
        area = np.linalg.norm(normals, axis=-1).max(0)  # parts that come and go have none at times
        assert (area > 0).mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_parts_hang_together(kind):
    """At every moment the boxes about a part and its parent overlap, or nearly."""
    seconds = np.array([0.0, 0.3, 0.8])
    for seed in range(8):
        kit, _ = build_object(np.random.default_rng(seed), kind)
        positions = kit.rig.positions(seconds)
        size = np.ptp(np.concatenate(positions, 1), axis=1).max()
        for index, part in enumerate(kit.rig.parts):
            if part.parent < 0:
                continue
            gaps = [
                _gap(child, parent)
                for child, parent in zip(positions[index], positions[part.parent], strict=True)
            ]
            assert max(gaps) < 0.06 * size, (seed, index, max(gaps) / size)


def _gap(child: np.ndarray, parent: np.ndarray) -> float:
    """Distance between the boxes about two sets of points, 0 where they overlap."""
    apart = np.maximum(child.min(0) - parent.max(0), parent.min(0) - child.max(0))
    return float(np.linalg.norm(np.maximum(apart, 0)))


def test_motion_is_a_function_of_time():
    """8 frames a second shows every third frame of 24; a later start continues the motion."""
    for seed in range(10):
        fine = procedural_object(seed, 24, 24.0).positions
        coarse = procedural_object(seed, 8, 8.0).positions
        late = procedural_object(seed, 4, 24.0, start_seconds=0.5).positions
        np.testing.assert_allclose(coarse, fine[::3], atol=1e-6)
        np.testing.assert_allclose(late, fine[12:16], atol=1e-6)


def test_motion_is_smooth():
    """Twice the frame rate, half the step: nothing jumps."""
    for seed in range(30):
        steps = [
            np.abs(np.diff(procedural_object(seed, n, fps).positions, axis=0)).max()
            for n, fps in ((49, 48.0), (97, 96.0))
        ]
        assert steps[1] < 0.62 * steps[0]


def test_kinds_appear_in_their_shares():
    names = [procedural_object(seed, 1, 8.0).name.split("-")[-1] for seed in range(300)]
    assert set(names) == set(PLANS)
    for kind, (share, _) in PLANS.items():
        assert abs(names.count(kind) / 300 - share) < 0.07
    assert sum(share for share, _ in PLANS.values()) == pytest.approx(1)


@pytest.mark.parametrize("arguments", [(-1, 4, 8.0), (0, 0, 8.0), (0, 4, 0.0)])
def test_wrong_numbers_are_refused(arguments):
    with pytest.raises(ValueError, match="need seed"):
        procedural_object(*arguments)


@pytest.mark.parametrize(
    "shape",
    [
        shapes.ellipsoid(), shapes.ellipsoid(9, 14, 0.4, 0.5), shapes.cylinder(),
        shapes.cylinder(0.0), shapes.cylinder(1.4, 5, 1), shapes.capsule(0.5), shapes.box(3, 0.8),
        shapes.torus(0.3), shapes.blade(), shapes.lathe([0.3, 1.0, 0.5]),
        shapes.ellipsoid().faceted(), shapes.tube(0.7), shapes.tube(0.8, 8, 0.02).faceted(),
        shapes.bowl(), shapes.bowl(0.25, 14, 0.3), shapes.prism(9, 0.8), shapes.lattice(3),
        shapes.prism(5, 0.5, points=True), shapes.arch(0.3, 0.1), shapes.cut_body(0, 0.0, 0.6),
        shapes.cut_body(0, 0.8, 0.7), shapes.cut_body(1, 0.3, 0.55), shapes.cut_body(2, 0.8, 0.8),
    ],
)  # fmt: skip
def test_shapes_are_closed_and_face_outwards(shape):
    """Volume by the divergence theorem is positive, and every edge is shared by two faces."""
    low, high = shape.points.min(0), shape.points.max(0)
    np.testing.assert_allclose([low[1], high[1]], [0, 1], atol=1e-9)
    np.testing.assert_allclose(low[0], -high[0], atol=1e-9)
    a, b, c = np.moveaxis(shape.points[shape.faces], 1, 0)
    assert (np.cross(a, b) * c).sum() / 6 > 0.03
    _, place = np.unique(shape.points.round(9), axis=0, return_inverse=True)
    faces = place.reshape(-1)[shape.faces]
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = edges[edges[:, 0] != edges[:, 1]]
    directed = {tuple(edge): 0 for edge in edges.tolist()}
    for edge in edges.tolist():
        directed[tuple(edge)] += 1
    assert all(directed.get((v, u), 0) == count for (u, v), count in directed.items())


@pytest.mark.parametrize("slant", [0.0, 0.4, -1.5])
def test_a_cut_takes_off_what_the_plane_says(slant):
    """Of a ball; the volume of what is left, by samples of the ball."""
    ball = shapes.ellipsoid(24, 32)
    rest = shapes.cut(ball, (0, 1.0, slant), 0.6)
    samples = np.random.default_rng(0).uniform(-1, 1, (200_000, 3)) * [1, 0.5, 1] + [0, 0.5, 0]
    inside = (((samples - [0, 0.5, 0]) * [1, 2, 1]) ** 2).sum(1) < 1
    kept = samples[inside & (samples[:, 1] + slant * samples[:, 2] <= 0.6)]
    low, high = kept.min(0), kept.max(0)
    scale = np.array([np.abs(kept[:, 0]).max(), high[1] - low[1], np.abs(kept[:, 2]).max()])
    a, b, c = np.moveaxis(rest.points[rest.faces], 1, 0)
    volume = (np.cross(a, b) * c).sum() / 6 * np.prod(scale)
    assert volume == pytest.approx(4 * len(kept) / len(samples), rel=0.04)
    assert shapes.cut(ball, (0, 1.0, slant), 9.0) is ball


def test_a_coil_has_its_turns():
    """A line along its surface crosses the front of the axis once a turn."""
    spring = shapes.coil(5, 0.05)
    line = spring.points[: 51 * 7].reshape(51, 7, 3)[:, :6].mean(1)
    angle = np.unwrap(np.arctan2(line[:, 0], line[:, 2]))
    assert angle[-1] - angle[0] == pytest.approx(10 * np.pi, abs=0.2)
    assert (np.diff(line[:, 1]) > 0).all()


def test_reach_is_the_distance_to_the_surface():
    assert shapes.box(1).reach(np.array([1.0, 0.25, 0])) == pytest.approx(1.0)
    assert shapes.box(1).reach(np.array([0, 0, 0.1])) == pytest.approx(10.0)
    ball = shapes.ellipsoid(24, 36)
    assert ball.reach(np.array([0.6, 0.0, 0.8])) == pytest.approx(1.0, abs=0.01)
    assert shapes.cylinder(0.0, 40).reach(np.array([1.0, 0, 0])) == pytest.approx(0.5, abs=0.01)
    # Through a ring's hole there is none; along it, the outer side counts.
    assert shapes.torus(0.2).reach(np.array([0, 1.0, 0])) == 0
    assert shapes.torus(0.2).reach(np.array([0, 0, 1.0])) == pytest.approx(1.0, abs=0.01)


def test_smoothing_joins_the_seam_of_a_ball():
    ball = shapes.ellipsoid()
    seam = np.isclose(ball.uv[:, 0], 1.0)
    start = np.isclose(ball.uv[:, 0], 0.0)
    np.testing.assert_array_equal(ball.smoothing[seam], ball.smoothing[start])


def test_turn_to_points_the_y_axis():
    generator = np.random.default_rng(0)
    for goal in [*generator.normal(size=(20, 3)), np.array([0, -1.0, 0]), np.array([0, 2.0, 0])]:
        turn = turn_to(goal, 40.0)
        np.testing.assert_allclose(turn[:, 1], goal / np.linalg.norm(goal), atol=1e-9)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(turn) == pytest.approx(1)


def rod(**more):
    return Part(shape=shapes.cylinder(1.0, 8, 8), size=(0.1, 1.0, 0.1), **more)


def test_a_joint_swings_its_part():
    rig = Rig()
    rig.add(rod(joint=Wave(amplitude=90, frequency=1.0), axis=np.array([0, 0, 1.0])))
    tip = rig.positions(np.array([0.0, 0.25]))[0][:, -1]
    np.testing.assert_allclose(tip, [[0, 1, 0], [-1, 0, 0]], atol=1e-9)


def test_children_ride_on_a_bent_parent():
    """A rod bent into a quarter circle: what sits on its tip lies at (r, r) and points along +z."""
    rig = Rig()
    parent = rig.add(rod(bend=Wave(offset=90.0)))
    rig.add(rod(parent=parent, at=np.array([0, 1.0, 0])))
    parent_points, child = (p[0] for p in rig.positions(np.zeros(1)))
    radius = 2 / np.pi
    np.testing.assert_allclose(child[0], [0, radius, radius], atol=1e-9)
    np.testing.assert_allclose(child[-1], [0, radius, radius + 1], atol=1e-9)
    np.testing.assert_allclose(parent_points[-1], [0, radius, radius], atol=1e-9)


def test_children_ride_on_a_twisted_and_squashed_parent():
    rig = Rig()
    parent = rig.add(rod(twist=Wave(offset=90.0), squash=Wave(offset=0.44)))
    rig.add(rod(parent=parent, at=np.array([0.12, 1.0, 0])))
    child = rig.positions(np.zeros(1))[1][0]
    np.testing.assert_allclose(child[0], [0, 1.44, -0.1], atol=1e-9)


def test_parts_come_and_go_with_all_that_hangs_on_them():
    rig = Rig()
    body = rig.add(rod())
    there = Wave(offset=0.5, amplitude=1.5, frequency=1.0)
    part = rig.add(rod(parent=body, at=np.array([0.1, 0.5, 0.0]), presence=there))
    rig.add(rod(parent=part, at=np.array([0, 1.0, 0])))
    _, first, second = rig.positions(np.array([0.0, 0.25, 0.75]))
    sizes = [np.ptp(np.concatenate([first, second], 1)[t], axis=0) for t in range(3)]
    np.testing.assert_allclose(sizes[0], 0.5 * sizes[1], atol=1e-9)
    np.testing.assert_allclose(sizes[1], [0.2, 2.0, 0.2], atol=1e-9)
    np.testing.assert_allclose(sizes[2], 0, atol=1e-9)
    np.testing.assert_allclose(second[2], np.broadcast_to([0.1, 0.5, 0.0], second[2].shape))


def test_a_path_goes_along_the_nose():
    """Its velocity is the speed, along the heading; a whole turn leads back."""
    path = Path(speed=0.7, turn_rate=90.0)
    seconds = np.linspace(0, 4, 4001)
    turn, place = path.at(seconds)
    velocity = np.diff(place, axis=0) / np.diff(seconds)[:, None]
    np.testing.assert_allclose(velocity, 0.7 * turn[:-1, :, 2], atol=1e-3)
    np.testing.assert_allclose(place[-1], 0, atol=1e-9)
    _, hop = Path(hop=0.3, hops=2.0).at(np.array([0.0, 0.25, 0.5]))
    np.testing.assert_allclose(hop[:, 1], [0, 0.3, 0], atol=1e-9)


@pytest.mark.parametrize("period", [1.0, 2.0])
def test_looped_motion_repeats(period):
    for seed in range(12):
        kit, _ = build_object(np.random.default_rng(seed))
        kit.rig.loop(period)
        seconds = np.linspace(0.1, 0.9, 3)
        now, then = kit.rig.positions(seconds), kit.rig.positions(seconds + period)
        np.testing.assert_allclose(np.concatenate(then, 1), np.concatenate(now, 1), atol=1e-9)
        assert max(np.abs(np.diff(points, axis=0)).max() for points in now) > 1e-4


def test_sets_hold_what_the_generator_promises():
    """Of 150 seeds some travel, some come and go, some have holes, some look like photographs."""
    kits = [build_object(np.random.default_rng(seed))[0] for seed in range(150)]
    assert sum(kit.rig.path is not None for kit in kits) > 15
    assert sum(any(p.presence != PRESENT for p in kit.rig.parts) for kit in kits) > 3
    textures = [kit.looks.textures for kit in kits]
    assert sum(any((t[..., 3] == 0).any() for t in row) for row in textures) > 5
    assert sum(any(t.shape[0] == 128 for t in row) for row in textures) > 20


def test_noise_has_the_spectrum_it_is_asked_for():
    noise = looks.fractal_noise(np.random.default_rng(0), 128, 1.0)
    assert noise.std() == pytest.approx(1)
    power = np.abs(np.fft.rfft2(noise)) ** 2
    fy, fx = np.meshgrid(np.fft.fftfreq(128), np.fft.rfftfreq(128), indexing="ij")
    frequency = np.hypot(fx, fy) * 128
    low = power[(frequency > 3) & (frequency < 5)].mean()
    high = power[(frequency > 24) & (frequency < 40)].mean()
    assert low / high == pytest.approx(64, rel=0.6)  # amplitude 1 / f: power 1 / f^2, 8 times f
    stretched = looks.fractal_noise(np.random.default_rng(0), 128, 1.0, (8.0, 1.0))
    steps = [np.abs(np.diff(stretched, axis=axis)).mean() for axis in (0, 1)]
    assert steps[1] > 2 * steps[0]


@pytest.mark.parametrize("surface", looks.SURFACES, ids=lambda surface: surface.__name__)
def test_surfaces_repeat_without_a_seam(surface):
    """Across the picture's edges they change no more than elsewhere."""
    for seed in range(4):
        mix, light = surface(np.random.default_rng(seed))
        for field in (mix, light):
            assert field.shape == (128, 128)
            for axis in (0, 1):
                inner = np.abs(np.diff(field, axis=axis)).max()
                edge = np.abs(field.take(0, axis) - field.take(-1, axis)).max()
                assert edge <= 1.3 * inner + 1e-9


def test_a_pivot_stays_in_place():
    rig = Rig()
    pivot = np.array([0.0, 0.5, 0.0])
    rig.add(rod(pivot=pivot, joint=Wave(offset=180.0), axis=np.array([1.0, 0, 0])))
    points = rig.positions(np.zeros(1))[0][0]
    np.testing.assert_allclose(points[-1], [0, 0, 0], atol=1e-9)


def test_mirrored_parts_are_mirror_images():
    """With no shift in time the copy is the reflection at every moment, whatever the motions."""
    generator = np.random.default_rng(2)
    rig = Rig()
    body = rig.add(rod())

    def wave(size):
        return Wave(amplitude=size, frequency=1.3, phase=generator.random(), offset=size / 3)

    first = rig.add(
        rod(
            parent=body, at=np.array([0.1, 0.6, 0.05]), turn=turn_to((1, 0.5, 0.3), 20),
            axis=generator.normal(size=3), joint=wave(40), slide=wave(0.1),
            slide_axis=generator.normal(size=3), bend=wave(50), bend_direction_degrees=33,
            twist=wave(40), squash=wave(0.2), pivot=np.array([0.1, 0.2, 0.3]),
        )
    )  # fmt: skip
    rig.add(
        rod(parent=first, at=np.array([0, 1.0, 0.1]), turn=rotation((1, 2, 3), 50), joint=wave(30))
    )
    rig.mirror(first)
    _, a, b, mirrored_a, mirrored_b = rig.positions(np.linspace(0, 1, 5))
    for original, copy in ((a, mirrored_a), (b, mirrored_b)):
        reflected = original * [-1, 1, 1]
        for t in range(5):
            distance = np.linalg.norm(reflected[t][:, None] - copy[t][None], axis=-1)
            assert distance.min(1).max() < 1e-9


def test_a_shifted_mirror_image_moves_earlier():
    rig = Rig()
    body = rig.add(rod())
    first = rig.add(rod(parent=body, joint=Wave(amplitude=30, frequency=2.0)))
    rig.mirror(first, 0.25)
    motions = Motions.at(rig.parts, np.array([0.0, 0.125]))
    np.testing.assert_allclose(motions.joint[1, 1], motions.joint[2, 0], atol=1e-9)


def test_waves_agree_with_their_batch():
    wave = Wave(offset=1.0, amplitude=2.0, frequency=1.5, phase=0.2, harmonic=0.3, rate=4.0)
    seconds = np.linspace(0, 2, 7)
    slide = Motions.at([rod(slide=wave)], seconds).slide[0]
    np.testing.assert_allclose(slide, wave(seconds))


def test_a_part_needs_its_parent_first():
    with pytest.raises(ValueError, match="parent 3"):
        Rig().add(rod(parent=3))
