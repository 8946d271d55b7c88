"""What `course` offers: a file for each group of people. The work is done elsewhere; here it is asked for and shown."""
