"""From the labs' releases to what students unpack and start: one folder, one zip, one wheel without grader parts."""
