"""What moto 5.2.5 gets wrong when something is deployed to it: each correction a function that says what and why.

`apply` is called once, before moto serves; what concerns runs is in `local.corrections`.
"""

from __future__ import annotations

import functools
import io
import zipfile

from moto.awslambda.exceptions import InvalidParameterValueException
from moto.awslambda.models import LambdaFunction, lambda_backends
from moto.core.utils import iso_8601_datetime_with_nanoseconds

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
UNZIPPED_LIMIT = 262_144_000


@functools.cache
def apply() -> None:
    """Make every correction, once per process."""
    for correct in (forgotten_configuration, unlimited_packages):
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
