"""The course's feedback page for nbgrader's own commands: its generate_feedback, formgrader's button, make this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode
from sqlalchemy.engine import make_url
from traitlets import Unicode

from autograder import ROOT
from autograder.labs.lab import Lab


class FeedbackPage(HTMLExporter):
    """What ``c.GenerateFeedback.exporter_class`` is."""

    root = Unicode(str(ROOT), help="The course's root.").tag(config=True)

    def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **_: Any) -> tuple[str, dict]:
        from autograder.processes.limited import Limited, Stopped
        from autograder.records.feedback import feedback_page, render_release
        from autograder.records.gradebook import nbgrader_id
        from autograder.records.rows import read_records

        about = resources["nbgrader"]
        lab = Lab(about["assignment"], Path(self.root))
        records = read_records(Path(make_url(about["db_url"]).database).parent, [lab.name])
        students = {nbgrader_id(student): student for student in records.rows["student"]}
        student = students[about["student"]]
        render_release(nb)
        with Limited({"page": lambda: feedback_page(lab, student, records, nb)}) as limited:
            try:
                page = limited.call("page")
            except Stopped as error:
                self.log.warning("%s: answers are shown as they were written: %s", student, error)
                page = feedback_page(lab, student, records, nb, plain=str(error))
        return page, resources | {"output_extension": ".html"}
