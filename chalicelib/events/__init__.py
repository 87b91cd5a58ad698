"""The Lambdas that events invoke, which are no states of the machine: one module each, one public function of its name."""
