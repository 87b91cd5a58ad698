"""What Chalice would take without a word is refused before anything is changed."""

import copy
import json
from pathlib import Path

import pytest

from chalicelib.errors import ConfigurationError
from deploy import stage

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads((ROOT / ".chalice" / "config.json").read_text())


@pytest.fixture
def read(tmp_path):
    """read(document) as stage dev of a project."""

    def take(document):
        (tmp_path / ".chalice").mkdir(exist_ok=True)
        (tmp_path / ".chalice" / "config.json").write_text(json.dumps(document))
        return stage.read(tmp_path, "dev")

    return take


def test_the_configuration_that_comes_along_is_taken(read):
    for name in ("dev", "staging", "prod"):
        assert stage.read(ROOT, name).prefix == f"sluice-{name}"
    assert read(DOCUMENT).function("load").lambda_timeout == 300


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("lambda_timeot",), 300, "lambda_timeot is no setting, lambda_timeout is"),
        (("lambda_functions", "trnsform"), {}, "lambda_functions.trnsform is no function, transform is"),
        (("lambda_functions", "load", "memory"), 1, "lambda_functions.load.memory is no setting"),
        (("lambda_functions", "load", "lambda_timeout"), 3000, "load.lambda_timeout is 3000, Lambda takes 1 to 900"),
        (("stages", "dev", "lambda_memory_size"), 64, "stages.dev.lambda_memory_size is 64, Lambda takes 128 to 10240"),
        (("stages", "dev", "lambda_timeout"), "60", "is '60', Lambda takes"),
        (
            ("stages", "dev", "lambda_functions"),
            {"load": {"lambda_timeout": 0}},
            "lambda_functions.load.lambda_timeout is 0",
        ),
        (("stages", "dev", "enviroment_variables"), {}, "environment_variables is"),
        (("app_name",), "Data_Platform", "app_name is 'Data_Platform'"),
        (
            ("stages", "dev", "api_gateway_custom_domain"),
            {
                "domain_name": "sluice.example.org",
                "certificate_arn": "arn:aws:acm:eu-west-1:1:certificate/1",
            },
            "stages.dev.api_gateway_custom_domain is not taken: deployment.api_domain and",
        ),
        (("websocket_api_custom_domain",), {}, "websocket_api_custom_domain is not taken"),
    ],
)
def test_a_typo_or_a_number_beyond_lambdas_limits_is_named_with_its_place(read, path, value, said):
    document = copy.deepcopy(DOCUMENT)
    holder = document
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    with pytest.raises(ConfigurationError) as caught:
        read(document)
    assert said in str(caught.value)
    assert "config.json" in str(caught.value)


def test_all_that_is_wrong_is_said_at_once(read):
    with pytest.raises(ConfigurationError, match=r"xrey.*lambda_timeout is 901"):
        read({**DOCUMENT, "xrey": True, "lambda_timeout": 901})


def test_another_stages_faults_are_its_own(read):
    document = copy.deepcopy(DOCUMENT)
    document["stages"]["prod"]["lambda_timeot"] = 1
    assert read(document).name == "dev"
