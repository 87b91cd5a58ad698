"""What moto 5.2.5's CloudFormation loses or ignores: each correction a function that says what and why.

A stack would come up without half of its resources, and nobody would be told. `apply` is called
once, before moto serves. Templates come translated: moto knows no transforms
(`deploy.sam.translate` does what AWS does with SAM's).
"""

from __future__ import annotations

import functools
from typing import Any

from moto import settings
from moto.apigateway.models import RestAPI, apigateway_backends
from moto.awslambda.models import LambdaFunction, LayerVersion, lambda_backends
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import UnformattedGetAttTemplateException, ValidationError
from moto.core.common_models import CloudFormationModel

from chalicelib.errors import SluiceError
from deploy.kinds import KINDS, Aws, Kind
from deploy.kinds.mappings import EventSourceMapping
from local.provision import client

_OF_FUNCTIONS = "AWS::Lambda::"


@functools.cache
def apply() -> None:
    """Make every correction, once per process."""
    for correct in (
        retained_except_on_create,
        ignored_types,
        lost_properties_of_functions,
        lost_names_of_layers,
        lost_bodies_of_apis,
        missing_stages_of_apis,
        ignored_failures,
    ):
        correct()


def retained_except_on_create() -> None:
    """Of the DeletionPolicies that keep a resource moto knows `Retain` alone."""
    original = parsing.ResourceMap.delete

    def delete(self) -> None:
        for resource in self._resource_json_map.values():
            if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
                resource["DeletionPolicy"] = "Retain"
        original(self)

    parsing.ResourceMap.delete = delete


def ignored_types() -> None:
    """Alarms, schedules, secrets, policies of buckets and more are skipped; of others, half of the properties.

    Such as a state machine's DefinitionSubstitutions, LoggingConfiguration and TracingConfiguration. Here
    they are made as `sluice deploy` makes them, by the calls of `deploy.kinds`.
    """
    models = {name: _model_of(kind) for name, kind in KINDS.items() if _is_ours(name)}
    parsing.get_model_map().update(models)
    parsing.resource_name_property_from_type = lambda name: "" if name in models else _property_of_name(name)


def _is_ours(name: str) -> bool:
    """Functions and layers are moto's; what is no type of CloudFormation's is for `sluice deploy` alone."""
    return name == EventSourceMapping.type or (name.startswith("AWS::") and not name.startswith(_OF_FUNCTIONS))


def _property_of_name(name: str) -> str | None:
    return parsing.get_name_type_map().get(name)


def lost_properties_of_functions() -> None:
    """Layers, tracing, architecture, tags and /tmp of a function are not read."""
    create, update = LambdaFunction.create_from_cloudformation_json, LambdaFunction.update_from_cloudformation_json

    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **kwargs):
        properties = cloudformation_json["Properties"] = _without_none(cloudformation_json["Properties"])
        return _completed(create(resource_name, cloudformation_json, account_id, region_name, **kwargs), properties)

    def update_from_cloudformation_json(
        cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name
    ):
        properties = cloudformation_json["Properties"] = _without_none(cloudformation_json["Properties"])
        properties.setdefault("Environment", {"Variables": {}})
        given = original_resource, new_resource_name, cloudformation_json, account_id, region_name
        return _completed(update(*given), properties)

    LambdaFunction.create_from_cloudformation_json = classmethod(create_from_cloudformation_json)
    LambdaFunction.update_from_cloudformation_json = classmethod(update_from_cloudformation_json)


def _completed(function: LambdaFunction, properties: dict) -> LambdaFunction:
    function.layers = function._get_layers_data(properties.get("Layers", []))
    function.tracing_config = properties.get("TracingConfig", {"Mode": "PassThrough"})
    function.architectures = properties.get("Architectures", ["x86_64"])
    function.ephemeral_storage = int(properties.get("EphemeralStorage", {}).get("Size", 512))
    function.memory_size, function.timeout = int(function.memory_size), int(function.timeout)
    function.tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
    return function


def lost_names_of_layers() -> None:
    """A layer is named after its stack, and `Ref` is not its version's ARN; a deleted stack keeps it."""
    create = LayerVersion.create_from_cloudformation_json

    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **kwargs):
        properties = cloudformation_json["Properties"]
        name = properties.get("LayerName", resource_name)
        made = create(name, cloudformation_json, account_id, region_name, **kwargs)
        made.compatible_architectures = properties.get("CompatibleArchitectures", [])
        return made

    def delete(self, account_id, region):
        lambda_backends[account_id][region].delete_layer_version(self.name, str(self.version))

    LayerVersion.create_from_cloudformation_json = classmethod(create_from_cloudformation_json)
    LayerVersion.delete = delete
    LayerVersion.physical_resource_id = property(lambda self: self.arn)


