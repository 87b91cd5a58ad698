"""The storm: a campaign of runs whose truth is known, each with faults, that looks for a row that is lost.

`make storm` runs it, docs/storm.md says what it does to a run and what must hold afterwards. A seed makes a list of
trials (`plan`), each with its data (`truth`) and its faults (`faults`). The faults come from outside of the pipeline's
code: from the source (`upstream`), from AWS and the workers (`local.faults`), from Postgres (`database`), and from
what is stopped and started again (`stack`). `trial` plays one of them, `checks` says what must hold, `campaign` plays
them all, several at a time.
"""
