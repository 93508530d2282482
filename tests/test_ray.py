"""A study by processes of Ray: the same bytes as by one, whatever befalls them, and one line where it cannot be."""

import errno
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from scripts.spread_study import contents, doubled, processes

import parts_for_ray
from annotated_pictures import one, write, xml
from relprop.catalogue.patterns import Patterns
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

ray = pytest.importorskip("ray", reason="ray is not installed: uv pip install 'ray[data]'")

SMALL = ("study", "--model", "digits-shallow", "--method", "uniform", "--no-occlusion", "--threads", "1")
UNWATCHED = {
    "RAY_memory_monitor_refresh_ms": "0",  # Ray ends processes where others have taken the memory
    "RAY_worker_niceness": "0",  # and lets them wait where others work
}
RAY_AND_NOT = ((), ("--ray", "--actors", "1"))
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")  # Ray's own


def drawn(place, number):
    """Small pictures with a box each."""
    for k in range(number):
        write(place / f"{k:03d}.png", Image.new("RGB", (64, 64), (k % 256, 90, 200)))
        write(place / f"{k:03d}.xml", xml(one("six", (2, 2, 20 + k % 40, 30)), size=(64, 64)))
    return place


@pytest.fixture(scope="module")
def opener(tmp_path_factory):
    return partial(parts_for_ray.study, drawn(tmp_path_factory.mktemp("pictures"), 24))


