"""What moto 5.2.5 gets wrong when something is deployed to it: each correction a function that says what and why.

`apply` is called once, before moto serves; what concerns runs is in `local.corrections`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import zipfile
from collections.abc import Iterator

from moto.apigateway.models import APIGatewayBackend
from moto.apigateway.responses import APIGatewayResponse
from moto.awslambda.exceptions import InvalidParameterValueException, UnknownLayerVersionException
from moto.awslambda.models import LambdaFunction, lambda_backends
from moto.awslambda.responses import LambdaResponse
from moto.core.responses import ActionResult
from moto.core.utils import iso_8601_datetime_with_nanoseconds
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.iam.responses import IamResponse
from moto.s3.models import FakeBucket

from local import iam, roles

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
UNZIPPED_LIMIT = 262_144_000


@functools.cache
def apply() -> None:
    """Make every correction, once per process."""
    for correct in (
        forgotten_configuration,
        deleted_layers,
        unlimited_packages,
        layers_by_their_arns,
        conditions_of_bucket_policies,
        simulation,
        domain_names,
    ):
        correct()


def forgotten_configuration() -> None:
    """UpdateFunctionConfiguration ignores tracing and the key, and neither update says when the function changed."""
    update_configuration, update_code = LambdaFunction.update_configuration, LambdaFunction.update_function_code

    @functools.wraps(update_configuration)
    def configured(self, config_updates):
        if "TracingConfig" in config_updates:
            self.tracing_config = config_updates["TracingConfig"]
        if "KMSKeyArn" in config_updates:
            self.kms_key_arn = config_updates["KMSKeyArn"]
        self.last_modified = iso_8601_datetime_with_nanoseconds()
        return update_configuration(self, config_updates)

    @functools.wraps(update_code)
    def coded(self, updated_spec):
        if not updated_spec.get("DryRun"):
            self.last_modified = iso_8601_datetime_with_nanoseconds()
            if "Architectures" in updated_spec:
                self.architectures = updated_spec["Architectures"]
        return update_code(self, updated_spec)

    LambdaFunction.update_configuration = configured
    LambdaFunction.update_function_code = coded


def deleted_layers() -> None:
    """A layer's deleted version is gone for the functions that have it too; on AWS they keep it.

    https://docs.aws.amazon.com/lambda/latest/dg/creating-deleting-layers.html#layers-delete
    Chalice deletes its layer's last version before it updates the functions one by one.
    """
    get_layers = LambdaFunction._get_layers_data

    @functools.wraps(get_layers)
    def _get_layers_data(self, layers_versions_arns):
        layers = get_layers(self, layers_versions_arns)
        backend = lambda_backends[self.account_id][self.region]
        self.layer_contents = {
            layer["Arn"]: backend.layers_versions_by_arn(layer["Arn"]).code_bytes for layer in layers
        }
        return layers

    LambdaFunction._get_layers_data = _get_layers_data


def unlimited_packages() -> None:
    """A function of any size is accepted; on AWS package and layers have 262,144,000 bytes unzipped at most."""
    set_code, update_configuration = LambdaFunction._set_function_code, LambdaFunction.update_configuration

    @functools.wraps(set_code)
    def _set_function_code(self, updated_spec):
        with _unchanged_if_too_large(self):
            set_code(self, updated_spec)

    @functools.wraps(update_configuration)
    def configured(self, config_updates):
        with _unchanged_if_too_large(self):
            return update_configuration(self, config_updates)

    LambdaFunction._set_function_code = _set_function_code
    LambdaFunction.update_configuration = configured


@contextlib.contextmanager
def _unchanged_if_too_large(function: LambdaFunction) -> Iterator[None]:
    before = dict(vars(function))
    yield
    if sum(map(_unzipped, [function.code_bytes, *function.layer_contents.values()])) > UNZIPPED_LIMIT:
        vars(function).update(before)
        raise InvalidParameterValueException(f"Unzipped size must be smaller than {UNZIPPED_LIMIT} bytes")


def layers_by_their_arns() -> None:
    """GetLayerVersionByArn, with which Chalice looks for the layer that it made, is not implemented."""

    def get_layer_version_by_arn(self):
        arn = self._get_param("Arn")
        found = self.backend.layers_versions_by_arn(arn)
        if found is None:
            raise UnknownLayerVersionException([arn])
        return json.dumps(found.get_layer_version())

    LambdaResponse.get_layer_version_by_arn = get_layer_version_by_arn


def _unzipped(content: bytes) -> int:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            return sum(member.file_size for member in package.infolist())
    except zipfile.BadZipFile:
        return 0


def conditions_of_bucket_policies() -> None:
    """A statement that refuses what comes without TLS refuses everything: moto takes no notice of conditions.

    On loopback there is no TLS, and no network that it would protect from: it counts as there.
    """

    def get_permission(self, action, resource):
        if self.policy is None:
            return PermissionResult.NEUTRAL
        document = json.loads(self.policy.decode())
        without_tls = {"Bool": {"aws:SecureTransport": "false"}}
        kept = [statement for statement in document["Statement"] if statement.get("Condition") != without_tls]
        if not kept:
            return PermissionResult.NEUTRAL
        return IAMPolicy(json.dumps({**document, "Statement": kept})).is_action_permitted(action, resource)

    FakeBucket.get_permission = get_permission


def simulation() -> None:
    """SimulatePrincipalPolicy is not implemented. Whoever has no policies here, as the stack's user, may do everything.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """

    def simulate_principal_policy(self):
        documents = roles.policies(self._get_param("PolicySourceArn"))
        actions, resources = self._get_param("ActionNames", []), self._get_param("ResourceArns", ["*"])
        results = [
            {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": "allowed"
                if documents is None or iam.allows(documents, action, resource)
                else "implicitDeny",
            }
            for action in actions
            for resource in resources
        ]
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})

    IamResponse.simulate_principal_policy = simulate_principal_policy


def domain_names() -> None:
    """UpdateDomainName is missing, and a domain name that never had a mapping cannot be asked for it.

    https://docs.aws.amazon.com/apigateway/latest/api/API_UpdateDomainName.html
    """

    def update_domain_name(self):
        name = self.path.rstrip("/").rpartition("/")[2]
        domain = self.backend.get_domain_name(name)
        for operation in self._get_param("patchOperations"):
            match operation["path"].strip("/").split("/"):
                case ["regionalCertificateArn"]:
                    domain.regional_certificate_arn = operation["value"]
                case ["securityPolicy"]:
                    domain.security_policy = operation["value"]
                case ["endpointConfiguration", "types", "0"]:
                    domain.endpoint_configuration = {"types": [operation["value"]]}
                case other:
                    raise NotImplementedError(f"a domain name's {other}")
        return json.dumps(domain.to_json())

    original = APIGatewayBackend.create_domain_name

    @functools.wraps(original)
    def create_domain_name(self, domain_name, *given, **named):
        made = original(self, domain_name, *given, **named)
        self.base_path_mappings.setdefault(domain_name, {})
        return made

    APIGatewayBackend.create_domain_name = create_domain_name
    APIGatewayResponse.update_domain_name = update_domain_name
