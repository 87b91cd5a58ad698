"""The Lambdas: one per Task state of `statemachine/pipeline.asl.json`, and one per module of `chalicelib/events`.

Stages are imported inside their handlers: a function that needs no pandas does not pay for it at
its cold start. On Lambda `cold_start` imports the stage of the process's own function beforehand.
"""

from chalice import Chalice

from chalicelib import cold_start, contracts, settings
from chalicelib.api import routes
from chalicelib.telemetry import run_stage

app = Chalice(app_name="sluice")


@app.lambda_function(name="plan")
def plan(event, context):
    from chalicelib.stages.plan import plan as stage

    return run_stage(stage, contracts.PlanRequest, event)


@app.lambda_function(name="fetch_partition")
def fetch_partition(event, context):
    from chalicelib.stages.fetch_partition import fetch_partition as stage

    return run_stage(stage, contracts.FetchPartitionRequest, event)


@app.lambda_function(name="write_manifest")
def write_manifest(event, context):
    from chalicelib.stages.write_manifest import write_manifest as stage

    return run_stage(stage, contracts.WriteManifestRequest, event)


@app.lambda_function(name="transform")
def transform(event, context):
    from chalicelib.stages.transform import transform as stage

    return run_stage(stage, contracts.TransformRequest, event)


@app.lambda_function(name="validate")
def validate(event, context):
    from chalicelib.stages.validate import validate as stage

    return run_stage(stage, contracts.ValidateRequest, event)


@app.lambda_function(name="load")
def load(event, context):
    from chalicelib.stages.load import load as stage

    return run_stage(stage, contracts.LoadRequest, event)


@app.lambda_function(name="record_chunk_failure")
def record_chunk_failure(event, context):
    from chalicelib.stages.record_chunk_failure import record_chunk_failure as stage

    return run_stage(stage, contracts.RecordChunkFailureRequest, event)


@app.lambda_function(name="review_schema")
def review_schema(event, context):
    from chalicelib.stages.review_schema import review_schema as stage

    return run_stage(stage, contracts.ReviewSchemaRequest, event)


@app.lambda_function(name="quality_gate")
def quality_gate(event, context):
    from chalicelib.stages.quality_gate import quality_gate as stage

    return run_stage(stage, contracts.QualityGateRequest, event)


@app.lambda_function(name="publish")
def publish(event, context):
    from chalicelib.stages.publish import publish as stage

    return run_stage(stage, contracts.PublishRequest, event)


@app.lambda_function(name="reject")
def reject(event, context):
    from chalicelib.stages.reject import reject as stage

    return run_stage(stage, contracts.RejectRequest, event)


@app.lambda_function(name="embed_shard")
def embed_shard(event, context):
    from chalicelib.stages.embed_shard import embed_shard as stage

    return run_stage(
        stage,
        contracts.EmbedShardRequest,
        event,
        remaining_seconds=lambda: context.get_remaining_time_in_millis() / 1000,
    )


@app.lambda_function(name="complete")
def complete(event, context):
    from chalicelib.stages.complete import complete as stage

    return run_stage(stage, contracts.CompleteRequest, event)


@app.lambda_function(name="record_failure")
def record_failure(event, context):
    from chalicelib.stages.record_failure import record_failure as stage

    return run_stage(stage, contracts.RecordFailureRequest, event)


@app.lambda_function(name="start_run")
def start_run(event, context):
    from chalicelib.events.start_run import start_run as receive

    return receive(event)


@app.lambda_function(name="collect_events")
def collect_events(event, context):
    from chalicelib.events.collect_events import collect_events as receive

    return receive(event)


@app.lambda_function(name="simulate_sensors")
def simulate_sensors(event, context):
    from chalicelib.events.simulate_sensors import simulate_sensors as receive

    return receive(event)


@app.lambda_function(name="apply_changes")
def apply_changes(event, context):
    from chalicelib.events.apply_changes import apply_changes as receive

    return receive(event)


# what a token may do is kept so long; a revoked one may be used as long
@app.authorizer(name="authorize", ttl_seconds=60)
def authorize(request):
    from chalicelib.api.access import policy

    return policy(request.token, request.method_arn)


app.register_blueprint(routes.blueprint(authorize))

cold_start.prepare(settings.runtime())
