"""`make quick` runs what depends on a change: by imports, by folder, by lab."""

from __future__ import annotations

import subprocess

from quick import ROOT, changed_files, distances, selected


def test_a_modules_own_tests_come_first_and_its_users_follow():
    chosen = selected(["course_utils/quantization/observers.py"])
    assert "tests/helpers/quantization/test_observers.py" in chosen[:5]
    assert chosen.index("tests/helpers/demos/test_threshold_slider.py") > chosen.index(
        "tests/helpers/quantization/test_observers.py"
    )
    assert not [name for name in chosen if "numerics" in name], "what lies below does not depend on it"


def test_a_name_that_a_package_hands_on_is_followed_to_its_module():
    near = distances({"course_utils.numerics.formats"})
    users = {path.relative_to(ROOT).as_posix() for path in near}
    assert "tests/helpers/demos/test_bit_toggler.py" in users


def test_a_lab_has_its_gates_and_its_run_alone():
    assert selected(["solutions/02_quantization_helpers/wrong/mse__sum.py"]) == [
        "tests/labs:02_quantization_helpers",
        "tests/browser/test_labs.py:02_quantization_helpers",
    ]
    assert len(selected(["solutions/shared/how_to_work.md"])) >= 12, "all labs"


def test_what_is_no_module_has_its_test():
    assert selected(["constraints.txt", "docs/author.md"]) == [
        "tests/test_project.py",
        "tests/grader/authoring/test_site.py",
    ]


def test_changes_are_what_git_tells(tmp_path, monkeypatch):
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr("quick.ROOT", tmp_path)
    git("init", "-q", "-b", "main")
    for name in ("one", "two", "gone"):
        (tmp_path / name).write_text("1")
        git("add", name)
        git("commit", "-qm", name)
    assert changed_files(None) == ["gone"], "nothing is changed: the last commit"
    (tmp_path / "one").write_text("2")
    (tmp_path / "new").write_text("1")
    (tmp_path / "gone").unlink()
    assert changed_files(None) == ["new", "one"]
    assert changed_files("HEAD~1") == ["new", "one"]
