"""What nbgrader's own tools are handed: safe formgrader pages, a sandboxed kernel, rebuilt submissions."""
