"""Every format holds the same samples, with the same digest, as the .npz archive of the same data."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distverify.data.dataset import Dataset, load_dataset
from distverify.data.formats import images
from distverify.data.preprocessing import Resizing, read_preprocessing
from distverify.data.remote import local_copy
from distverify.errors import DataError

RNG = np.random.default_rng(5)
X = RNG.integers(0, 256, size=(9, 4, 5), dtype=np.uint8)
Y = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])  # in order, as a folder for each class has them
REAL = RNG.normal(size=(9, 20)).astype(np.float32)
COLOUR = RNG.integers(0, 256, size=(6, 32, 32, 3), dtype=np.uint8)


def load(path: Any, size: int = 20, **options: Any) -> Dataset:
    return load_dataset(path, input_size=size, output_size=3, **options)


def npz(folder: Path, x: Any = X, y: Any = Y) -> Dataset:
    np.savez(folder / "reference.npz", x=x, **({} if y is None else {"y": y}))
    return load(folder / "reference.npz", x[0].size)


def idx(array: np.ndarray) -> bytes:
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[array.dtype.str[1:]]
    big = array.astype(array.dtype.newbyteorder(">"))
    return bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes() + big.tobytes()


def pair(folder: Path) -> str:
    np.save(folder / "a.npy", X)
    np.save(folder / "b.npy", Y)
    return f"{folder / 'a.npy'},{folder / 'b.npy'}"


def folder_of_arrays(folder: Path) -> Path:
    (folder / "set").mkdir()
    np.save(folder / "set/x.npy", np.asfortranarray(X))
    np.save(folder / "set/y.npy", Y)
    return folder / "set"


def idx_files(folder: Path) -> Path:
    (folder / "train-images-idx3-ubyte").write_bytes(idx(X))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(Y.astype(np.uint8)))
    return folder / "train-images-idx3-ubyte"


def idx_zipped(folder: Path) -> Path:
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(X)))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(Y.astype(np.uint8))))
    return folder / "t10k-images-idx3-ubyte.gz"


def idx_pair(folder: Path) -> str:
    (folder / "a.idx").write_bytes(idx(X))
    (folder / "b.gz").write_bytes(gzip.compress(idx(Y.astype(np.int32))))
    return f"{folder / 'a.idx'},{folder / 'b.gz'}"


def image_folder(folder: Path) -> Path:
    pillow = pytest.importorskip("PIL.Image")
    for k, (image, label) in enumerate(zip(X, Y, strict=True)):
        place = folder / "images" / ("ant", "bee", "cat")[label]
        place.mkdir(parents=True, exist_ok=True)
        pillow.fromarray(image).save(place / f"{k:03d}.png")
    (folder / "images/.hidden").mkdir()
    (folder / "images/ant/notes.txt").write_text("no image")
    return folder / "images"


def safetensors(folder: Path) -> Path:
    save = pytest.importorskip("safetensors.numpy").save_file
    save({"x": X, "y": Y, "other": X}, folder / "data.safetensors", {"made": "here"})
    return folder / "data.safetensors"


def torch_file(folder: Path) -> Path:
    torch = pytest.importorskip("torch")
    torch.save({"x": torch.from_numpy(X), "y": torch.from_numpy(Y)}, folder / "data.pt")
    return folder / "data.pt"


def torch_pair(folder: Path) -> Path:
    torch = pytest.importorskip("torch")
    torch.save((torch.from_numpy(X), torch.from_numpy(Y)), folder / "training.pt")
    return folder / "training.pt"


def parquet_images(folder: Path) -> Path:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    source = image_folder(folder)
    files = sorted(source.rglob("*.png"))
    rows = [{"bytes": f.read_bytes(), "path": f.name} for f in files]
    schema = arrow.schema(
        [("image", arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])), ("label", arrow.int64())],
        {"huggingface": json.dumps({"info": {"features": {"label": {"names": ["ant", "bee", "cat"]}}}})},
    )
    table = arrow.Table.from_pylist([{"image": r, "label": int(y)} for r, y in zip(rows, Y, strict=True)], schema)
    parquet.write_table(table, folder / "train.parquet", row_group_size=4)
    return folder / "train.parquet"


IMAGES = [
    pair, folder_of_arrays, idx_files, idx_zipped, idx_pair, image_folder, safetensors, torch_file, torch_pair, parquet_images,
]  # fmt: skip


@pytest.mark.parametrize("make", IMAGES, ids=lambda f: f.__name__)
def test_every_format_has_the_digest_of_the_archive(make: Callable[[Path], Any], tmp_path: Path) -> None:
    path = make(tmp_path)
    data = load(path)
    assert data.digest == npz(tmp_path).digest
    assert (data.inputs == X.reshape(9, 20)).all()
    some, reference = load(path, samples="7,0:3"), load(tmp_path / "reference.npz", samples="7,0:3")
    assert some.digest == reference.digest
    assert load(path, labels=False).labels.tolist() == [-1] * 9


def test_formats_with_class_names_tell_them(tmp_path: Path) -> None:
    assert load(image_folder(tmp_path)).class_names == ("ant", "bee", "cat")
    (tmp_path / "images").rename(tmp_path / "moved")
    assert load(parquet_images(tmp_path)).class_names == ("ant", "bee", "cat")
    for name, number in (("ant", "0"), ("bee", "1"), ("cat", "2")):
        (tmp_path / "moved" / name).rename(tmp_path / "moved" / number)
    numbered = load(tmp_path / "moved")
    assert (numbered.class_names, numbered.digest) == ((), npz(tmp_path).digest)


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("zipped", [False, True])
def test_cifar_batches(labels: int, zipped: bool, tmp_path: Path) -> None:
    y = np.array([2, 1, 0, 1, 2, 0], dtype=np.uint8)
    before = np.column_stack([np.full(6, 7, dtype=np.uint8), y]) if labels == 2 else y[:, None]
    planes = COLOUR.transpose(0, 3, 1, 2)
    content = np.column_stack([before, planes.reshape(6, -1)]).tobytes()
    path = tmp_path / ("test.bin.gz" if zipped else "test.bin")
    path.write_bytes(gzip.compress(content) if zipped else content)
    data = load(path, 3072)
    assert data.digest == npz(tmp_path, planes, y).digest
    assert (data.shape, data.layout) == ((3, 32, 32), "chw")
    path.write_bytes(b"x" * 4000)
    with pytest.raises(DataError, match="is no batch of CIFAR-10 or CIFAR-100"):
        load(path, 3072)


@pytest.mark.parametrize("columns", ["numbers", "lists", "index"])
def test_parquet_tables(columns: str, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    if columns == "lists":
        frame = pandas.DataFrame({"label": Y, "x": REAL.tolist()})
    else:
        frame = pandas.DataFrame(REAL, columns=[f"f{k}" for k in range(20)]).assign(target=Y)
    if columns == "index":
        frame = frame.sample(frac=1, random_state=1).sort_index().set_index(frame.index * 10)
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=2)
    data = load(tmp_path / "t.parquet")
    assert data.digest == npz(tmp_path, REAL, Y).digest
    assert data.input_names == (() if columns == "lists" else tuple(f"f{k}" for k in range(20)))


def test_bfloat16_is_exact(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    save = pytest.importorskip("safetensors.torch").save_file
    x = torch.from_numpy(REAL).bfloat16()
    save({"x": x}, tmp_path / "x.safetensors")
    torch.save(x, tmp_path / "x.pt")
    expected = npz(tmp_path, x.float().numpy(), None).digest
    assert load(tmp_path / "x.safetensors").digest == load(tmp_path / "x.pt").digest == expected


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("harm",)


def test_code_in_a_torch_file_never_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"x": Harm()}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="is not read with weights only"):
        load(tmp_path / "x.pt")
    assert capsys.readouterr().out == ""


def damaged(name: str, content: bytes) -> Callable[[Path], Any]:
    def make(folder: Path) -> Any:
        (folder / name).write_bytes(content)
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (damaged("a.idx", idx(X)[:-1]), r"shape \(9, 4, 5\) of uint8 needs 180 bytes, the file has 179; it is damaged"),
        (damaged("a.gz", gzip.compress(idx(X)[:-1])), "the file has another length; it is damaged"),
        (damaged("a.gz", gzip.compress(idx(X))[:40]), "the file is damaged, or no .gz file"),
        (damaged("x.npy", b"\x93NUMPY"), "is no NumPy array|cannot be read"),
        (damaged("x.safetensors", b"\xff" * 100), "is no .safetensors file, or a damaged one"),
        (
            damaged("x.safetensors", (60).to_bytes(8, "little") + b'{"x":{"dtype":"F32","shape":[9,20],"data_offsets":[0,720]}}  '),
            r"shape \(9, 20\) needs 720 bytes, the file has 720; it is damaged",
        ),
        (damaged("x.parquet", b"PAR1" + b"\0" * 40), "the file is damaged, or no Parquet file"),
        (damaged("x.pt", b"\x80\x02}q\0."), "is not read with weights only|has no array x"),
        (lambda folder: f"{folder}/a.npy,{folder}/b.npy", "a.npy: cannot be opened"),
        (lambda folder: f"{damaged('a.csv', b'1')(folder)},b.npy", "holds no single array; a pair X,Y is two .npy or two IDX"),
        (lambda folder: folder, "a folder without x.npy, and without folders of images"),
    ],
)  # fmt: skip
def test_damaged_files_are_told(make: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load(make(tmp_path))


def test_images_that_do_not_fit_are_told(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    source = image_folder(tmp_path)
    pillow.fromarray(COLOUR[0]).save(source / "bee/000.png")
    with pytest.raises(DataError, match=r"bee/000.png: has 32 x 32 pixels, the first image 5 x 4; bring all to one"):
        load(source)
    (source / "bee/000.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 4\n")
    with pytest.raises(DataError, match=r"bee/000.png: is no image that is read"):
        load(source)


def test_transparent_and_deep_images_are_refused() -> None:
    pillow = pytest.importorskip("PIL.Image")
    with pytest.raises(DataError, match=r"a.png: is transparent in places"):
        images._mode(pillow.new("RGBA", (2, 2), (1, 2, 3, 4)), "a.png")
    with pytest.raises(DataError, match=r"a.png: has pixels of kind I;16, more than 8 bits"):
        images._mode(pillow.new("I;16", (2, 2)), "a.png")
    assert images._mode(pillow.new("RGBA", (2, 2), (1, 2, 3, 255)), "a.png") == "RGB"


def test_grey_images_become_coloured_for_a_coloured_model(tmp_path: Path) -> None:
    coloured = np.repeat(X[..., None], 3, axis=3)
    data = load(image_folder(tmp_path), 60)
    assert data.digest == npz(tmp_path, coloured).digest
    assert data.layout == "hwc"


TIMM = {
    "pretrained_cfg": {
        "input_size": [3, 2, 3], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1], "interpolation": "bicubic", "crop_pct": 0.5,
    }
}  # fmt: skip
HUGGING_FACE = {
    "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "do_rescale": True,
    "rescale_factor": 0.00392156862745098, "do_resize": True, "size": {"height": 2, "width": 3}, "resample": 3,
}  # fmt: skip


def test_preprocessing_as_others_write_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    told = read_preprocessing(tmp_path / "config.json")
    assert (told.mean, told.std, told.scale) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1), None)
    assert told.resizing == Resizing((2, 3), "bicubic", 0.5)
    told = read_preprocessing(HUGGING_FACE)
    assert (told.mean, told.scale, told.resizing) == ((0.5, 0.5, 0.5), 255.0, Resizing((2, 3), "bicubic"))
    cut = HUGGING_FACE | {"size": {"shortest_edge": 8}, "do_center_crop": True, "crop_size": {"height": 6, "width": 6}}
    assert read_preprocessing(cut).resizing == Resizing((6, 6), "bicubic", 0.75)
    assert read_preprocessing(told.resizing.to_json()).resizing == told.resizing


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a": 1}, "says nothing of mean, std, scale or input_size"),
        ({"mean": ["x"]}, r"mean is \['x'\]; give one finite number"),
        ({"std": [0.0]}, "std holds .*; give numbers above 0"),
        ({"input_size": [3, 0, 2]}, r"the size is \[3, 0, 2\]; give the pixels of an edge"),
        ({"size": 4, "interpolation": "best"}, "interpolation is 'best'; give one of nearest"),
        ({"size": 4, "crop_pct": 2}, "crop_pct is 2; give a share"),
    ],
)
def test_preprocessing_that_makes_no_sense(config: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_preprocessing(config)


def test_images_are_brought_to_the_size_as_torchvision_does(tmp_path: Path) -> None:
    source = image_folder(tmp_path)
    data = load(source, 6, resizing=Resizing((2, 3)))
    pillow = pytest.importorskip("PIL.Image")
    expected = []
    for file in sorted(source.rglob("*.png")):
        with pillow.open(file) as image:
            small = image.resize((3, 2), pillow.Resampling.BILINEAR)  # 5 x 4, the factor 0.6 of the shorter ratio
            expected.append(np.asarray(small))
    assert data.digest == npz(tmp_path, np.stack(expected)).digest


# -- elsewhere -----------------------------------------------------------------------------------------------


def test_urls_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("DISTVERIFY_CACHE", str(tmp_path / "cache"))
    reference = npz(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/data.npz", (tmp_path / "reference.npz").read_bytes())
    data = load("memory://bucket/data.npz")
    assert (data.digest, data.name) == (reference.digest, "data.npz")
    first = local_copy("memory://bucket/data.npz")
    stamp = first.stat().st_mtime_ns
    assert local_copy("memory://bucket/data.npz") == first
    assert first.stat().st_mtime_ns == stamp
    np.savez(tmp_path / "other.npz", x=X[:4], y=Y[:4])
    memory.pipe("/bucket/data.npz", (tmp_path / "other.npz").read_bytes())
    assert load("memory://bucket/data.npz").size == 4
    for name in ("x", "y"):
        np.save(tmp_path / f"{name}.npy", {"x": X, "y": Y}[name])
        memory.put(str(tmp_path / f"{name}.npy"), f"/bucket/set/{name}.npy")
    assert load("memory://bucket/set").digest == reference.digest
    assert load("memory://bucket/set/x.npy,memory://bucket/set/y.npy").digest == reference.digest
    with pytest.raises(DataError, match=r"memory://bucket/none.npz: no such file; check the URL"):
        load("memory://bucket/none.npz")
    with pytest.raises(DataError, match=r"nowhere://a.npz: "):
        load("nowhere://a.npz")
    assert load(f"file://{tmp_path}/reference.npz").digest == reference.digest
