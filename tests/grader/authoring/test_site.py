"""The site's pages: nothing of the answers on them, pictures in place of widgets, links that lead somewhere."""

from __future__ import annotations

import html
from pathlib import Path

import nbformat
import pytest
from mini_course import MINI, write_mini
from nbformat import NotebookNode

from autograder import ROOT
from autograder.authoring import lab_page, links, site
from autograder.authoring.gates import secret_lines
from autograder.errors import CourseError
from autograder.labs.build import answered
from autograder.labs.lab import Lab

HIDDEN = 'hint="do not write into x"'
ANSWER = 'raise ValueError("a string cannot be doubled")'
MODEL_ANSWER = "Because the model answer says so, at length."


def executed(lab: Lab, outputs: dict[str, list[NotebookNode]]) -> NotebookNode:
    """The answered notebook as if it had run."""
    notebook = answered(lab)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = 1
            cell.outputs = outputs.get(cell["id"], [])
    return notebook


def printed(text: str) -> NotebookNode:
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def shown(**data: object) -> NotebookNode:
    return nbformat.v4.new_output("display_data", {kind.replace("_", "/", 1): value for kind, value in data.items()})


def test_a_page_has_stubs_and_outputs_and_nothing_secret(mini: Lab) -> None:
    # so that the test can fail: the answers are in what was run
    ran = executed(mini, {"check_double": [printed("double: all is well")], "double": [printed("from an answer")]})
    text = nbformat.writes(ran).replace('\\"', '"')
    assert ANSWER in text and MODEL_ANSWER in text and {ANSWER, MODEL_ANSWER} < set(secret_lines(mini))
    assert HIDDEN not in text  # hidden checks do not even run: what they print can be on no page

    page = lab_page.lab_page(mini, ran)

    text = nbformat.writes(page).replace('\\"', '"')
    assert [line for line in (HIDDEN, ANSWER, MODEL_ANSWER, *secret_lines(mini)) if line in text] == []
    assert 'raise NotImplementedError("double")' in text
    assert "double: all is well" in text
    assert "from an answer" not in text


@pytest.mark.parametrize("form", ["printed", "html"])
def test_a_page_that_would_show_an_answer_is_refused(mini: Lab, form: str) -> None:
    output = printed(ANSWER) if form == "printed" else shown(text_html=f"<i>{html.escape(ANSWER)}</i>")
    with pytest.raises(CourseError, match=r"00_mini would show an answer, in cell 'check_double'"):
        lab_page.lab_page(mini, executed(mini, {"check_double": [output]}))


def test_widgets_become_pictures_and_pictures_have_words() -> None:
    cell = nbformat.v4.new_code_cell("# the error\ndemo()")
    cell.outputs = [
        nbformat.v4.new_output("display_data", {lab_page.WIDGET: {"model_id": "box"}, "text/plain": "VBox()"}),
        shown(image_png="aGk=\n"),
        nbformat.v4.new_output("display_data", {"application/vnd.made-up+json": {}, "text/plain": "words"}),
    ]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    models = {
        "box": {"model_name": "VBoxModel", "state": {"children": ["IPY_MODEL_bits", "IPY_MODEL_picture"]}},
        "bits": {"model_name": "IntSliderModel", "state": {"description": "num_bits <"}},
        "picture": {"model_name": "HTMLModel", "state": {"value": '<img alt="a staircase" src="data:,">'}},
    }
    notebook.metadata["widgets"] = {lab_page.WIDGET_STATE: {"state": models}}

    still = lab_page.still_page(notebook)

    demo, picture, words = [output.data for output in still.cells[0].outputs]
    assert "num_bits &lt;" in demo["text/html"] and 'alt="a staircase"' in demo["text/html"]
    assert picture["text/html"] == '<img alt="Picture made by: the error" src="data:image/png;base64,aGk=">'
    assert words == {"text/plain": "words"}
    assert "widgets" not in still.metadata


def test_a_notebook_that_does_not_run_is_named_with_its_cell(mini: Lab) -> None:
    with pytest.raises(CourseError, match=r"^00_mini does not run: cell 'explore-\d+': RuntimeError: the grader must"):
        lab_page.execute(answered(mini), mini.name)


