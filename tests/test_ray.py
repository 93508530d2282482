"""A study by processes of Ray: the same bytes as by one, whatever befalls them, and one line where it cannot be."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from scripts.spread_study import contents, doubled, processes

import parts_for_ray
import test_study
import test_tune
from relprop.commands.requests import StudyRequest
from relprop.commands.study import settled
from relprop.study import by_ray, ray_session
from relprop.study.manifest import MANIFEST, differences
from relprop.study.ray_session import Crew, session
from relprop.study.runner import run
from relprop.study.spread import SpreadError, spread
from relprop.study.store import Store, StudyError
from relprop.support.errors import InputError
from relprop.tools import tune_by_ray
from relprop.tools.tune import tune
from relprop.tools.tune_data import Samples

ray = pytest.importorskip("ray", reason="ray is not installed: uv pip install 'ray[data]'")

PICTURES, CHUNK = 24, 2
OPENER = partial(test_study.task, PICTURES, chunk=CHUNK, methods=("lrp-z", "uniform"), occlusion=False)
SMALL = ("study", "--model", "digits-shallow", "--method", "uniform", "--no-occlusion", "--threads", "1")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")  # Ray's own


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """By one process."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    run(OPENER(), folder, batch=7)
    return contents(folder)


@pytest.fixture(scope="module")
def crew():
    """Two processes on this machine; what is done in the block uses the Ray that is there."""
    before = dict(os.environ)
    os.environ["RAY_memory_monitor_refresh_ms"] = "0"  # noqa: SIM112 - its name; or it ends processes where others have taken the memory
    crew = Crew(actors=2)
    with session(crew):
        yield crew
    os.environ.clear()
    os.environ.update(before)


def kill_a_process():
    os.kill(next(processes(os.getpid(), "ray::MapWorker")), signal.SIGKILL)


def kill_an_actor():
    from ray._private import state, worker  # noqa: PLC0415 - an extra, and Ray Data keeps its actors' handles

    for key, actor in state.actors().items():
        if actor["State"] == "ALIVE" and actor["ActorClassName"].startswith("MapWorker"):
            ray.kill(worker.global_worker.core_worker.get_actor_handle(ray.ActorID.from_hex(key)))
            return
    raise AssertionError("no actor is alive")


def test_processes_and_actors_are_killed_and_every_byte_is_there_once(whole, crew, tmp_path):
    loaded = []

    def opener():  # the driver's; processes are given OPENER
        task = OPENER()
        loaded.append(weakref.ref(task.model))
        return task

    study = by_ray.prepared(opener, tmp_path)
    gc.collect()
    assert loaded[0]() is None, "the driver holds the network"
    told, harm = [], {4: kill_a_process, 10: kill_an_actor, 16: kill_a_process}

    def progress(number):
        told.append(number)
        harm.pop(sum(told), lambda: None)()

    study.run(by_ray.Measuring(OPENER, tmp_path, batch=7), crew, progress)
    assert not harm
    assert contents(tmp_path) == whole
    assert doubled(tmp_path) == 0
    assert sum(told) == PICTURES
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {f"part-{k:06d}" for k in range(12)}
    assert set(study.clock.spent) >= {"decoding", "attribution", "metrics", "writing"}
    assert 0 < study.clock.overhead < 1
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert (manifest["parts"], manifest["pictures"], manifest["versions"]["ray"]) == (12, PICTURES, ray.__version__)
    assert differences(tmp_path) == []
    changed = tmp_path / "parts" / "part-000003" / "rows.parquet"
    changed.write_bytes(changed.read_bytes()[:-1])
    (changed.parent / "pairs.parquet").rename(changed.parent / "pears.parquet")
    names = [f"parts/part-000003/{file}.parquet" for file in ("pairs", "pears", "rows")]
    assert differences(tmp_path) == [
        f"{name}: {what}" for name, what in zip(names, ("missing", "not in the manifest", "changed"), strict=True)
    ]


def test_a_process_does_not_measure_into_a_folder_that_only_it_has(tmp_path):
    with pytest.raises(StudyError, match="has another disk there: name a folder with --out that all machines share"):
        by_ray.Measuring(OPENER, tmp_path / "elsewhere")()
    assert not (tmp_path / "elsewhere").exists()


def test_a_process_with_another_network_or_data_refuses(whole, tmp_path):
    by_ray.prepared(OPENER, tmp_path)
    with pytest.raises(StudyError, match=r"holds another study: .*methods is"):
        by_ray.Measuring(partial(test_study.task, PICTURES, methods=("lrp-z",)), tmp_path)()


def test_parts_come_back_once_each_and_an_error_as_it_was_raised(crew):
    assert sorted(spread(parts_for_ray.squares, range(40), crew)) == [(k, k * k) for k in range(40)]
    assert list(spread(parts_for_ray.squares, [], crew)) == []
    with pytest.raises(InputError, match=r"^part two is no part$"):
        list(spread(parts_for_ray.refusing, range(4), crew))
    with pytest.raises(InputError, match=r"^there is no such network$"):
        list(spread(parts_for_ray.nothing, range(4), crew))


