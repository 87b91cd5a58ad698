"""`sluice trigger api`: what it says where the API does not let its token in."""

import json

import pytest
from click.testing import CliRunner
from loopback import serving
from werkzeug.wrappers import Request, Response

from chalicelib import settings
from cli import sending
from cli.main import main
from cli.session import Session


@pytest.fixture
def api(monkeypatch, tmp_path):
    """api(status, document): what `sluice trigger api posts` says with a token, where the API answers so."""
    asked = []

    def say(status=200, document=None, token="slc_x"):
        @Request.application
        def app(request):
            asked.append(request)
            return Response(json.dumps(document), status, content_type="application/json")

        with serving(app) as url:
            mine = Session(settings.load({}, api_url=url), tmp_path)
            monkeypatch.setattr(sending, "connect", lambda: mine)
            return CliRunner().invoke(main, ["trigger", "api", "posts"], input=token)

    say.asked = asked
    return say


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (401, {"message": "Unauthorized"}),
        (403, {"Message": "User is not authorized to access this resource"}),
        (403, {"detail": "the token has not the scope 'run'"}),
    ],
    ids=["no-token", "other-scope", "scope-by-route"],
)
def test_a_token_that_may_not_start_runs_is_told_which_one_may(api, status, document):
    ended = api(status, document)
    assert ended.exit_code == 1
    assert f"(status={status})" in ended.stderr
    assert "make a token with the scope 'run': sluice token create NAME --scope run" in ended.stderr


def test_a_missing_api_key_is_told_from_a_token(api):
    ended = api(403, {"message": "Forbidden"})
    assert "Next: set SLUICE_API_KEY" in ended.stderr
    assert "scope" not in ended.stderr


@pytest.mark.parametrize("token", ["", " \n"], ids=["empty", "blank"])
def test_no_token_is_told_before_anything_is_sent(api, token):
    ended = api(token=token)
    assert ended.exit_code == 1
    assert "no token was given" in ended.stderr
    assert "sluice token create NAME --scope run" in ended.stderr
    assert not api.asked


def test_another_refusal_stays_as_the_api_says_it(api):
    ended = api(422, {"detail": "posts has no windows"})
    assert ended.stderr == "sluice: RequestRefused: posts has no windows (status=422)\n"
