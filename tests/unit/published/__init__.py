"""What other stream processors document and test about event time, as cases for kappa.

Each case names project, file and test (or heading) its numbers are from. Where kappa differs on
purpose, the case says what they do and why kappa does not.
"""
