"""Everything that brings Sluice to AWS: artefacts, the template, and what `sluice deploy` does with both."""
