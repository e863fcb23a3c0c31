"""Experiments whose results the lessons show; each is a command, such as `python -m gan_course.studies.birds heads`."""
