"""The database's URL and the sources' tokens come from Secrets Manager, where a stage names their secrets."""

import json

import boto3
import psycopg2
import pytest
from moto import mock_aws

from chalicelib import secrets, settings
from chalicelib.errors import ConfigurationError
from chalicelib.settings import Settings
from chalicelib.warehouse import connection, reader
from deploy import stage as stages


@pytest.fixture
def manager(monkeypatch):
    """Secrets Manager, and settings that a test chooses by `use`."""
    with mock_aws():
        secrets.forget()
        yield boto3.client("secretsmanager", region_name="us-east-1")
    secrets.forget()


@pytest.fixture
def use(monkeypatch):
    return lambda **values: monkeypatch.setattr(settings, "current", lambda: Settings(stage="dev", **values))


@pytest.mark.parametrize(
    ("secret", "added"),
    [
        ("postgresql://u:p%40@h:1/d\n", "?sslmode=require"),
        ("postgres://u:p@h/d?application_name=x", "&sslmode=require"),
        ("postgresql://u:p@h:1/d?sslmode=verify-full", ""),
        ("postgresql://u:p@localhost:1/d", ""),
        ("postgresql://u@/d?host=%2Ftmp%2Fpostgres", ""),
    ],
)
def test_a_url_in_the_secret_is_taken_as_it_is_and_by_tls(manager, secret, added):
    arn = manager.create_secret(Name="sluice/dev/database", SecretString=secret)["ARN"]
    assert secrets.database_url(Settings(database_secret_arn=arn)) == secret.strip() + added


def test_rds_json_becomes_a_url_with_tls_and_quoted_characters():
    fields = {"username": "us er", "password": "p@ss/w:rd?#", "host": "db.example", "port": 5433, "dbname": "data"}
    url = secrets.as_url(json.dumps(fields), "arn")
    assert psycopg2.extensions.parse_dsn(url) == {
        "user": "us er",
        "password": "p@ss/w:rd?#",
        "host": "db.example",
        "port": "5433",
        "dbname": "data",
        "sslmode": "require",
    }


@pytest.mark.parametrize(
    "secret", ['{"username": "u", "password": "p", "host": "db"}', "postgresql://u:p@db:5432/postgres"]
)
def test_a_host_in_the_settings_goes_before_the_secrets_own(secret):
    parsed = psycopg2.extensions.parse_dsn(secrets.as_url(secret, "arn", "proxy.example"))
    assert (parsed["host"], parsed["port"], parsed["user"]) == ("proxy.example", "5432", "u")


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("hunter2", "neither a URL"),
        ("postgresql://u:hun%ter2@h/d", "neither a URL.*%25"),
        ("postgresql://u:hun/ter2@h/d", "neither a URL"),
        ("postgresql://u:hun@ter2@h/d", "neither a URL"),
        ("postgresql://u:hunter2@[h/d", "neither a URL"),
        ("mysql://u:hunter2@h/d", "neither a URL"),
        ('{"username": "u", "password": "hunter2"}', "has no host"),
        ('{"username": "hunter2"', "is none"),
    ],
)
def test_an_unusable_secret_is_named_and_never_quoted(secret, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        secrets.as_url(secret, "arn:of-it")
    assert "arn:of-it" in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert caught.value.__cause__ is None and (caught.value.__context__ is None or caught.value.__suppress_context__)


def test_an_address_that_is_none_is_refused_without_being_quoted():
    with pytest.raises(ConfigurationError, match="address is none") as caught:
        connection.connect("postgresql://u:hun%ter2@h/d")
    assert "ter2" not in str(caught.value) and caught.value.__suppress_context__


def test_a_missing_secret_is_a_configuration_error_that_names_it(manager):
    with pytest.raises(ConfigurationError, match="sluice/dev/nothing"):
        secrets.database_url(Settings(database_secret_arn="sluice/dev/nothing"))


def test_the_url_itself_goes_before_the_secret_and_one_of_them_must_be_there():
    assert secrets.database_url(Settings(database_url="postgresql://x", database_secret_arn="arn")) == "postgresql://x"
    with pytest.raises(ConfigurationError, match="SLUICE_DATABASE_URL"):
        secrets.database_url(Settings())


def refusing(refused: str):
    """`connection.connect`, to whom one address has another password by now."""
    original = connection.connect

    def connect(url, login):
        if url == refused:
            raise ConfigurationError("password authentication failed")
        return original(url, login)

    return connect


def test_a_rotated_password_is_looked_up_anew(manager, use, database_url):
    arn = manager.create_secret(
        Name="sluice/dev/database", SecretString="postgresql://nobody@127.0.0.1:1/d?connect_timeout=2"
    )["ARN"]
    use(database_secret_arn=arn)
    refused = secrets.database_url()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "connect", refusing(refused))
        with pytest.raises(ConfigurationError, match="password"), connection.transaction():
            pass
        manager.put_secret_value(SecretId=arn, SecretString=database_url)
        with connection.transaction() as opened, opened.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)


def test_a_rotated_password_of_the_readers_login_is_looked_up_anew(manager, use, database_url):
    def kept(url):
        return json.dumps({secrets.READER: url})

    gone = "postgresql://nobody@127.0.0.1:1/d?connect_timeout=2"
    arn = manager.create_secret(Name="sluice/dev/tokens", SecretString=kept(gone))["ARN"]
    use(tokens_secret_arn=arn)
    refused = secrets.reader_database_url()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "connect", refusing(refused))
        with pytest.raises(ConfigurationError, match="password"), reader.transaction():
            pass
        manager.put_secret_value(SecretId=arn, SecretString=kept(database_url))
        with reader.transaction() as opened, opened.cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_read_only')")
            assert cursor.fetchone() == ("on",)


def test_tokens_are_found_by_name_in_the_secret_or_on_the_laptop_in_a_variable(manager, use):
    arn = manager.create_secret(Name="sluice/dev/tokens", SecretString='{"shop": "t1"}')["ARN"]
    use(tokens_secret_arn=arn)
    assert secrets.token("shop") == "t1"
    with pytest.raises(ConfigurationError, match="sluice secret token crm --stage dev"):
        secrets.token("crm")
    use(tokens='{"shop": "t2"}', tokens_secret_arn=arn)
    assert secrets.token("shop") == "t2"
    use(tokens="t3")
    with pytest.raises(ConfigurationError, match="no JSON object"):
        secrets.token("shop")


@pytest.mark.parametrize("where", [("environment_variables",), ("lambda_functions", "plan", "environment_variables")])
def test_a_secret_in_the_configuration_is_refused(tmp_path, where):
    document = holder = {"app_name": "sluice", "stages": {"dev": {}}}
    for part in where:
        holder = holder.setdefault(part, {})
    holder["SLUICE_DATABASE_URL"] = "postgresql://u:hunter2@h/d"
    (tmp_path / ".chalice").mkdir()
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(document))
    with pytest.raises(ConfigurationError, match="sluice secret") as caught:
        stages.read(tmp_path, "dev")
    assert "hunter2" not in str(caught.value)
