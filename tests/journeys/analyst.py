"""An analyst gets a result file, and works with it in pandas, xarray and a spreadsheet."""

import sys
from pathlib import Path

import distverify as dv
from distverify.demo import DATA, MODEL


def main(folder: Path) -> None:
    """From a result file that somebody made to tables and images."""
    dv.certify(
        MODEL, DATA, eps=[0.02, 0.05], clip=(0, 1), compute={"jacobian", "radius"}, samples="0:8",
        output=folder / "out.h5", executor="serial",
    )  # fmt: skip

    result = dv.open_result(folder / "out.h5")
    print(result)

    # pandas: a row for each sample.
    frame = result.to_dataframe()
    print(frame.groupby("label")["radius"].median())
    weakest = frame["radius"].idxmin()

    # xarray: arrays with coordinates; values are read when they are used.
    with result.to_xarray() as data:
        print(data.dv.certified_accuracy([0.01, 0.02, 0.05]).to_series())
        derivatives = data.dv.derivative_map(int(weakest), output=int(frame["predicted"][weakest]))
        print(f"sample {weakest}: derivatives up to {float(abs(derivatives['middle']).max()):.2f}")
    tree = dv.open_results(folder / "*.h5")
    print(f"results: {', '.join(tree.children)}")
    tree.close()

    # Others get a spreadsheet, a table, or a page.
    dv.export(result, folder / "radii.csv", arrays=["label", "radius"])
    dv.export(result, folder / "radii.xlsx")
    dv.report(result, folder / "out.html")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
