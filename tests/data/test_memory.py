"""What memory there is, on trees of files as Linux shows them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from distverify.data import memory
from distverify.data.dataset import load_dataset
from distverify.data.memory import available_memory
from distverify.errors import DataError

MiB = 2**20
MACHINE = 8000 * MiB
V2_MOUNT = "30 25 0:27 {place} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = (
    "31 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:29 {place} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


def tree(root: Path, groups: str, mounts: str, files: dict[str, dict[str, str]]) -> Path:
    """``files``: folder below /sys/fs/cgroup -> name -> content."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable:    {MACHINE // 1024} kB\n")
    (root / "proc" / "self" / "cgroup").write_text(groups)
    (root / "proc" / "self" / "mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + mounts)
    for folder, contents in files.items():
        path = root / "sys/fs/cgroup" / folder
        path.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (path / name).write_text(content + "\n")
    return root


def v2(limit: object, usage: int = 0, cached: int = 0) -> dict[str, str]:
    return {"memory.max": str(limit), "memory.current": str(usage), "memory.stat": f"anon 1\ninactive_file {cached}"}


def v1(limit: int, usage: int = 0, cached: int = 0) -> dict[str, str]:
    stat = f"inactive_file 7\ntotal_inactive_file {cached}"
    return {"memory.limit_in_bytes": str(limit), "memory.usage_in_bytes": str(usage), "memory.stat": stat}


def test_without_groups_it_is_the_machine_s(tmp_path: Path) -> None:
    assert available_memory(tree(tmp_path, "", "", {})) == MACHINE


def test_without_proc_it_is_the_physical_memory(tmp_path: Path) -> None:
    assert available_memory(tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("own", "parent", "expected"),
    [
        (v2(900 * MiB, 100 * MiB, 30 * MiB), v2("max"), 830 * MiB),
        (v2("max"), v2(900 * MiB, 100 * MiB), 800 * MiB),
        (v2(900 * MiB), v2(500 * MiB, 100 * MiB), 400 * MiB),
        (v2(900 * MiB, 950 * MiB), v2("max"), 0),
        (v2(900 * MiB, 10 * MiB, 30 * MiB), v2("max"), 900 * MiB),
        (v2(2 * MACHINE), v2("max"), MACHINE),
        ({"memory.max": str(900 * MiB)}, {}, 900 * MiB),
        ({}, {}, MACHINE),
    ],
)
def test_version_2_takes_the_smallest_of_all_groups_above(
    tmp_path: Path, own: dict[str, str], parent: dict[str, str], expected: int
) -> None:
    files = {"user.slice/job_17": own, "user.slice": parent}
    root = tree(tmp_path, "0::/user.slice/job_17\n", V2_MOUNT.format(place="/"), files)
    assert available_memory(root) == expected


def test_version_2_in_a_container_with_a_name_space_of_its_own(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/\n", V2_MOUNT.format(place="/"), {".": v2(900 * MiB, 100 * MiB)})
    assert available_memory(root) == 800 * MiB


def test_version_1(tmp_path: Path) -> None:
    groups = "9:memory:/slurm/job_17\n4:cpu,cpuacct:/slurm\n0::/\n"
    unlimited = v1(9223372036854771712)
    files = {"memory/slurm/job_17": v1(900 * MiB, 100 * MiB, 40 * MiB), "memory/slurm": unlimited, "memory": unlimited}
    root = tree(tmp_path, groups, V1_MOUNT.format(place="/"), files)
    assert available_memory(root) == 840 * MiB


def test_version_1_in_a_container_that_sees_its_path_on_the_host(tmp_path: Path) -> None:
    files = {"memory": v1(900 * MiB, 100 * MiB)}
    root = tree(tmp_path, "9:memory:/docker/0123\n", V1_MOUNT.format(place="/docker/0123"), files)
    assert available_memory(root) == 800 * MiB


def test_both_versions_side_by_side(tmp_path: Path) -> None:
    mounts = V1_MOUNT.format(place="/") + "33 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    root = tree(tmp_path, "9:memory:/a\n0::/a\n", mounts, {"memory/a": v1(700 * MiB), "unified/a": {}})
    assert available_memory(root) == 700 * MiB


def test_files_that_make_no_sense_limit_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path, "nonsense\n0:/\n", "nonsense\n - \n" + V2_MOUNT.format(place="/"), {".": v2("-5")})
    assert available_memory(root) == MACHINE


def test_a_data_set_that_a_group_has_no_room_for_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/\n", V2_MOUNT.format(place="/"), {".": v2(9 * MiB, 1 * MiB)})
    np.savez(tmp_path / "data.npz", x=np.zeros((1000, 500)))  # 4 MB, and as much again while it is checked
    monkeypatch.setattr(memory, "available_memory", lambda: available_memory(root))
    with pytest.raises(DataError, match=r"x: needs 0\.0112 GiB of memory, 0\.00781 GiB are available; choose fewer"):
        load_dataset(tmp_path / "data.npz", input_size=500, output_size=2)
