"""What moto 5.2.5 gets wrong when something is deployed to it: each correction a function that says what and why.

`apply` is called once, before moto serves; what concerns runs is in `local.corrections`.
"""

from __future__ import annotations

import functools
import io
import json
import zipfile

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
        unlimited_packages,
        layers_by_their_arns,
        conditions_of_bucket_policies,
        simulation,
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


def unlimited_packages() -> None:
    """A function of any size is accepted; on AWS package and layers have 262,144,000 bytes unzipped at most."""
    set_code, get_layers = LambdaFunction._set_function_code, LambdaFunction._get_layers_data

    @functools.wraps(set_code)
    def _set_function_code(self, updated_spec):
        before = dict(vars(self))
        set_code(self, updated_spec)
        try:
            _check_size(self, self.layers)
        except InvalidParameterValueException:
            vars(self).update(before)
            raise

    @functools.wraps(get_layers)
    def _get_layers_data(self, layers_versions_arns):
        layers = get_layers(self, layers_versions_arns)
        if hasattr(self, "code_bytes"):  # else the function is being made, and its code comes last
            _check_size(self, layers)
        return layers

    LambdaFunction._set_function_code = _set_function_code
    LambdaFunction._get_layers_data = _get_layers_data


def layers_by_their_arns() -> None:
    """GetLayerVersionByArn, with which Chalice looks for the layer that it made, is not implemented."""

    def get_layer_version_by_arn(self):
        arn = self._get_param("Arn")
        found = self.backend.layers_versions_by_arn(arn)
        if found is None:
            raise UnknownLayerVersionException([arn])
        return json.dumps(found.get_layer_version())

    LambdaResponse.get_layer_version_by_arn = get_layer_version_by_arn


def _check_size(function: LambdaFunction, layers: list) -> None:
    backend = lambda_backends[function.account_id][function.region]
    contents = [function.code_bytes, *(backend.layers_versions_by_arn(layer["Arn"]).code_bytes for layer in layers)]
    if sum(map(_unzipped, contents)) > UNZIPPED_LIMIT:
        raise InvalidParameterValueException(
            f"Unzipped size must be smaller than {UNZIPPED_LIMIT} bytes",
        )


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
