# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
# ---

# %% [markdown]
# # Start here
#
# **New here?** Open a lab from the table below. A lab is a notebook: read the text above an exercise, replace its line
# `raise NotImplementedError(...)` by your code, run the cell (Shift+Enter), then run the check cell under it. The check
# says whether your code keeps to the rules of the exercise, and if not, which one it breaks.
#
# **Back again?** The table says how far you are. Labs follow one another, but each repeats what it needs of the ones
# before.
#
# [How you work with a lab, what is graded, how you hand in](../docs/student.md)

# %% [markdown]
# ## Labs

# %% jupyter={"source_hidden": true}
# run this cell again to bring the table up to date
from IPython.display import Markdown

from course_utils.checks.progress import overview

Markdown(overview())

# %% [markdown]
# The table shows the notebooks as they were saved when it was made. To make it anew, press Shift+Enter on the grey line
# above it. Its points are those of the checks that you see; grading looks at the same rules with more inputs.
#
# ## Demos
#
# [Pictures to play with](demos.ipynb): what rounding, ranges and bits do to numbers and to networks. They need nothing
# that you have written.
#
# ## Something does not work?
#
# In a terminal, `python start.py doctor` (where there is no `start.py`: `course doctor`) looks at your installation and
# says how to mend it.
