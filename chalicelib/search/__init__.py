"""Search over the text of what was loaded: by meaning, by words, or by both. docs/search.md

`finding.find` is the whole of it; every other module is one step.
"""