def lost_bodies_of_apis() -> None:
    """A REST API's Body, in which SAM has its methods, is not read: a deployment of it then finds none."""
    original = RestAPI.create_from_cloudformation_json.__func__

    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **more):
        properties = cloudformation_json["Properties"]
        body = properties.get("Body")
        if body and "Name" not in properties:  # it is the document's title then
            properties = {**properties, "Name": body["info"]["title"]}
            cloudformation_json = {**cloudformation_json, "Properties": properties}
        made = original(cls, resource_name, cloudformation_json, account_id, region_name, **more)
        if body:
            apigateway_backends[account_id][region_name].put_rest_api(made.id, body, False, "overwrite")
        return made

    RestAPI.create_from_cloudformation_json = classmethod(create_from_cloudformation_json)


def missing_stages_of_apis() -> None:
    """Stages of REST APIs are made by deployments alone, not as resources of their own."""
    parsing.get_model_map()[ApiStage.cloudformation_type()] = ApiStage


class ApiStage(CloudFormationModel):
    """A stage of a REST API; its settings per method are kept, not enforced."""

    def __init__(self, account_id: str, region_name: str, properties: dict):
        self._backend, self.properties = apigateway_backends[account_id][region_name], properties
        self.physical_resource_id = properties["StageName"]

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::ApiGateway::Stage"

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""  # its name is among its properties

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **more):
        properties = cloudformation_json["Properties"]
        made = cls(account_id, region_name, properties)
        made._backend.create_stage(properties["RestApiId"], properties["StageName"], properties["DeploymentId"])
        return made

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name
    ):
        original_resource.delete(account_id, region_name)
        return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)

    def delete(self, account_id: str, region_name: str) -> None:
        self._backend.delete_stage(self.properties["RestApiId"], self.properties["StageName"])


def ignored_failures() -> None:
    """A type that moto does not know is left out with a warning; a stack with one does not come up here."""
    original = parsing.resource_class_from_type

    @functools.wraps(original)
    def resource_class_from_type(resource_type):
        if resource_type not in parsing.NULL_MODELS and resource_type not in parsing.get_model_map():
            raise ValidationError(message=f"the local stack's CloudFormation does not make {resource_type}")
        return original(resource_type)

    parsing.resource_class_from_type = resource_class_from_type


class _Here(Aws):
    """This stack's AWS."""

    def client(self, service: str):
        return _client(service, f"http://127.0.0.1:{settings.moto_server_port()}")


@functools.cache
def _client(service: str, endpoint: str):
    return client(service, endpoint)


def _model_of(kind: Kind) -> type[CloudFormationModel]:
    """A class by which moto's CloudFormation makes resources of a kind."""

    class Resource(CloudFormationModel):
        def __init__(self, aws: Aws, physical_id: str, properties: dict):
            self.aws, self.physical_resource_id, self.properties = aws, physical_id, properties

        @staticmethod
        def cloudformation_type() -> str:
            return kind.type

        @staticmethod
        def cloudformation_name_type() -> str:
            return ""  # every resource of ours has its name among its properties

        @classmethod
        def has_cfn_attr(cls, attr: str) -> bool:
            return True

        def get_cfn_attribute(self, attribute_name: str) -> Any:
            try:
                return kind.attribute(self.aws, self.physical_resource_id, self.properties, attribute_name)
            except SluiceError:
                raise UnformattedGetAttTemplateException from None

        @classmethod
        def create_from_cloudformation_json(
            cls, resource_name, cloudformation_json, account_id, region_name, **kwargs
        ) -> Resource:
            aws, properties = (
                _Here(account_id, region_name, "aws", ""),
                _without_none(cloudformation_json.get("Properties", {})),
            )
            if faults := kind.check(kwargs.get("LogicalId", resource_name), properties):
                raise ValidationError(message="; ".join(faults))
            try:
                return cls(aws, kind.create(aws, properties), properties)
            except KeyError as error:  # moto would take it for a resource that the template has not
                raise ValidationError(message=f"{kind.type} cannot be made: {error!r}") from error

        @classmethod
        def update_from_cloudformation_json(
            cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name
        ) -> Resource:
            aws, properties = original_resource.aws, _without_none(cloudformation_json.get("Properties", {}))
            physical_id = original_resource.physical_resource_id
            if any(original_resource.properties.get(name) != properties.get(name) for name in kind.replaced_by):
                made = cls(aws, kind.create(aws, properties), properties)
                kind.delete(aws, physical_id)
                return made
            kind.update(aws, physical_id, kind.read(aws, physical_id) or {}, properties)
            return cls(aws, physical_id, properties)

        def delete(self, account_id: str, region_name: str) -> None:
            kind.delete(self.aws, self.physical_resource_id)

    Resource.__name__ = kind.type
    return Resource


def _without_none(value: Any) -> Any:
    """Without what was `AWS::NoValue`: moto leaves it in lists."""
    if isinstance(value, dict):
        return {name: _without_none(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_none(inner) for inner in value if inner is not None]
    return value
