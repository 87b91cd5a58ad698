"""Layers are made once, and deleted when no build has used them for long."""

import os
import threading
import time

import pytest

from deploy import layer_cache

KIND = "dependencies-python3.11-x86_64"


@pytest.fixture
def kept(tmp_path):
    """kept(name, days): a layer that was last used so many days ago."""

    def made(name, days):
        path = tmp_path / f"{name}.zip"
        path.write_bytes(b"layer")
        used = time.time() - days * 86_400
        os.utime(path, (used, used))
        return path

    return made


def test_a_layer_is_made_where_it_is_missing_and_no_second_time(tmp_path):
    calls = []

    def make(path):
        calls.append(path)
        path.write_bytes(b"layer")

    first, again = (layer_cache.layer(tmp_path, KIND, "0123456789abcdef", make) for _ in range(2))
    assert calls == [first] == [again] == [tmp_path / f"{KIND}-0123456789abcdef.zip"]
    layer_cache.layer(tmp_path, KIND, "fedcba9876543210", make)
    assert len(calls) == 2


def test_who_needs_a_layer_that_another_is_making_waits_and_takes_that(tmp_path):
    begun, twice, calls, found = threading.Event(), threading.Event(), [], []

    def make(path):
        calls.append(path)
        if len(calls) == 1:
            begun.set()
            twice.wait(0.5)  # time for the other one, if it does not wait
        else:
            twice.set()
        path.write_bytes(b"layer")

    def take():
        found.append(layer_cache.layer(tmp_path / "cache", KIND, "0123456789abcdef", make))

    first, second = threading.Thread(target=take), threading.Thread(target=take)
    first.start()
    assert begun.wait(30)
    second.start()
    for thread in (first, second):
        thread.join(30)
    assert calls == [tmp_path / "cache" / f"{KIND}-0123456789abcdef.zip"]
    assert found == calls * 2


def test_what_was_used_lately_is_kept_however_many_they_are(tmp_path, kept):
    layers = [kept(f"{KIND}-{n:016x}", days=n) for n in range(10)]
    assert layer_cache.forget_unused(tmp_path) == []
    assert all(path.exists() for path in layers)


def test_of_old_layers_the_last_builds_of_each_kind_are_kept(tmp_path, kept):
    layers = {days: kept(f"{KIND}-{days:016x}", days) for days in (31, 40, 50, 60, 70)}
    gate = kept("gate-python3.11-x86_64-0000000000000000", 400)
    other = kept("dependencies-python3.11-arm64-0000000000000000", 400)
    assert sorted(layer_cache.forget_unused(tmp_path)) == sorted([layers[60], layers[70]])
    assert {days for days, path in layers.items() if path.exists()} == {31, 40, 50}
    assert gate.exists() and other.exists()


def test_a_layer_that_is_used_again_is_not_old(tmp_path, kept):
    layers = [kept(f"{KIND}-{n:016x}", days=100 + n) for n in range(5)]
    assert layer_cache.layer(tmp_path, KIND, f"{4:016x}", make=None) == layers[4]
    layer_cache.forget_unused(tmp_path)
    assert [path.exists() for path in layers] == [True, True, False, False, True]


def test_other_files_are_left_alone_and_a_folder_that_is_not_there_is_empty(tmp_path, kept):
    note = tmp_path / "note-1.txt"
    note.write_text("mine")
    assert layer_cache.forget_unused(tmp_path) == []
    assert note.exists()
    assert layer_cache.forget_unused(tmp_path / "nowhere") == []
