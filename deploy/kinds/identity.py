"""IAM: roles with their inline policies."""

from __future__ import annotations

from typing import Any, ClassVar

from deploy.kinds import waiting
from deploy.kinds.base import Kind, document, missing_is_none, retag, tag_list, text, without_empty

_BUSY = ("ConcurrentModification", "ConcurrentModificationException", "EntityTemporarilyUnmodifiable")


class Role(Kind):
    type = "AWS::IAM::Role"
    phase = 10
    required = ("RoleName", "AssumeRolePolicyDocument")
    replaced_by = ("RoleName", "Path")
    defaults: ClassVar = {
        "Description": "",
        "ManagedPolicyArns": [],
        "MaxSessionDuration": 3600,
        "Path": "/",
        "PermissionsBoundary": "",
        "Policies": [],
        "Tags": None,
    }

    def complete(self, properties: dict) -> dict:
        completed = super().complete(properties)
        completed["Policies"] = sorted(completed["Policies"], key=lambda policy: policy["PolicyName"])
        return completed

    def predicted(self, aws, properties):
        return properties["RoleName"]

    def attribute(self, aws, physical_id, properties, name):
        if name == "Arn":
            return f"arn:{aws.partition}:iam::{aws.account}:role{properties.get('Path', '/')}{properties['RoleName']}"
        return super().attribute(aws, physical_id, properties, name)

    def find(self, aws, properties):
        return properties["RoleName"]

    @missing_is_none
    def read(self, aws, physical_id):
        client, role = aws.client("iam"), {"RoleName": physical_id}
        about = client.get_role(**role)["Role"]
        names = [n for page in client.get_paginator("list_role_policies").paginate(**role) for n in page["PolicyNames"]]
        attached = client.get_paginator("list_attached_role_policies").paginate(**role)
        return without_empty(
            {
                "RoleName": physical_id,
                "AssumeRolePolicyDocument": document(about["AssumeRolePolicyDocument"]),
                "Description": about.get("Description"),
                "MaxSessionDuration": about.get("MaxSessionDuration"),
                "Path": about["Path"],
                "PermissionsBoundary": about.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
                "ManagedPolicyArns": [p["PolicyArn"] for page in attached for p in page["AttachedPolicies"]],
                "Policies": [
                    {
                        "PolicyName": name,
                        "PolicyDocument": document(
                            client.get_role_policy(**role, PolicyName=name)["PolicyDocument"],
                        ),
                    }
                    for name in names
                ],
                "Tags": tag_list(about.get("Tags")),
            }
        )

    def create(self, aws, properties):
        boundary = properties.get("PermissionsBoundary")
        aws.client("iam").create_role(
            RoleName=properties["RoleName"],
            AssumeRolePolicyDocument=text(properties["AssumeRolePolicyDocument"]),
            Description=properties.get("Description", ""),
            MaxSessionDuration=int(properties.get("MaxSessionDuration", 3600)),
            Path=properties.get("Path", "/"),
            Tags=tag_list(properties.get("Tags")),
            **({"PermissionsBoundary": boundary} if boundary else {}),
        )
        self._policies(aws, properties["RoleName"], {}, properties)
        return properties["RoleName"]

    def update(self, aws, physical_id, present, wanted):
        client, role = aws.client("iam"), {"RoleName": physical_id}
        have, want = self.complete(present), self.complete(wanted)

        def put(name: str, setter, **arguments: Any) -> None:
            if have[name] != want[name]:
                waiting.retried(lambda: setter(**role, **arguments), _BUSY)

        trust = text(wanted["AssumeRolePolicyDocument"])
        put("AssumeRolePolicyDocument", client.update_assume_role_policy, PolicyDocument=trust)
        about = {"Description": want["Description"], "MaxSessionDuration": int(want["MaxSessionDuration"])}
        put("Description", client.update_role, **about)
        put("MaxSessionDuration", client.update_role, **about)
        if boundary := wanted.get("PermissionsBoundary"):
            put("PermissionsBoundary", client.put_role_permissions_boundary, PermissionsBoundary=boundary)
        else:
            put("PermissionsBoundary", client.delete_role_permissions_boundary)
        retag(
            present,
            wanted,
            lambda tags: client.tag_role(**role, Tags=tag_list(tags)),
            lambda keys: client.untag_role(**role, TagKeys=keys),
        )
        self._policies(aws, physical_id, present, wanted)

    def _policies(self, aws, name: str, present: dict, wanted: dict) -> None:
        client, role = aws.client("iam"), {"RoleName": name}
        have = {p["PolicyName"]: p for p in self.complete({**_EMPTY, **present})["Policies"]}
        want = {p["PolicyName"]: p for p in self.complete({**_EMPTY, **wanted})["Policies"]}
        documents = {p["PolicyName"]: p["PolicyDocument"] for p in wanted.get("Policies", [])}
        for policy in want:
            if have.get(policy) != want[policy]:
                put = {**role, "PolicyName": policy, "PolicyDocument": text(documents[policy])}
                waiting.retried(lambda put=put: client.put_role_policy(**put), _BUSY)
        for policy in set(have) - set(want):
            client.delete_role_policy(**role, PolicyName=policy)
        attached, wished = set(present.get("ManagedPolicyArns", ())), set(wanted.get("ManagedPolicyArns", ()))
        for policy in sorted(wished - attached):
            client.attach_role_policy(**role, PolicyArn=policy)
        for policy in sorted(attached - wished):
            client.detach_role_policy(**role, PolicyArn=policy)

    def delete(self, aws, physical_id):
        """A role goes only when it has no policy left."""
        present = self.read(aws, physical_id)
        if present is not None:
            self._policies(aws, physical_id, present, {})
            waiting.retried(lambda: aws.client("iam").delete_role(RoleName=physical_id), (*_BUSY, "DeleteConflict"))


_EMPTY = {"RoleName": "", "AssumeRolePolicyDocument": {}}

KINDS = (Role,)
