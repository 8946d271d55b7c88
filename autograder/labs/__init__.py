"""A lab's way: from its source to the notebook that students get."""
