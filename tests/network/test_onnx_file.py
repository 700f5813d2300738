"""Damaged and hostile model files: nothing is read outside the folder, nothing is allocated by a declared size."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper

from distverify.errors import ModelError
from distverify.network.onnx import file
from distverify.network.onnx.importer import load_onnx
from tests.network.onnx_models import model, node, save

W = np.arange(12.0).reshape(4, 3)


def external(folder: Path, **changes: str) -> Path:
    """A model whose weight lies in "weights.bin"; ``changes`` replace entries of its external data."""
    folder.mkdir(exist_ok=True)
    proto = model([node("MatMul", "x w", "y")], {"w": W})
    tensor = proto.graph.initializer[0]
    (folder / "weights.bin").write_bytes(tensor.raw_data)
    external_data_helper.set_external_data(tensor, "weights.bin", offset=0, length=len(tensor.raw_data))
    tensor.ClearField("raw_data")
    for entry in tensor.external_data:
        entry.value = changes.pop(entry.key, entry.value)
    return save(proto, folder)


def test_external_data_in_the_folder(tmp_path: Path) -> None:
    assert load_onnx(external(tmp_path))(np.eye(4)).tolist() == W.tolist()


def test_external_data_in_a_folder_below(tmp_path: Path) -> None:
    path = external(tmp_path, location="below/weights.bin")
    (tmp_path / "below").mkdir()
    (tmp_path / "weights.bin").rename(tmp_path / "below" / "weights.bin")
    assert load_onnx(path).input_size == 4


def test_external_data_beside_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    external(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_onnx("model.onnx").input_size == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"location": "/etc/hostname"},
            "is no relative path; external data must be a file in the model's own folder",
        ),
        ({"location": ""}, "is no relative path"),
        ({"location": "C:\\weights.bin"}, "is no relative path"),
        ({"location": "../weights.bin"}, r"leaves the folder by '\.\.'"),
        ({"location": "below/../../weights.bin"}, r"leaves the folder by '\.\.'"),
        ({"location": "missing.bin"}, "is missing; put it next to the model"),
        ({"location": "."}, "cannot be read"),
        ({"offset": "8"}, "bytes 8 to 104 of weights.bin are needed, but it has 96"),
        ({"offset": "-8"}, "offset is '-8'; it must be a number of bytes"),
        ({"length": "1" * 30}, "length is '1+'; it must be a number of bytes"),
        ({"length": "8"}, r"shape \(4, 3\) needs 96 bytes, but 8 are declared"),
    ],
)
def test_external_data_attacks(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    path = external(tmp_path / "model", **changes)
    (tmp_path / "weights.bin").write_bytes(b"\0" * 96)
    with pytest.raises(ModelError, match=message):
        load_onnx(path)


@pytest.mark.parametrize("link", ["file", "folder"])
def test_links_out_of_the_folder_are_not_followed(link: str, tmp_path: Path) -> None:
    path = external(tmp_path / "model", location="link" if link == "file" else "link/secret.bin")
    (tmp_path / "secret.bin").write_bytes(b"\0" * 96)
    (tmp_path / "model" / "link").symlink_to(tmp_path / "secret.bin" if link == "file" else tmp_path)
    with pytest.raises(ModelError, match="is a link out of the folder"):
        load_onnx(path)


def test_external_data_in_a_pipe_does_not_hang(tmp_path: Path) -> None:
    path = external(tmp_path, location="pipe")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="is not a regular file"):
        load_onnx(path)


def test_external_data_cannot_be_multiplied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that all point at overlapping bytes would fill the memory from a small file."""
    path = external(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    again = proto.graph.initializer.add()
    again.CopyFrom(proto.graph.initializer[0])
    again.name = "v"
    again.external_data[1].value = "8"
    again.dims[:] = [3]
    again.external_data[2].value = "24"
    proto.graph.node.extend([node("MatMul", "x v", "z"), node("Add", "y z", "sum")])
    proto.graph.output[0].name = "sum"
    monkeypatch.setattr(file, "_MAX_SHARED_BYTES", 16)
    with pytest.raises(ModelError, match=r"initialisers overlap in weights\.bin"):
        load_onnx(save(proto, tmp_path))


def test_tied_weights_share_external_data(tmp_path: Path) -> None:
    path = external(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    again = proto.graph.initializer.add()
    again.CopyFrom(proto.graph.initializer[0])
    again.name = "v"
    proto.graph.node.extend([node("MatMul", "x v", "z"), node("Add", "y z", "sum")])
    proto.graph.output[0].name = "sum"
    x = np.ones((1, 4))
    assert load_onnx(save(proto, tmp_path, "tied.onnx"))(x) == pytest.approx(2.0 * load_onnx(path)(x))


def test_compressed(tmp_path: Path) -> None:
    plain = save(model([node("MatMul", "x w", "y")], {"w": np.ones((4, 3))}), tmp_path)
    packed = tmp_path / "model.onnx.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert load_onnx(packed).digest == load_onnx(plain).digest
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(ModelError, match="cannot be unpacked"):
        load_onnx(packed)


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_MAX_UNPACKED_BYTES", 1000)
    path = tmp_path / "model.onnx.gz"
    path.write_bytes(gzip.compress(bytes(2000)))
    with pytest.raises(ModelError, match="holds more than 1000 bytes; unpack it yourself"):
        load_onnx(path)


def function(name: str, nodes: list[onnx.NodeProto]) -> onnx.FunctionProto:
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("own", 1)]
    return onnx.helper.make_function("own", name, ["a"], ["b"], nodes, opsets)


def test_local_functions_are_written_out(tmp_path: Path) -> None:
    call = onnx.helper.make_node("Twice", ["x"], ["y"], domain="own")
    proto = model([call])
    proto.opset_import.append(onnx.helper.make_opsetid("own", 1))
    proto.functions.append(function("Twice", [node("Add", "a a", "t"), node("Relu", "t", "b")]))
    assert load_onnx(save(proto, tmp_path))([[1.0, -1.0, 2.0, 0.5]]).tolist() == [[2.0, 0.0, 4.0, 1.0]]


def test_functions_that_multiply(tmp_path: Path) -> None:
    """Thirty functions that call the next one twice each would be a thousand million nodes."""
    proto = model([onnx.helper.make_node("f0", ["x"], ["y"], domain="own")])
    proto.opset_import.append(onnx.helper.make_opsetid("own", 1))
    for i in range(30):
        calls = [onnx.helper.make_node(f"f{i + 1}", [a], [b], domain="own") for a, b in (("a", "t"), ("t", "b"))]
        proto.functions.append(function(f"f{i}", calls))
    proto.functions.append(function("f30", [node("Relu", "a", "b")]))
    with pytest.raises(ModelError, match="the model has 1073741824 nodes with its functions written out"):
        load_onnx(save(proto, tmp_path))
    proto.functions[5].node[0].op_type = "f2"
    with pytest.raises(ModelError, match="calls itself, or nests too deep"):
        load_onnx(save(proto, tmp_path))


def test_initialisers_of_one_name(tmp_path: Path) -> None:
    proto = model([node("MatMul", "x w", "y")], {"w": np.ones((4, 3))})
    proto.graph.initializer.add().CopyFrom(proto.graph.initializer[0])
    with pytest.raises(ModelError, match="initialiser 'w' is defined twice; the model is damaged"):
        load_onnx(save(proto, tmp_path))


def test_external_data_in_a_constant(tmp_path: Path) -> None:
    tensor = onnx.load(external(tmp_path, location="/etc/hostname"), load_external_data=False).graph.initializer[0]
    constant = onnx.helper.make_node("Constant", [], ["w"], value=tensor)
    with pytest.raises(ModelError, match="is no relative path"):
        load_onnx(save(model([constant, node("MatMul", "x w", "y")]), tmp_path))


def test_absurd_dimensions_take_no_memory(tmp_path: Path) -> None:
    proto = model([node("MatMul", "x w", "y")], {"w": W})
    proto.graph.initializer[0].dims[:] = [4, 10**15]
    with pytest.raises(ModelError, match=r"shape \(4, 10+\) needs 320+ bytes, but the file holds 96"):
        load_onnx(save(proto, tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": [-4, 3], "float_data": [1.0]}, "no dimension may be negative"),
        ({"dims": [4, 3], "float_data": [1.0]}, "needs 12 values, but the file holds 1"),
        ({"dims": [4, 3]}, "needs 12 values, but the file holds 0"),
        ({"dims": [1], "data_type": 77, "float_data": [1.0]}, "values of type number 77 are not supported"),
        (
            {"dims": [1], "data_type": TensorProto.FLOAT8E4M3FN},
            "values of type FLOAT8E4M3FN are not supported",
        ),
        (
            {"dims": [1], "segment": TensorProto.Segment(begin=0, end=1)},
            "segmented tensors are not supported",
        ),
    ],
)
def test_damaged_tensors(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    proto = model([node("MatMul", "x w", "y")])
    proto.graph.initializer.append(TensorProto(**{"name": "w", "data_type": TensorProto.FLOAT, **changes}))
    with pytest.raises(ModelError, match=message):
        load_onnx(save(proto, tmp_path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx: no such model file"):
        load_onnx(tmp_path / "absent.onnx")


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="this is a directory"):
        load_onnx(tmp_path)


def test_device() -> None:
    with pytest.raises(ModelError, match="/dev/null: not a regular file"):
        load_onnx("/dev/null")


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="not a regular file"):
        load_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\r\n" * 9, "not an ONNX file"),
        (b"hello, world\n", "not an ONNX file"),
    ],
)
def test_files_of_another_kind(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_onnx(tmp_path / "model.onnx")


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    content = save(model([node("MatMul", "x w", "y")], {"w": W}), tmp_path).read_bytes()
    cut = tmp_path / "cut.onnx"
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        try:
            network = load_onnx(cut)
        except ModelError:
            continue
        # Only what comes after the graph may be missing: the versions.
        assert network(np.eye(4)).tolist() == W.tolist()