def test_what_has_run_does_not_run_again_until_it_changes(
    mini: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(lab_page, "execute", lambda notebook, name, told: ran.append(name) or notebook)
    changed = write_mini(tmp_path / "changed", MINI.replace("the double of 3 is 6", "twice 3 is 6"))
    for lab in (mini, mini, changed, changed):
        lab_page.execute_once(answered(lab), lab.name, tmp_path / "executed")
    assert ran == ["00_mini", "00_mini"]
    assert len(list((tmp_path / "executed").iterdir())) == 1


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="other.html#here">good</a> <a href="#top">good</a> <a href="https://example.org/x">good</a>', ""),
        ('<a href="folder">good</a> <a href="folder/my%20file.txt">good</a> <img src="data:,x" alt="good">', ""),
        ('<a href="gone.html">x</a>', "leads nowhere: gone.html"),
        ('<a href="other.html#gone">x</a>', "has no such place: other.html#gone"),
        ('<a href="#gone">x</a>', "has no such place: #gone"),
        ('<a href="https://nowhere">x</a>', "is no address: https://nowhere"),
        ('<a href="mailto:nobody">x</a>', "is no address: mailto:nobody"),
        ('<script src="https://example.org/x.js"></script>', "is loaded from another host: https://example.org/x.js"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "is loaded from another host: //example.org/x.css"),
        ('<img src="gone.png" alt="words">', "leads nowhere: gone.png"),
        ('<img src="data:,x" alt=" ">', "a picture without a text alternative: data:,x"),
        ('<img src="data:,x">', "a picture without a text alternative: data:,x"),
    ],
)
def test_faults_of_links_and_pictures(tmp_path: Path, body: str, fault: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "index.html").write_text("<p>")
    (tmp_path / "folder" / "my file.txt").write_text("")
    (tmp_path / "other.html").write_text('<p id="here">')
    (tmp_path / "page.html").write_text(f'<p id="top">{body}')
    assert links.faults(links.read_pages(tmp_path)) == ([f"page.html: {fault}"] if fault else [])


def test_faults_of_style_sheets(tmp_path: Path) -> None:
    (tmp_path / "there.woff").write_text("")
    (tmp_path / "style.css").write_text(
        '@import "https://example.org/a.css"; b {src: url(there.woff), url("gone.woff")}'
    )
    assert links.style_faults(tmp_path) == [
        "style.css: is loaded from another host: https://example.org/a.css",
        "style.css: leads nowhere: gone.woff",
    ]


def test_guides_and_a_lab_become_pages_without_warnings(mini: Lab, tmp_path: Path) -> None:
    """With empty pages in place of the reference: it takes half a minute, and `make site` checks it."""
    source, made = tmp_path / "source", tmp_path / "made"
    demos = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Demos\n\n[Start](start.ipynb)")])
    site.write_labs([mini], {mini.name: executed(mini, {"check_double": [printed("all is well")]})}, source)
    site.write_demos(demos, source)
    site.write_guides(ROOT, source)
    for path in site.write_reference(ROOT, source):
        title = path.read_text(encoding="utf-8").partition("```{eval-rst}")[0]
        path.write_text(title, encoding="utf-8")

    site.run_sphinx(ROOT, source, made)

    assert site.faults([mini], ROOT, made) == []
    text = links.Page(made / "notebooks" / "00_mini" / "00_mini.html").text
    assert "all is well" in text and 'raise NotImplementedError("double")' in text


def test_answers_and_folders_are_found_on_finished_pages(mini: Lab, tmp_path: Path) -> None:
    # as Sphinx writes code: every word in a tag of its own
    words = "".join(f"<span>{html.escape(word)}</span> " for word in ANSWER.split())
    (tmp_path / "page.html").write_text(f"<pre>{words}</pre><p>in {ROOT / 'solutions'}")
    found = site.faults([mini], ROOT, tmp_path)
    assert f"page.html: shows an answer of 00_mini: {ANSWER}" in found
    assert f"page.html: names a folder of this machine, {ROOT}" in found


def test_what_is_no_more_is_removed(tmp_path: Path) -> None:
    kept = site.write(tmp_path / "labs" / "kept.md", b"")
    gone = site.write(tmp_path / "labs" / "gone.md", b"")
    assert site.remove_others(tmp_path, [kept]) == [gone]
    assert kept.is_file() and not gone.exists()


def test_sphinx_that_warns_ends_it(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    source = tmp_path / "source"
    site.write(source / "index.md", b"# Start\n\n[nowhere](gone.md)\n")
    with pytest.raises(CourseError, match="Sphinx warned"):
        site.run_sphinx(ROOT, source, tmp_path / "made")
    assert "gone.md" in capfd.readouterr().err
    # with what Sphinx remembers of a page, the next run would not read it, and so not warn again
    assert not list(tmp_path.rglob("*.doctree"))
