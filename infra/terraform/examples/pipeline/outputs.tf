output "pipeline" {
  description = "What the pipeline is made of: what to start it with, where its data are."
  value       = module.pipeline
}
