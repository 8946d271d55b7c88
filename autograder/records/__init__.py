"""What is written of grades: nbgrader's gradebook, the report, exports, likenesses."""
