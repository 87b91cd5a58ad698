"""What moto 5.2.5 does slowly, or keeps for ever: each shortcut a function that says what it saves.

Measured on 2 cores with Python 3.11: an item of a distributed Map whose task is an empty Lambda
costs 13 ms without them, 2.4 ms with them; a small PUT to S3 4.5 and 2.9 ms.
"""

from __future__ import annotations

import collections
import functools
import io
import sys
import threading
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import settings
from moto.core import responses
from moto.core import utils as core_utils
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.stepfunctions.parser import utils
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.eval.event import event_manager
from moto.stepfunctions.parser.asl.parse import asl_parser
from moto.stepfunctions.parser.asl.utils import boto_client, json_path

from local import roles
from local.deployed import Lambdas, Throttled
from local.faults import Unheard
from local.runtime import NoWorker, RequestTooLarge, UnknownFunction

INTERPRETER = "moto.stepfunctions.parser"


@functools.cache
def apply(lambdas: Lambdas) -> None:
    """Take every shortcut, once per process; the interpreter's Lambda tasks go straight to `lambdas`."""
    repeated_parsing()
    repeated_paths()
    repeated_clients(lambdas)
    repeated_search_for_services()
    repeated_search_for_methods()
    copied_histories()
    remembered_threads()


def repeated_parsing() -> None:
    """Each execution parses the definition anew (120 ms for ours); running a program does not change it."""
    asl_parser.AmazonStateLanguageParser.parse = staticmethod(
        functools.lru_cache(maxsize=16)(asl_parser.AmazonStateLanguageParser.parse)
    )


def repeated_paths() -> None:
    """Each use of a JSONPath builds a parser for it, 0.4 ms: a tenth of what the server does for a run."""
    for module in (json_path, result_path):
        module.parse = functools.lru_cache(maxsize=1024)(module.parse)


def repeated_clients(lambdas: Lambdas) -> None:
    """Each task makes a boto3 client, which looks for `localhost` at ::1 first: 7 ms.

    For Lambda there is no need for one: the HTTP request to this very process took 3.4 ms more.
    """
    making = threading.Lock()  # boto3.client shares a session, which is not thread-safe

    @functools.cache
    def client(service: str, region: str):
        if service == "lambda":
            return LambdaClient(lambdas)
        with making:
            return boto3.client(
                service,
                region_name=region,
                endpoint_url=f"http://127.0.0.1:{settings.moto_server_port()}",
                aws_access_key_id="ak",
                aws_secret_access_key="sk",
                config=Config(
                    parameter_validation=False,
                    retries={"total_max_attempts": 1},
                    connect_timeout=60,
                    read_timeout=3600,
                    max_pool_connections=100,
                ),
            )

    def boto_client_for(region: str, service: str, state_credentials=None):
        documents = roles.policies(state_credentials.role_arn) if state_credentials else None
        found = client(service, region)
        return found if documents is None else roles.Restricted(found, service, documents, region)

    _replace("boto_client_for", boto_client.boto_client_for, boto_client_for)


class LambdaClient:
    """`Invoke` of boto3's Lambda client, in this process."""

    def __init__(self, lambdas: Lambdas):
        self._lambdas = lambdas

    def invoke(self, FunctionName: str, Payload: bytes = b"{}", **_) -> dict:
        try:
            result = self._lambdas.invoke(FunctionName, Payload)
        except UnknownFunction as error:
            raise _client_error(404, "ResourceNotFoundException", str(error)) from error
        except RequestTooLarge as error:
            raise _client_error(413, "RequestTooLargeException", str(error)) from error
        except Throttled as error:
            raise _client_error(429, "TooManyRequestsException", str(error)) from error
        except (Unheard, NoWorker) as error:
            raise _client_error(500, "ServiceException", str(error)) from error
        answer = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": io.BytesIO(result.payload)}
        return answer | ({"FunctionError": result.error} if result.error else {})


def _client_error(status: int, code: str, message: str) -> ClientError:
    metadata = {"HTTPStatusCode": status, "RequestId": str(uuid.uuid4())}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, "Invoke")


def repeated_search_for_services() -> None:
    """Each request lists moto's folders, twice, to find out whether its host names a service: 1.6 ms."""
    dispatcher = DomainDispatcherApplication
    original = dispatcher.get_backend_for_host
    found: dict[str | None, str | None] = {}

    def get_backend_for_host(self, host):
        if host not in found:
            found[host] = original(self, host)
        return found[host]

    dispatcher.get_backend_for_host = get_backend_for_host


@functools.cache
def repeated_search_for_methods() -> None:
    """Each request lists the methods of the class that answers it, which never change: 4 % of a deployment's CPU."""
    responses.method_names_from_class = functools.cache(core_utils.method_names_from_class)


def copied_histories() -> None:
    """GetExecutionHistory copies the history deeply, inputs and outputs included; events never change."""

    def get_event_history(self):
        with self._mutex:
            return list(self._history_event_list)

    event_manager.EventManager.get_event_history = get_event_history


def remembered_threads() -> None:
    """Every thread of every execution is kept in a list, with all the data it saw."""
    _replace("TMP_THREADS", utils.TMP_THREADS, collections.deque(maxlen=0))


def _replace(name: str, old: object, new: object) -> None:
    """Give `name` another value in all modules of the interpreter, which import it by name."""
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(INTERPRETER) and getattr(module, name, None) is old:
            setattr(module, name, new)
