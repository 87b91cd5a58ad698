"""A Terraform module as data: its blocks, parsed by python-hcl2, and what its expressions refer to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import hcl2

_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
_REFERENCE = re.compile(r"(?<![\w.\"-])((?:var|local|module|(?:data|ephemeral)\.aws_\w+|aws_\w+)\.[a-z_]\w*)")


@dataclass
class Module:
    """`blocks` maps "resource.aws_x.name", "variable.name", "local.name" … to what is in the block."""

    folder: Path
    text: str = ""
    blocks: dict[str, dict] = field(default_factory=dict)

    def of(self, kind: str) -> dict[str, dict]:
        """The blocks of one kind, by the rest of their address."""
        return {name[len(kind) + 1 :]: body for name, body in self.blocks.items() if name.startswith(kind + ".")}

    @property
    def resources(self) -> dict[str, dict]:
        return self.of("resource")

    def references(self) -> set[str]:
        return set(_REFERENCE.findall(self.text))


def read(folder: Path) -> Module:
    """The module in `folder`; ValueError for an address that is used twice."""
    module = Module(folder)
    for path in sorted(folder.glob("*.tf")):
        text = path.read_text()
        module.text += _COMMENT.sub("", text)
        for kind, blocks in hcl2.loads(text).items():
            for block in blocks if not kind.startswith("__") else ():
                for address, body in _addressed(kind, block):
                    if address in module.blocks:
                        raise ValueError(f"{path.name}: {address} is there twice")
                    module.blocks[address] = body
    return module


def _addressed(kind: str, block: dict):
    if kind == "locals":
        for name, value in block.items():
            if not name.startswith("__"):
                yield f"local.{_bare(name)}", value
        return
    labels = (
        2
        if kind in ("resource", "data", "ephemeral")
        else 1
        if kind in ("variable", "output", "module", "provider")
        else 0
    )
    names, body = [kind], block
    for _ in range(labels):
        [(name, body)] = [(key, value) for key, value in body.items() if not key.startswith("__")]
        names.append(_bare(name))
    yield ".".join(names), body


def _bare(name: str) -> str:
    return name.strip('"')
