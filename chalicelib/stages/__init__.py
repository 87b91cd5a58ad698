"""One module per Task state of `statemachine/pipeline.asl.json`: its name, one public function of that name.

A stage is a plain function from a request to a result of `contracts`; a Lambda, a test, a notebook
or a container can call it.
"""