@pytest.mark.slow
def test_a_part_that_nobody_survives_is_an_error_and_does_not_go_round_for_ever(crew):
    done = []
    with pytest.raises(SpreadError, match=r"part 0: 4 processes died over it, the last on .*fewer --actors"):
        done.extend(spread(parts_for_ray.deadly, range(2), crew))
    with pytest.raises(OSError, match="Input/output error"):
        done.extend(spread(parts_for_ray.failing, range(2), crew))


def test_how_many_processes_there_are_room_for():
    assert Crew().room({"CPU": 8.0}) == 8
    assert Crew(threads=3).room({"CPU": 8.0}) == 2
    assert Crew(actors=5).room({"CPU": 8.0}) == 5
    assert Crew(gpu=True, threads=4).room({"CPU": 8.0, "GPU": 2.0}) == 2
    with pytest.raises(InputError, match="Ray finds no GPU here; leave --device out"):
        Crew(gpu=True).room({"CPU": 8.0})
    with pytest.raises(InputError, match="Ray has 2 cores here, and each process wants 4 threads; give fewer"):
        Crew(threads=4).room({"CPU": 2.0})
    assert by_ray.crew_of("cuda", None, None, None) == Crew(gpu=True)
    assert by_ray.crew_of("cpu", "auto", 3, 2) == Crew("auto", 3, 2)


def test_what_cannot_be_is_one_line_before_ray_is_started(call, tmp_path, monkeypatch):
    def error(*words):
        told = call(*SMALL, "--out", tmp_path / "s", *words, code=1)
        assert told.stdout == ""
        assert not (tmp_path / "s").exists()
        return told.stderr

    assert error("--ray", "--model", "digits-shalow") == (
        "error: no model 'digits-shalow'; did you mean digits-shallow?\n"
    )
    ours = "error: --address and --actors are about Ray's processes; add --ray, or leave them out\n"
    assert error("--address", "auto") == error("--actors", "2") == ours
    assert error("--ray", "--device", "cuda:1") == (
        "error: Ray gives each process a cuda device of its own; give --device cuda instead of cuda:1\n"
    )
    monkeypatch.setattr(ray_session, "find_spec", lambda _: None)
    assert error("--ray") == "error: --ray needs Ray, which is not installed: pip install 'relprop[ray]'\n"


def test_torchrun_says_which_share_and_which_gpu_is_this_ones(monkeypatch):
    assert settled(StudyRequest()).shard == (1, 1)
    monkeypatch.setenv("RANK", "2")
    assert settled(StudyRequest()).shard == (1, 1)  # somebody else's
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    found = settled(StudyRequest(device="cuda"))
    assert (found.shard, found.device) == ((3, 4), "cuda:1")
    assert settled(StudyRequest(device="cpu")).device == "cpu"
    assert settled(StudyRequest(shard=(1, 2))).shard == (1, 2)
    assert settled(StudyRequest(ray=True)).shard == (1, 1)
    monkeypatch.setenv("RANK", "4")
    with pytest.raises(InputError, match="RANK is '4' and WORLD_SIZE '4', which name no share; unset them"):
        settled(StudyRequest())


def test_the_share_of_the_surroundings_is_measured(call, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    told = call(*SMALL, "--limit", 70, "--out", tmp_path).stdout
    assert ": shard 2/2: 20 pictures in" in told
    assert Store(tmp_path).done() == {1}


@pytest.mark.slow
def test_ended_by_ctrl_c_or_killed_it_says_no_more_than_that_and_goes_on(tmp_path):
    out, words = tmp_path / "study", ("--limit", "500", "--json")
    command = [sys.executable, "-m", "relprop", *SMALL, *words, "--out", str(tmp_path / "study")]
    by_two = [*command, "--ray", "--actors", "1"]
    surroundings = os.environ | {"RAY_memory_monitor_refresh_ms": "0"}

    def started():
        return subprocess.Popen(
            by_two, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings, start_new_session=True
        )

    def until(process, parts):
        while len(Store(out).done()) < parts:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)

    with started() as process:
        until(process, 1)
        ours = list(processes(process.pid, ""))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        assert process.communicate() == ("", "interrupted\n")
    assert process.returncode == 130
    with started() as process:
        until(process, 3)
        ours += processes(process.pid, "")
        process.kill()
        assert process.communicate() == ("", "")
    assert len(ours) > 4
    end = time.monotonic() + 60
    while left := [pid for pid in ours if Path(f"/proc/{pid}/cmdline").exists() and running(pid)]:
        assert time.monotonic() < end, f"{left} go on"
        time.sleep(0.1)
    done = subprocess.run(by_two, check=True, capture_output=True, text=True, env=surroundings)
    assert (json.loads(done.stdout)["there"], done.stderr) == (500, "")
    assert differences(out) == []
    subprocess.run([*command[:-1], str(tmp_path / "one")], check=True, capture_output=True)
    assert contents(out) == contents(tmp_path / "one")


def running(pid):
    """A process that nobody has waited for yet is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_tuning_by_ray_finds_what_one_process_finds(crew):
    judged = {}
    for hands in (None, tune_by_ray.hands(samples, ("mu_w",), "paper", replace(crew, actors=1))):
        found = tune(*samples(), "small", "mu_w", against=["lrp-z"], finalists=9, hands=hands).as_dict()
        assert found.pop("seconds") > 0
        judged[hands is None] = found
    assert judged[True] == judged[False]


def samples():
    return test_tune.network(), Samples(test_tune.pictures(12))
