"""The Lambdas that events invoke and no state does: one module each, one public function of its name."""