@pytest.fixture(scope="module")
def whole(opener, tmp_path_factory):
    """By one process."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    run(opener(), folder)
    return contents(folder)


@pytest.fixture(scope="module")
def crew():
    """Two processes on this machine; what is done meanwhile uses the Ray that is there."""
    before = dict(os.environ)
    os.environ.update(UNWATCHED)
    crew = Crew(actors=2)
    with session(crew):
        yield crew
    os.environ.clear()
    os.environ.update(before)


def kill_a_process():
    """At a random moment."""
    time.sleep(random.uniform(0, 0.2))
    os.kill(next(processes(os.getpid(), "ray::MapWorker")), signal.SIGKILL)


def kill_an_actor():
    from ray._private import state, worker  # noqa: PLC0415 - an extra, and Ray Data keeps its actors' handles

    for key, actor in state.actors().items():
        if actor["State"] == "ALIVE" and actor["ActorClassName"].startswith("MapWorker"):
            ray.kill(worker.global_worker.core_worker.get_actor_handle(ray.ActorID.from_hex(key)))
            return
    raise AssertionError("no actor is alive")


@pytest.mark.slow
def test_processes_and_actors_are_killed_and_every_byte_is_there_once(opener, whole, crew, tmp_path):
    loaded = []

    def watched():  # the driver's alone
        task = opener()
        loaded.append(weakref.ref(task.model))
        return task

    study = by_ray.prepared(watched, tmp_path)
    gc.collect()
    assert loaded[0]() is None, "the driver holds the network"
    told, harm = [], {4: kill_a_process, 12: kill_an_actor}

    def progress(number):
        told.append(number)
        harm.pop(sum(told), lambda: None)()

    study.run(by_ray.Measuring(opener, tmp_path), crew, progress)
    assert not harm
    assert contents(tmp_path) == whole
    assert doubled(tmp_path) == 0
    assert sum(told) == 24
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {f"part-{k:06d}" for k in range(12)}
    assert set(study.clock.spent) >= {"decoding", "attribution", "metrics", "writing"}
    assert 0 < study.clock.overhead < 1
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert (manifest["parts"], manifest["pictures"], manifest["versions"]["ray"]) == (12, 24, ray.__version__)
    assert differences(tmp_path) == []
    changed = tmp_path / "parts" / "part-000003" / "rows.parquet"
    changed.write_bytes(changed.read_bytes()[:-1])
    (changed.parent / "pairs.parquet").rename(changed.parent / "pears.parquet")
    assert differences(tmp_path) == [
        "parts/part-000003/pairs.parquet: missing",
        "parts/part-000003/pears.parquet: not in the manifest",
        "parts/part-000003/rows.parquet: changed",
    ]


def test_a_process_does_not_measure_into_a_folder_that_only_it_has(opener, tmp_path):
    with pytest.raises(StudyError, match="has another disk there: name a folder with --out that all machines share"):
        by_ray.Measuring(opener, tmp_path / "elsewhere")()
    assert not (tmp_path / "elsewhere").exists()


def test_a_process_with_another_network_or_data_refuses(opener, tmp_path):
    by_ray.prepared(opener, tmp_path)
    with pytest.raises(StudyError, match=r"holds another study: .*methods is"):
        by_ray.Measuring(partial(opener, methods=("lrp-z",)), tmp_path)()


@pytest.mark.slow
def test_parts_come_back_once_each_and_an_error_as_it_was_raised(crew):
    single = replace(crew, actors=1, tries=1)
    assert list(spread(parts_for_ray.squares, [], crew)) == []
    found = []
    with pytest.raises(InputError) as raised:
        found.extend(spread(parts_for_ray.squares, range(41), single))
    assert str(raised.value) == "part forty is no part"
    with pytest.raises(InputError) as raised:
        list(spread(parts_for_ray.nothing, range(4), single))
    assert str(raised.value) == "there is no such network"
    with pytest.raises(SpreadError, match=r"part 0: 1 processes died over it, the last on .*fewer --actors"):
        list(spread(parts_for_ray.deadly, range(2), single))
    with pytest.raises(OSError, match="Input/output error"):
        list(spread(parts_for_ray.failing, range(2), single))


@pytest.mark.slow
def test_tuning_by_ray_finds_what_one_process_finds(crew):
    judged = []
    for hands in (None, tune_by_ray.hands(parts_for_ray.candidates, ("mu_w",), "paper", replace(crew, actors=1))):
        found = tune(*parts_for_ray.candidates(), "small", "mu_w", against=["lrp-z"], finalists=9, hands=hands)
        judged.append(found.as_dict())
        assert judged[-1].pop("seconds") > 0
    assert judged[0] == judged[1]


@pytest.mark.slow
def test_concepts_by_ray_are_those_of_one_process(crew, call, tmp_path):
    asking = ("concepts", "--layer", "features.9", "--class", "three", "--model", "digits-shallow", "--limit", 100)
    asking = (*asking, "--batch", 2, "--top", 2, "--shown", 3, "--json", "--out")
    found = [json.loads(call(*asking, tmp_path / f"{k}.png", *how).stdout) for k, how in enumerate(RAY_AND_NOT)]
    assert found[0]["pictures"] > 8, "a call has four batches of two"
    assert [each.pop("files") for each in found] == [[str(tmp_path / f"{k}.png")] for k in range(2)]
    assert found[0] == found[1]


@pytest.mark.slow
def test_patterns_by_ray_are_those_of_one_process(crew, call, tmp_path):
    place = drawn(tmp_path / "pictures", 70)
    (place / "broken.png").write_bytes(b"no picture")
    asking = ("patterns", "--model", "digits-shallow", "--data", "folder", "--root", place, "--batch", 1, "--json")
    paths = [tmp_path / f"{k}.safetensors" for k in range(2)]
    found = [
        json.loads(call(*asking, "--out", path, *how).stdout) for path, how in zip(paths, RAY_AND_NOT, strict=True)
    ]
    assert found[0] | {"patterns": ""} == found[1] | {"patterns": ""}
    assert (found[0]["samples"], found[0]["skipped"]) == (70, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.safetensors", "1.safetensors", "pictures"]
    alone, together = (Patterns.load(path) for path in paths)
    for name, pattern in alone.layers.items():
        torch.testing.assert_close(together.layers[name].a, pattern.a, rtol=2e-7, atol=0)


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
    refused = f"[Errno {errno.ECONNREFUSED}] {os.strerror(errno.ECONNREFUSED)}"
    assert error("--ray", "--address", "127.0.0.1:1") == (
        f"error: no Ray cluster answers at 127.0.0.1:1 ({refused}); start one (ray start --head), or leave --address "
        "out to work on this machine alone\n"
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
def test_killed_or_ended_by_ctrl_c_it_says_no_more_than_that_and_goes_on(call, tmp_path):
    number, out = 250, tmp_path / "study"
    place, mapping = drawn(tmp_path / "pictures", number), write(tmp_path / "map.json", '{"six": [6]}')
    words = [*SMALL, "--data", "folder", "--root", place, "--class-map", mapping]
    by_ray_alone = [sys.executable, "-m", "relprop", *map(str, words), "--ray", "--actors", "1", "--out", str(out)]

    def started():
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(by_ray_alone, env=os.environ | UNWATCHED, start_new_session=True, **pipes)

    def until(process, parts):
        while len(Store(out).done()) < parts:
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)

    with started() as process:
        until(process, 1)
        ours = list(processes(process.pid, "ray::MapWorker"))
        process.kill()
        assert process.communicate() == ("", "")
    assert len(ours) == 1
    end = time.monotonic() + 60
    while left := [pid for pid in ours if runs(pid)]:
        assert time.monotonic() < end, f"{left} go on"
        time.sleep(0.1)
    there = len(Store(out).done())
    assert there < 5
    with started() as process:
        until(process, there + 1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        assert process.communicate() == ("", "interrupted\n")
    assert process.returncode == 130
    for folder in (out, tmp_path / "calm"):
        assert f": {number} pictures in" in call(*words, "--out", folder).stdout
    assert contents(out) == contents(tmp_path / "calm")


def runs(pid):
    """A process that ended, and that nobody has waited for yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
