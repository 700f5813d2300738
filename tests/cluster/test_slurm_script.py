"""The Slurm script and the nodes' environment: syntax, shellcheck, and a run with stand-ins for Slurm's and Ray's commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.files import CLUSTER, ROOT, text

SCRIPTS = ("slurm.sh", "environment.sh")
ARGUMENTS = ["certify", "my net.onnx", "data.npz", "--eps", "0.01", "-o", "out.h5"]
STAND_INS = {
    "scontrol": 'echo "JobId=$5 JobName=distverify Command=$SCRIPT certify net.onnx WorkDir=/somewhere"',
    "nproc": "echo ${CPUS-32}",
    "hostname": "echo '10.1.2.3 192.168.0.4 '",
    "ip": "echo '2: ib0    inet 10.9.9.9/24 brd 10.9.9.255 scope global ib0'",
    # Runs the command of one node, as a node would: in a process of its own.
    "srun": 'while [[ $1 == --* ]]; do echo "srun $1" >>"$LOG"; shift; done; exec "$@"',
    "ray": 'printf "%s\\n" "ray $1" "mode $RAY_AUTH_MODE" "cache ${NUMBA_CACHE_DIR-}" "$@" >>"$LOG.$1"; exit "${STATUS-0}"',
}

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Stand-ins where environment.sh puts distverify's own commands."""
    folder = tmp_path / "distverify" / "bin"
    folder.mkdir(parents=True)
    for name, body in STAND_INS.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (folder / name).chmod(0o755)
    return {
        "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PATH": f"{folder}:{os.environ['PATH']}", "LOG": str(tmp_path / "log"),
        "SLURM_JOB_ID": "17", "SLURM_JOB_NUM_NODES": "4", "SCRIPT": str(CLUSTER / "slurm.sh"),
    }  # fmt: skip


def submit(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", CLUSTER / "slurm.sh", *arguments], env=environment, capture_output=True, text=True, timeout=30
    )


def source(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = f'source {CLUSTER / "environment.sh"}; echo "${{NUMBA_CACHE_DIR-none}}"'
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=30)


def cache(environment: dict[str, str]) -> Path:
    return Path(environment["TMPDIR"]) / f"distverify-numba-{os.getuid()}"


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_reads_it(name):
    subprocess.run(["bash", "-n", CLUSTER / name], check=True, timeout=30)


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_has_nothing_to_say(name):
    beside = Path(sys.executable).with_name("shellcheck")
    program = str(beside) if beside.exists() else shutil.which("shellcheck")
    if program is None:
        pytest.skip("needs shellcheck")
    run = subprocess.run([program, "-x", f"cluster/{name}"], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (run.stdout, run.stderr, run.returncode) == ("", "", 0)


def test_the_command_reaches_ray_word_by_word(environment):
    run = submit(environment, *ARGUMENTS)
    assert (run.stderr, run.returncode) == ("", 0)
    called = Path(environment["LOG"] + ".symmetric-run").read_text().splitlines()
    assert called == [
        "ray symmetric-run", "mode token", f"cache {cache(environment)}",
        "symmetric-run", "--address", "10.1.2.3:6379", "--min-nodes", "4", "--num-cpus=32", "--",
        "distverify", *ARGUMENTS, "--address", "10.1.2.3:6379",
    ]  # fmt: skip


def test_one_task_with_all_that_it_has_starts_on_every_node(environment):
    submit(environment | {"CPUS": "48"}, *ARGUMENTS)
    assert Path(environment["LOG"]).read_text().splitlines() == [
        "srun --nodes=4", "srun --ntasks=4", "srun --ntasks-per-node=1", "srun --whole", "srun --cpu-bind=none",
    ]  # fmt: skip
    assert "--num-cpus=48" in Path(environment["LOG"] + ".symmetric-run").read_text().splitlines()
    assert "cpus-per-task" not in text("slurm.sh")
    assert "#SBATCH --ntasks-per-node=1\n" in text("slurm.sh")
    assert "#SBATCH --exclusive\n" in text("slurm.sh")  # `ray stop` at the end would end other jobs' Ray


def test_the_token_is_made_and_not_shown(environment):
    run = submit(environment, *ARGUMENTS)
    assert "--generate" in Path(environment["LOG"] + ".get-auth-token").read_text()
    assert run.stdout == ""


def test_the_network_can_be_chosen(environment):
    submit(environment | {"HEAD_INTERFACE": "ib0"}, *ARGUMENTS)
    assert "10.9.9.9:6379" in Path(environment["LOG"] + ".symmetric-run").read_text().splitlines()


def test_without_an_address_it_says_what_to_do(environment):
    ip = Path(environment["HOME"]) / "distverify" / "bin" / "ip"
    ip.write_text("#!/usr/bin/env bash\n")
    run = submit(environment | {"HEAD_INTERFACE": "ib7"}, *ARGUMENTS)
    assert run.returncode != 0
    assert "set HEAD_INTERFACE" in run.stderr


def test_the_exit_status_is_passed_on(environment):
    ray = Path(environment["HOME"]) / "distverify" / "bin" / "ray"
    ray.write_text("#!/usr/bin/env bash\n[[ $1 == get-auth-token ]] || exit 130\n")
    assert submit(environment, *ARGUMENTS).returncode == 130


def test_without_a_command_it_explains_itself(environment):
    run = submit(environment)
    assert run.returncode == 2
    assert run.stderr.startswith("usage: sbatch [OPTIONS] cluster/slurm.sh certify MODEL DATA")


def test_it_runs_from_wherever_the_data_are(environment, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    copy = tmp_path / "spool" / "slurm_script"  # as Slurm runs it
    copy.parent.mkdir()
    shutil.copy(CLUSTER / "slurm.sh", copy)
    run = subprocess.run(
        ["bash", copy, *ARGUMENTS], env=environment, cwd=folder, capture_output=True, text=True, timeout=30
    )
    assert (run.stderr, run.returncode) == ("", 0)


def test_without_its_neighbour_it_says_what_to_do(environment, tmp_path):
    run = submit(environment | {"SCRIPT": str(tmp_path / "slurm.sh")}, *ARGUMENTS)
    assert run.returncode == 2
    assert f"{tmp_path}/environment.sh is not there; keep environment.sh beside slurm.sh" in run.stderr


def test_outside_slurm_it_says_so(environment):
    del environment["SLURM_JOB_NUM_NODES"]
    run = submit(environment, *ARGUMENTS)
    assert run.returncode != 0
    assert "submit this script with sbatch" in run.stderr


def test_an_interrupted_job_is_begun_again_and_keeps_its_log():
    assert "#SBATCH --requeue\n" in text("slurm.sh")
    assert "#SBATCH --open-mode=append\n" in text("slurm.sh")


def test_compiled_kernels_go_to_a_folder_of_this_user_alone(environment):
    assert source(environment).stdout.strip() == str(cache(environment))
    assert cache(environment).stat().st_mode & 0o777 == 0o700
    assert source(environment).stdout.strip() == str(cache(environment))  # a second time: the same


def test_a_folder_that_may_be_another_users_is_not_used(environment, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    cache(environment).symlink_to(elsewhere)
    run = source(environment)
    assert run.stdout.strip() == "none"
    assert f"{cache(environment)} is not usable" in run.stderr
