from __future__ import annotations

import base64
import contextlib
import io
import math
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l4gm.datagen.gltf import load_gltf
from l4gm.datagen.gltf_animation import Channel, sample
from l4gm.errors import InputError


def points_at(scene, seconds, animation=0):
    return scene.animated_mesh(animation, seconds, 1, 24.0).positions[0]


def test_a_triangle_under_nested_nodes(builder, tmp_path):
    """Scale, then rotation, then translation; a child moves in its parent's axes."""
    mesh = builder.triangle([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    quarter = math.sqrt(0.5)
    builder.append("nodes", {"children": [1], "translation": [10, 0, 0], "scale": [2, 2, 2]})
    builder.append(
        "nodes", {"mesh": mesh, "rotation": [0, 0, quarter, quarter], "translation": [0, 1, 0]}
    )
    scene = load_gltf(builder.write(tmp_path))
    assert scene.name == "model"
    assert scene.num_triangles == 1
    points = scene.animated_mesh(None, 0.0, 2, 24.0).positions
    np.testing.assert_allclose(points[0], [[10, 2, 0], [10, 4, 0], [8, 2, 0]], atol=1e-6)
    np.testing.assert_array_equal(points[0], points[1])


def test_matrix_nodes_are_column_major(builder, tmp_path):
    matrix = np.eye(4)
    matrix[:3, 3] = [1, 2, 3]
    builder.append("nodes", {"mesh": builder.triangle(), "matrix": matrix.T.reshape(-1).tolist()})
    points = load_gltf(builder.write(tmp_path)).animated_mesh(None, 0, 1, 24).positions[0]
    np.testing.assert_allclose(points[0], [1, 2, 3])


def test_only_the_default_scene_shows(builder, tmp_path):
    for x in (0, 5):
        builder.append("nodes", {"mesh": builder.triangle(), "translation": [x, 0, 0]})
    builder.document["scenes"] = [{"nodes": [0]}, {"nodes": [1]}]
    builder.document["scene"] = 1
    scene = load_gltf(builder.write(tmp_path))
    assert scene.num_triangles == 1
    assert scene.animated_mesh(None, 0, 1, 24).positions[0, 0, 0] == 5


def test_linear_translation_and_wrap_around(builder, tmp_path):
    builder.append("nodes", {"mesh": builder.triangle()})
    builder.animate(0, "translation", [0, 1, 2], [[0, 0, 0], [1, 0, 0], [1, 4, 0]])
    scene = load_gltf(builder.write(tmp_path))
    assert scene.animations[0].duration_seconds == 2
    mesh = scene.animated_mesh(0, 0.25, 4, 2.0)
    expected = [[0.25, 0, 0], [0.75, 0, 0], [1, 1, 0], [1, 3, 0]]
    np.testing.assert_allclose(mesh.positions[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(points_at(scene, 2.25), mesh.positions[0], atol=1e-6)


def test_time_counts_from_the_first_key(builder, tmp_path):
    builder.append("nodes", {"mesh": builder.triangle()})
    builder.animate(0, "translation", [100, 102], [[3, 0, 0], [4, 0, 0]])
    scene = load_gltf(builder.write(tmp_path))
    assert scene.animations[0].duration_seconds == 2
    assert points_at(scene, 0.0)[0, 0] == 3
    assert points_at(scene, 1.0)[0, 0] == 3.5


def test_before_the_first_key_its_value_holds(builder, tmp_path):
    """Of a channel that begins later than another."""
    builder.append("nodes", {"mesh": builder.triangle()})
    builder.animate(0, "translation", [1, 2], [[3, 0, 0], [4, 0, 0]])
    builder.animate(0, "scale", [0, 2], [[1, 1, 1], [1, 1, 1]])
    first, second = builder.document["animations"]
    first["samplers"] += second["samplers"]
    first["channels"].append({**second["channels"][0], "sampler": 1})
    assert points_at(load_gltf(builder.write(tmp_path)), 0.2)[0, 0] == 3


def test_step_jumps_at_its_keys(builder, tmp_path):
    builder.append("nodes", {"mesh": builder.triangle()})
    builder.animate(0, "translation", [0, 1, 2], [[0, 0, 0], [1, 0, 0], [2, 0, 0]], "STEP")
    scene = load_gltf(builder.write(tmp_path))
    assert [points_at(scene, t)[0, 0] for t in (0.0, 0.99, 1.0, 1.99)] == [0, 0, 1, 1]


def test_rotations_turn_at_even_speed_the_short_way(builder, tmp_path):
    """Slerp: a third of the time is a third of the angle, also where the sign flips."""
    mesh = builder.triangle([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    builder.append("nodes", {"mesh": mesh})
    half = math.radians(150) / 2
    builder.animate(0, "rotation", [0, 3], [[0, 0, 0, 1], [0, 0, -math.sin(half), -math.cos(half)]])
    scene = load_gltf(builder.write(tmp_path))
    for seconds, degrees in ((0.0, 0), (1.0, 50), (2.0, 100), (2.4, 120)):
        angle = math.radians(degrees)
        np.testing.assert_allclose(
            points_at(scene, seconds)[0], [math.cos(angle), math.sin(angle), 0], atol=1e-5
        )


def test_cubicspline_reproduces_a_cubic():
    """A Hermite spline with the right tangents is exact for polynomials of degree 3."""
    keys = np.array([0.0, 0.7, 2.0, 2.5])
    polynomial = np.polynomial.Polynomial([1.0, -2.0, 3.0, -0.8])
    slope = polynomial.deriv()
    values = np.stack([slope(keys), polynomial(keys), slope(keys)], 1)[..., None]
    channel = Channel(0, "translation", "CUBICSPLINE", keys, values)
    times = np.linspace(0, 2.5, 40)
    np.testing.assert_allclose(sample(channel, times)[:, 0], polynomial(times), atol=1e-12)


def test_cubicspline_uses_the_tangents_of_its_own_sides(builder, tmp_path):
    """In-tangents differ from out-tangents: a corner at the middle key."""
    builder.append("nodes", {"mesh": builder.triangle()})
    out, stay, into = [3, 0, 0], [0, 0, 0], [-3, 0, 0]
    values = [stay, [0, 0, 0], out, into, [0, 0, 0], stay, stay, [0, 0, 0], stay]
    builder.animate(0, "translation", [0, 1, 2], values, "CUBICSPLINE")
    scene = load_gltf(builder.write(tmp_path))
    assert points_at(scene, 0.5)[0, 0] == pytest.approx(0.75)  # (3 - -3) / 8
    assert points_at(scene, 1.5)[0, 0] == pytest.approx(0.0)


def test_cubicspline_rotations_are_unit(builder, tmp_path):
    builder.append("nodes", {"mesh": builder.triangle([[1, 0, 0], [0, 1, 0], [0, 0, 1]])})
    zero = [0, 0, 0, 0]
    builder.animate(
        0, "rotation", [0, 1], [zero, [0, 0, 0, 1], zero, zero, [0, 0, 1, 0], zero], "CUBICSPLINE"
    )
    middle = points_at(load_gltf(builder.write(tmp_path)), 0.5)
    np.testing.assert_allclose(middle[0], [0, 1, 0], atol=1e-6)


def skinned(builder):
    """A strip of four points on two joints, the upper joint turning by 90 degrees over a second."""
    joints = builder.accessor([[0, 1, 0, 0]] * 4, np.uint8)
    weights = builder.accessor([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]])
    mesh = builder.triangle(
        [[0, 0, 0], [0, 1, 0], [0, 2, 0], [1, 0, 0]],
        attributes={"JOINTS_0": joints, "WEIGHTS_0": weights},
        indices=builder.accessor([0, 1, 2, 0, 1, 3], np.uint16),
    )
    bind = np.tile(np.eye(4), (2, 1, 1))
    bind[1, 1, 3] = -1.0  # the second joint sits at y = 1
    matrices = builder.accessor(bind.transpose(0, 2, 1).reshape(2, 16))
    skin = builder.append("skins", {"joints": [1, 2], "inverseBindMatrices": matrices})
    builder.append("nodes", {"mesh": mesh, "skin": skin, "translation": [100, 0, 0]})
    builder.append("nodes", {"children": [2]})
    builder.append("nodes", {"translation": [0, 1, 0]})
    builder.document["scenes"] = [{"nodes": [0, 1]}]
    quarter = math.sqrt(0.5)
    builder.animate(2, "rotation", [0, 1], [[0, 0, 0, 1], [0, 0, quarter, quarter]])
    return builder


def test_skinning(builder, tmp_path):
    """Joints place the vertices; the mesh's own node does not; weights are scaled to sum to 1."""
    scene = load_gltf(skinned(builder).write(tmp_path))
    rest, turned = points_at(scene, 0.0), points_at(scene, 0.99999)
    np.testing.assert_allclose(rest, [[0, 0, 0], [0, 1, 0], [0, 2, 0], [1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(turned, [[0, 0, 0], [0, 1, 0], [-1, 1, 0], [1, 0, 0]], atol=1e-4)


def test_nan_weights_count_as_none(builder, tmp_path):
    skinned(builder)
    weights = np.frombuffer(builder.binary, np.float32)
    start = builder.document["bufferViews"][1]["byteOffset"] // 4
    changed = weights.copy()
    changed[start + 12 : start + 16] = np.nan
    builder.binary = changed.tobytes()
    rest = points_at(load_gltf(builder.write(tmp_path)), 0.0)
    np.testing.assert_allclose(rest[3], [1, 0, 0], atol=1e-6)


def test_morph_targets(builder, tmp_path):
    up = builder.accessor([[0, 1, 0]] * 3)
    forward = builder.accessor([[0, 0, 1]] * 3)
    mesh = builder.triangle(targets=[{"POSITION": up}, {"NORMAL": up}, {"POSITION": forward}])
    builder.document["meshes"][mesh]["weights"] = [0.5, 1, 0]
    builder.append("nodes", {"mesh": mesh})
    builder.animate(0, "weights", [0, 1], [0, 0, 0, 1, 0, 2])
    scene = load_gltf(builder.write(tmp_path))
    still = scene.animated_mesh(None, 0, 1, 24).positions[0]
    np.testing.assert_allclose(still[0], [0, 0.5, 0])
    np.testing.assert_allclose(points_at(scene, 0.5)[0], [0, 0.5, 1.0], atol=1e-6)


def test_morph_weights_with_cubicspline(builder, tmp_path):
    """Per key: in-tangents of all targets, then their values, then their out-tangents."""
    mesh = builder.triangle(
        targets=[{"POSITION": builder.accessor([v] * 3)} for v in ([1.0, 0, 0], [0, 1.0, 0])]
    )
    builder.append("nodes", {"mesh": mesh})
    values = [0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0]
    builder.animate(0, "weights", [0, 1], values, "CUBICSPLINE")
    scene = load_gltf(builder.write(tmp_path))
    np.testing.assert_allclose(points_at(scene, 0.0)[0], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(points_at(scene, 0.5)[0], [0.5, 0.5, 0], atol=1e-6)


def test_colours_are_encoded_as_srgb(builder, tmp_path):
    """Factor 0.2140 and vertex colour 128/255 are linear; pictures hold 0.5 and 0.737."""
    colors = builder.accessor([[128, 255, 0, 255]] * 3, np.uint8, normalized=True)
    mesh = builder.triangle(attributes={"COLOR_0": colors}, material=0)
    factor = {"baseColorFactor": [0.2140, 0.2140, 1.0, 1.0]}
    builder.append("materials", {"pbrMetallicRoughness": factor})
    builder.append("nodes", {"mesh": mesh})
    surface = load_gltf(builder.write(tmp_path)).surface
    np.testing.assert_allclose(surface.colors[0], [0.5 * 0.7369, 0.5, 0.0], atol=1e-3)
    assert surface.face_textures[0] == -1


def textured(builder, pixels, sampler=None, extension=None, **material):
    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(stream, "PNG")
    builder.append(
        "images", {"bufferView": builder.view(stream.getvalue()), "mimeType": "image/png"}
    )
    texture = {"source": 0}
    if sampler:
        texture["sampler"] = builder.append("samplers", sampler)
    builder.append("textures", texture)
    reference = (
        {"index": 0, "extensions": {"KHR_texture_transform": extension}}
        if extension
        else {"index": 0}
    )
    builder.append(
        "materials", {"pbrMetallicRoughness": {"baseColorTexture": reference}, **material}
    )
    uv = builder.accessor([[0, 0], [1, 0], [0, 1]])
    mesh = builder.triangle(attributes={"TEXCOORD_0": uv}, material=0)
    builder.append("nodes", {"mesh": mesh})
    return builder


def test_textures_keep_their_values(builder, tmp_path):
    pixels = [[[255, 0, 0, 255], [0, 128, 0, 10]], [[0, 0, 255, 200], [1, 2, 3, 0]]]
    surface = load_gltf(textured(builder, pixels).write(tmp_path)).surface
    np.testing.assert_array_equal(surface.textures[0][..., :3], np.array(pixels)[..., :3])
    assert (surface.textures[0][..., 3] == 255).all()  # alphaMode OPAQUE ignores alpha
    np.testing.assert_allclose(surface.uv, [[0, 0], [1, 0], [0, 1]])


def test_masked_alpha_becomes_holes(builder, tmp_path):
    pixels = [[[255, 0, 0, 255], [0, 128, 0, 100]], [[0, 0, 255, 200], [1, 2, 3, 0]]]
    builder = textured(builder, pixels, alphaMode="MASK", alphaCutoff=0.3)
    alpha = load_gltf(builder.write(tmp_path)).surface.textures[0][..., 3]
    np.testing.assert_array_equal(alpha, [[255, 255], [255, 0]])


def test_texture_transform_and_mirrored_wrap(builder, tmp_path):
    extension = {"offset": [0.25, 0.0], "scale": [0.5, 1.0]}
    builder = textured(builder, np.zeros((2, 4, 3)), {"wrapS": 33648}, extension)
    surface = load_gltf(builder.write(tmp_path)).surface
    assert surface.textures[0].shape == (2, 8, 4)
    np.testing.assert_allclose(surface.uv, [[0.125, 0], [0.375, 0], [0.125, 1]], atol=1e-6)


def test_strips_fans_and_lists_without_indices(builder, tmp_path):
    square = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]
    for mode in (5, 6):
        builder.append("nodes", {"mesh": builder.triangle(square, mode=mode)})
    builder.append("nodes", {"mesh": builder.triangle(square, mode=1)})  # lines: no surface
    builder.document["scenes"] = [{"nodes": [0, 1, 2]}]
    faces = load_gltf(builder.write(tmp_path)).surface.faces
    np.testing.assert_array_equal(faces, [[0, 1, 2], [1, 3, 2], [4, 5, 6], [4, 6, 7]])


def test_interleaved_sparse_and_quantised_accessors(builder, tmp_path):
    interleaved = np.arange(24, dtype=np.float32).reshape(4, 6)
    view = builder.view(interleaved.tobytes(), byteStride=24)
    position = builder.append(
        "accessors",
        {"bufferView": view, "byteOffset": 12, "componentType": 5126, "count": 3, "type": "VEC3"},
    )
    indices = builder.view(np.array([1], np.uint16).tobytes())
    values = builder.view(np.array([[7, 8, 9]], np.float32).tobytes())
    builder.document["accessors"][position]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": indices, "componentType": 5123},
        "values": {"bufferView": values},
    }
    attributes = {"POSITION": position}
    builder.append("meshes", {"primitives": [{"attributes": attributes}]})
    builder.append("nodes", {"mesh": 0})
    quantised = builder.accessor([[-127, 0, 127]] * 3, np.int8, normalized=True)
    mesh = builder.append("meshes", {"primitives": [{"attributes": {"POSITION": quantised}}]})
    builder.append("nodes", {"mesh": mesh})
    builder.document["scenes"] = [{"nodes": [0, 1]}]
    points = load_gltf(builder.write(tmp_path)).animated_mesh(None, 0, 1, 24).positions[0]
    np.testing.assert_allclose(points[:3], [[3, 4, 5], [7, 8, 9], [15, 16, 17]])
    np.testing.assert_allclose(points[3], [-1, 0, 1])


def test_vertices_split_for_their_texture_share_a_normal(builder, tmp_path):
    points = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]
    normals = builder.accessor([[0, 0, 1]] * 5 + [[0, 1, 0]])
    builder.append("nodes", {"mesh": builder.triangle(points, attributes={"NORMAL": normals})})
    smoothing = load_gltf(builder.write(tmp_path)).surface.smoothing
    np.testing.assert_array_equal(smoothing, [0, 1, 2, 1, 2, 5])


def as_gltf(builder, folder: Path, uri: str) -> Path:
    import json

    builder.document["buffers"] = [{"byteLength": len(builder.binary), "uri": uri}]
    path = folder / "model.gltf"
    path.write_text(json.dumps(builder.document))
    return path


def test_external_and_embedded_buffers(builder, tmp_path):
    builder.append("nodes", {"mesh": builder.triangle()})
    embedded = "data:application/octet-stream;base64," + base64.b64encode(builder.binary).decode()
    assert load_gltf(as_gltf(builder, tmp_path, embedded)).num_triangles == 1
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a b.bin").write_bytes(builder.binary)
    assert load_gltf(as_gltf(builder, tmp_path, "parts/a%20b.bin")).num_triangles == 1


@pytest.mark.parametrize(
    "uri",
    [
        "../secret.bin",
        "/etc/hostname",
        "file:///etc/hostname",
        "http://x/y.bin",
        "a\\..\\..\\secret.bin",
        "\\\\host\\share.bin",
        "..%2Fsecret.bin",
        "\0",
    ],
)
def test_files_outside_the_folder_are_not_opened(builder, tmp_path, uri):
    builder.append("nodes", {"mesh": builder.triangle()})
    (tmp_path / "secret.bin").write_bytes(builder.binary)
    (tmp_path / "inner").mkdir()
    with pytest.raises(InputError, match="outside its folder"):
        load_gltf(as_gltf(builder, tmp_path / "inner", uri))


def test_links_out_of_the_folder_are_not_followed(builder, tmp_path):
    builder.append("nodes", {"mesh": builder.triangle()})
    (tmp_path / "secret.bin").write_bytes(builder.binary)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(InputError, match="outside its folder"):
        load_gltf(as_gltf(builder, tmp_path / "inner", "link.bin"))


def refused(builder, tmp_path, match):
    path = builder.write(tmp_path)
    with pytest.raises(InputError, match=match) as caught:
        load_gltf(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message


def change_accessor(**entries):
    def change(builder):
        builder.document["accessors"][0].update(entries)

    return change


def change_document(key, value):
    def change(builder):
        builder.document[key] = value

    return change


def nan_vertex(builder):
    builder.binary = np.float32([np.nan]).tobytes() + builder.binary[4:]


def own_ancestor(builder):
    builder.append("nodes", {"children": [2]})
    builder.append("nodes", {"children": [1]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_accessor(count=10**12), "at most"),
        (change_accessor(count=4), r"needs 48 of 36 bytes"),
        (change_accessor(count=-1), "whole number"),
        (change_accessor(count="three"), "whole number"),
        (change_accessor(count=0), "no triangles"),
        (change_accessor(count=2), "no triangles"),
        (change_accessor(byteOffset=8), "bytes"),
        (change_accessor(componentType=5130), "component type"),
        (change_accessor(type="MAT9"), "MAT9"),
        (change_accessor(type="SCALAR"), "expected VEC3"),
        (change_accessor(bufferView=9), r"bufferViews\[9\]"),
        (change_accessor(sparse={"count": 1}), "malformed"),
        (change_document("meshes", []), r"meshes\[0\]"),
        (change_document("meshes", 5), r"meshes\[0\]"),
        (change_document("nodes", [{"mesh": 0, "translation": [1, 2]}]), "malformed"),
        (change_document("nodes", [{"mesh": 0, "scale": [1, 2, float("nan")]}]), "not finite"),
        (change_document("nodes", [{"mesh": "0"}]), "meshes"),
        (change_document("nodes", [{}]), "no triangles"),
        (change_document("nodes", [{"children": [1, 1]}, {"mesh": 0}]), "two parents"),
        (change_document("nodes", [{"mesh": 0, "skin": 3}]), None),
        (change_document("scene", 7), r"scenes\[7\]"),
        (change_document("asset", {"version": "1.0"}), "version 1.0"),
        (change_document("asset", {}), "version unknown"),
        (change_document("extensionsRequired", ["KHR_draco_mesh_compression"]), "Draco"),
        (change_document("skins", [{"joints": [99]}]), r"nodes\[99\]"),
        (nan_vertex, "not finite"),
        (own_ancestor, "own ancestors"),
    ],
)
def test_broken_documents_are_refused_in_one_line(builder, tmp_path, change, message):
    builder.append("nodes", {"mesh": builder.triangle()})
    change(builder)
    if message is None:  # unused entries may be wrong
        assert load_gltf(builder.write(tmp_path)).num_triangles == 1
    else:
        refused(builder, tmp_path, message)


def test_animations_that_do_not_fit_are_refused(new_builder, tmp_path):
    for times, values, path, interpolation in (
        ([0, 1], [[0, 0, 0]], "translation", "LINEAR"),
        ([1, 0], [[0, 0, 0]] * 2, "translation", "LINEAR"),
        ([], np.zeros((0, 3)), "translation", "LINEAR"),
        ([0, 1], [[0, 0, 0]] * 2, "rotation", "LINEAR"),
        ([0, 1], [[0, 0, 0]] * 2, "translation", "CUBICSPLINE"),
        ([0, np.nan], [[0, 0, 0]] * 2, "translation", "LINEAR"),
        ([0, 1], [[0, 0, 0]] * 2, "translation", "CIRCULAR"),
    ):
        builder = new_builder()
        builder.append("nodes", {"mesh": builder.triangle()})
        builder.animate(0, path, times, values, interpolation)
        refused(builder, tmp_path, "animation|finite")


def test_joints_that_do_not_exist_are_refused(builder, tmp_path):
    skinned(builder)
    builder.binary = b"\7\0\0\0" + builder.binary[4:]
    refused(builder, tmp_path, "joint 7, of 2 joints")


def test_a_pose_that_overflows_is_refused(builder, tmp_path):
    builder.append("nodes", {"mesh": builder.triangle(), "scale": [1e300] * 3})
    scene = load_gltf(builder.write(tmp_path))
    with pytest.raises(InputError, match="not finite"):
        scene.animated_mesh(None, 0, 1, 24)


def test_too_many_triangles_are_refused(builder, tmp_path, monkeypatch):
    monkeypatch.setattr("l4gm.datagen.gltf.MAX_TRIANGLES", 1)
    for _ in range(2):
        builder.append("nodes", {"mesh": builder.triangle()})
    builder.document["scenes"] = [{"nodes": [0, 1]}]
    refused(builder, tmp_path, "more than 1 triangles")


def test_damaged_pictures_are_left_out_with_a_note(builder, tmp_path):
    textured(builder, np.zeros((8, 8, 3)))
    start = builder.document["bufferViews"][0]["byteOffset"]
    builder.binary = builder.binary[: start + 30] + b"\7" * 20 + builder.binary[start + 50 :]
    scene = load_gltf(builder.write(tmp_path))
    assert scene.surface.face_textures.tolist() == [-1]
    (note,) = scene.notes
    assert "picture in images[0]; that texture was left out" in note


def test_required_extensions_are_refused_by_name(new_builder, tmp_path):
    for name, words in (
        ("ACME_geometry", "needs the extension ACME_geometry"),
        ("KHR_texture_basisu", "needs Basis textures"),
        ("EXT_meshopt_compression", "needs meshopt"),
        ("KHR_meshopt_compression", "needs meshopt"),
        ({"not": "a name"}, "needs the extension"),
        (7, "needs the extension 7"),
    ):
        builder = new_builder()
        builder.append("nodes", {"mesh": builder.triangle()})
        builder.document["extensionsRequired"] = [name]
        refused(builder, tmp_path, words)


def test_basis_textures_without_another_are_refused_by_name(builder, tmp_path):
    textured(builder, np.zeros((2, 2, 3)))
    builder.document["textures"] = [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]
    refused(builder, tmp_path, "needs Basis textures")


def test_alpha_is_texture_times_factor_times_vertex(new_builder, tmp_path):
    """Two triangles, the second of a vertex alpha of 0.4; a texture of four alphas."""
    pixels = np.full((2, 2, 4), 255)
    pixels[..., 3] = [[255, 200], [150, 100]]
    for mode, factor, expected_faces, expected_holes in (
        ({"alphaMode": "MASK"}, 1.0, 1, [[255, 255], [255, 0]]),
        ({"alphaMode": "MASK", "alphaCutoff": 0.3}, 1.0, 2, [[255, 255], [255, 255]]),
        ({"alphaMode": "MASK"}, 0.7, 1, [[255, 255], [0, 0]]),
        ({"alphaMode": "BLEND"}, 0.7, 1, [[255, 255], [0, 0]]),
        ({"alphaMode": "OPAQUE"}, 0.1, 2, [[255, 255], [255, 255]]),
    ):
        builder = new_builder()
        textured(builder, pixels, **mode)
        base = builder.document["materials"][0]["pbrMetallicRoughness"]
        base["baseColorFactor"] = [1, 1, 1, factor]
        attributes = builder.document["meshes"][0]["primitives"][0]["attributes"]
        corners = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
        attributes["POSITION"] = builder.accessor(corners * 2)
        attributes["TEXCOORD_0"] = builder.accessor([[0, 0], [1, 0], [0, 1]] * 2)
        attributes["COLOR_0"] = builder.accessor([[1, 1, 1, 1]] * 3 + [[1, 1, 1, 0.4]] * 3)
        surface = load_gltf(builder.write(tmp_path)).surface
        assert len(surface.faces) == expected_faces, mode
        np.testing.assert_array_equal(surface.textures[0][..., 3], expected_holes, str(mode))


@pytest.mark.parametrize(
    "material",
    [
        {"alphaMode": "BLEND", "pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 0.1]}},
        {"extensions": {"KHR_materials_transmission": {"transmissionFactor": 1.0}}},
    ],
)
def test_glass_is_left_out(builder, tmp_path, material):
    builder.append("materials", material)
    builder.append("nodes", {"mesh": builder.triangle()})
    builder.append("nodes", {"mesh": builder.triangle(material=0)})
    builder.document["scenes"] = [{"nodes": [0, 1]}]
    assert load_gltf(builder.write(tmp_path)).num_triangles == 1
    builder.document["scenes"] = [{"nodes": [1]}]
    refused(builder, tmp_path, "see-through")


def emitting(builder, pixels, base_pixels=None, **material):
    """A textured triangle that emits a texture, with or without a base texture."""
    textured(builder, pixels if base_pixels is None else base_pixels, **material)
    entry = builder.document["materials"][0]
    if base_pixels is None:
        entry["emissiveTexture"] = entry["pbrMetallicRoughness"].pop("baseColorTexture")
        return
    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(stream, "PNG")
    view = builder.view(stream.getvalue())
    image = builder.append("images", {"bufferView": view, "mimeType": "image/png"})
    entry["emissiveTexture"] = {"index": builder.append("textures", {"source": image})}


def test_emitted_light_of_a_texture_shows(builder, tmp_path):
    pixels = np.array([[[250, 200, 0], [0, 0, 0]]])
    emitting(builder, pixels, emissiveFactor=[1, 1, 1])
    builder.document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [0, 0, 0, 1]
    surface = load_gltf(builder.write(tmp_path)).surface
    np.testing.assert_array_equal(surface.textures[0][..., :3], pixels)
    assert (surface.textures[0][..., 3] == 255).all()
    np.testing.assert_allclose(surface.colors, 1)


def test_the_brighter_of_base_and_emitted_light_shows(builder, tmp_path):
    """Of textures of different sizes, emission times its factor and its strength."""
    base = np.array([[[100, 10, 10], [10, 10, 100]]])
    emitting(builder, np.full((2, 4, 3), 200), base, emissiveFactor=[0.2140 / 2] * 3)
    strength = {"KHR_materials_emissive_strength": {"emissiveStrength": 2.0}}
    builder.document["materials"][0]["extensions"] = strength
    texels = load_gltf(builder.write(tmp_path)).surface.textures[0]
    assert texels.shape == (2, 4, 4)
    np.testing.assert_allclose(texels[0, 0, :3], [100, 100, 100], atol=1)
    np.testing.assert_allclose(texels[1, 3, :3], [100, 100, 100], atol=1)


def test_instances_are_placed_within_their_node(builder, tmp_path):
    half = 2**-0.5
    places = {
        "TRANSLATION": builder.accessor([[1, 0, 0], [0, 2, 0]]),
        "ROTATION": builder.accessor([[0, 0, 0, 1], [0, 0, half, half]]),
        "SCALE": builder.accessor([[1, 1, 1], [2, 2, 2]]),
    }
    extension = {"EXT_mesh_gpu_instancing": {"attributes": places}}
    builder.append(
        "nodes", {"mesh": builder.triangle(), "extensions": extension, "translation": [0, 0, 5]}
    )
    builder.document["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    scene = load_gltf(builder.write(tmp_path))
    assert scene.num_triangles == 2
    points = points_at(scene, 0.0, animation=None)
    np.testing.assert_allclose(points[:3], [[1, 0, 5], [2, 0, 5], [1, 1, 5]], atol=1e-6)
    np.testing.assert_allclose(points[3:], [[0, 2, 5], [0, 4, 5], [-2, 2, 5]], atol=1e-6)


def test_invisible_nodes_hide_what_is_below_them(builder, tmp_path):
    hidden = {"extensions": {"KHR_node_visibility": {"visible": False}}}
    builder.append("nodes", {"mesh": builder.triangle()})
    builder.append("nodes", {"children": [2], **hidden})
    builder.append("nodes", {"mesh": builder.triangle()})
    for scenes in ([{"nodes": [0, 1]}], []):
        builder.document["scenes"] = scenes
        assert load_gltf(builder.write(tmp_path)).num_triangles == 1


def test_far_models_keep_their_shape(builder, tmp_path):
    builder.append("nodes", {"children": [1], "translation": [4.5e6, 5e5, -3e6]})
    builder.append("nodes", {"mesh": builder.triangle()})
    builder.animate(1, "translation", [0, 1], [[0, 0, 0], [0.01, 0, 0]])
    mesh = load_gltf(builder.write(tmp_path)).animated_mesh(0, 0.0, 2, 1.999)
    expected = [[-0.5, -0.5, 0], [0.5, -0.5, 0], [-0.5, 0.5, 0]]
    np.testing.assert_allclose(mesh.positions[0], expected, atol=1e-6)
    step = mesh.positions[1] - mesh.positions[0]
    np.testing.assert_allclose(step, [[0.005, 0, 0]] * 3, atol=1e-5)


def test_what_other_loaders_repair_is_repaired_with_a_note(new_builder, tmp_path):
    def prepared():
        builder = new_builder()
        builder.append("nodes", {"mesh": builder.triangle()})
        return builder

    def notes(builder):
        scene = load_gltf(builder.write(tmp_path))
        assert scene.num_triangles == 1
        return " ".join(scene.notes)

    assert notes(prepared()) == ""
    builder = prepared()
    content = builder.glb()
    length = int.from_bytes(content[12:16], "little")
    text = content[20 : 20 + length].rstrip() + b"\0\0\0\0"
    text += b"\0" * (-len(text) % 4)
    body = struct.pack("<2I", len(text), 0x4E4F534A) + text + content[20 + length :]
    (tmp_path / "nul.glb").write_bytes(struct.pack("<3I", 0x46546C67, 2, 12 + len(body)) + body)
    assert "zeros behind its JSON" in load_gltf(tmp_path / "nul.glb").notes[0]
    builder = prepared()
    primitive = builder.document["meshes"][0]["primitives"][0]
    primitive["indices"] = builder.accessor([0, 1, 2, 0], np.uint16)
    assert "last vertices of a triangle list" in notes(builder)
    builder = prepared()
    builder.document["meshes"][0]["weights"] = [0.5]
    builder.animate(0, "weights", [0, 1], [0, 1])
    assert "0 morph targets has 1 weights" in notes(builder)
    assert "morph weights without morph targets" in notes(builder)


def test_backslashes_in_paths(builder, tmp_path):
    builder.append("nodes", {"mesh": builder.triangle()})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "model.bin").write_bytes(builder.binary)
    scene = load_gltf(as_gltf(builder, tmp_path, "data\\model.bin"))
    assert scene.notes == ("backslashes in its paths were taken for slashes",)


CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "gltf"


@pytest.mark.parametrize(
    ("name", "triangles"),
    [
        ("glass.glb", 12),
        ("emissive_texture.glb", 12),
        ("instanced.glb", 48),
        ("far_away.glb", 12),
        ("late_keys.glb", 12),
        ("null_padded.glb", 12),
        ("backslash_path/model.gltf", 12),
        ("weights_without_targets.glb", 12),
        ("lost_texture.glb", 12),
        ("seven_indices.glb", 2),
        ("unknown_required.glb", None),
    ],
)
def test_files_that_were_rendered_wrongly_once(name, triangles):
    if not CASES.is_dir():
        pytest.skip(f"no {CASES}")
    if triangles is None:
        with pytest.raises(InputError, match="ACME_secret_geometry"):
            load_gltf(CASES / name)
        return
    scene = load_gltf(CASES / name)
    assert scene.num_triangles == triangles
    assert scene.animations[0].duration_seconds <= 2
    mesh = scene.animated_mesh(0, 0.0, 2, 8.0)
    assert 0.5 < np.ptp(mesh.positions[0], 0).max() < 20


def test_every_cut_is_refused(builder, tmp_path):
    whole = skinned(builder).glb()
    path = tmp_path / "cut.glb"
    for length in [*range(0, 64), *range(64, len(whole), 101), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            load_gltf(path)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.glb", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load_gltf(path)


@pytest.mark.filterwarnings("error")
def test_random_damage_never_raises_anything_else(builder, tmp_path):
    whole = skinned(builder).glb()
    path = tmp_path / "damaged.glb"
    generator = np.random.default_rng(0)
    loaded = 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(int(generator.integers(1, 4))):
            data[int(generator.integers(12, len(data)))] = int(generator.integers(32, 127))
        path.write_bytes(data)
        with contextlib.suppress(InputError):
            scene = load_gltf(path)
            if scene.animations:
                scene.animated_mesh(0, 0.3, 2, 24.0)
            loaded += 1
    assert 0 < loaded < 150


@pytest.mark.slow
def test_a_folder_of_real_models():
    """Every model of the folder L4GM_MODELS loads, and every animation of it poses."""
    folder = os.environ.get("L4GM_MODELS")
    if not folder:
        pytest.skip("set L4GM_MODELS to a folder of animated .glb files")
    for path in sorted(Path(folder).glob("*.glb")):
        scene = load_gltf(path)
        for index in range(len(scene.animations)):
            scene.animated_mesh(index, 0.0, 1, 24.0)
