"""An edit of the application is noticed, however the file came to its place."""

import os
import time

import pytest

from local import source_code


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "chalicelib" / "__pycache__").mkdir(parents=True)
    (tmp_path / "chalicelib" / "rows.py").write_text("one")
    os.utime(tmp_path / "chalicelib" / "rows.py", (0, 0))
    return tmp_path


def move(folder):
    """Another file of the same size and time, as `cp -p` and `mv` bring it."""
    (folder / "prepared").write_text("two")
    os.utime(folder / "prepared", (0, 0))
    (folder / "prepared").replace(folder / "chalicelib" / "rows.py")


@pytest.mark.parametrize(
    ("edit", "noticed"),
    [
        (move, True),
        (lambda folder: (folder / "chalicelib" / "rows.py").write_text("two"), True),
        (lambda folder: (folder / "chalicelib" / "rows.py").unlink(), True),
        (lambda folder: (folder / "app.py").write_text(""), True),
        (lambda folder: (folder / "chalicelib" / "__pycache__" / "rows.pyc").write_text(""), False),
        (lambda folder: (folder / "README.md").write_text(""), False),
    ],
    ids=["moved-there", "written", "deleted", "new", "bytecode", "elsewhere"],
)
def test_it_is_noticed_once(folder, monkeypatch, edit, noticed):
    monkeypatch.setattr(source_code, "INTERVAL", 0)
    code = source_code.Fingerprint(folder)
    assert not code.changed()
    time.sleep(0.02)  # file systems tell steps of the kernel's clock, 4 ms
    edit(folder)
    assert (code.changed(), code.changed()) == (noticed, False)
