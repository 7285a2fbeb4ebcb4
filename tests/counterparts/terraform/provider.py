"""A provider named hashicorp/aws that knows every argument and does nothing: enough to validate, and to plan with mocks.

Runs in an environment of its own with PyPI's `tf`; `schema.json` (see `schema.py`) stands beside it. It checks names, nesting, what
is required and types; it knows no enumerations, no ARNs and no arguments that exclude each other.
"""

import json
import sys
from pathlib import Path

from tf import schema, types
from tf.gen import tfplugin_pb2
from tf.iface import DataSource, Provider, Resource
from tf.runner import run_provider

HERE = Path(__file__).resolve().parent
SCHEMAS = json.loads((HERE / "schema.json").read_text())
NAMES = frozenset((HERE / "names.txt").read_text().split())
"""The resources and data sources in use: a schema of all would take Terraform a minute to read."""
PRIMITIVES = {"s": types.String(), "n": types.Number(), "b": types.Bool()}


class Listed(schema.NestedBlock):
    """A nested block as a list: mocks and references index it."""

    def to_pb(self):
        nested = tfplugin_pb2.Schema.NestedBlock
        return nested(
            type_name=self.type_name,
            block=self.block.to_pb(),
            min_items=self.min_items,
            max_items=self.max_items,
            nesting=nested.NestingMode.LIST,
        )


def type_of(code):
    if code in PRIMITIVES:
        return PRIMITIVES[code]
    return (types.List if code[0] == "L" else types.Map)(type_of(code[1:]))


def parts_of(block, *, is_outer=True):
    attributes = [
        schema.Attribute(
            name,
            type_of(code),
            required=required,
            optional=optional,
            computed=not required and (is_outer or not optional),
        )
        for name, (code, required, optional) in block["a"].items()
    ]
    if is_outer and "id" not in block["a"]:
        attributes.append(schema.Attribute("id", types.String(), computed=True, optional=True))
    blocks = [
        Listed(name, schema.NestMode.Set, schema.Block(*parts_of(inner, is_outer=False)), min_items=int(required))
        for name, (_, inner, required) in block["b"].items()
    ]
    return attributes, blocks


def made(name, block, base):
    attributes, blocks = parts_of(block)
    whole = schema.Schema(attributes=attributes, block_types=blocks, version=0)
    methods = {
        "get_name": classmethod(lambda cls: name.removeprefix("aws_")),
        "get_schema": classmethod(lambda cls: whole),
        "__init__": lambda self, *_: None,
        "validate": lambda self, *_: None,
    }
    verbs = ("read",) if base is DataSource else ("create", "read", "update", "delete", "plan")
    return type(name, (base,), methods | {verb: lambda self, *given: given[-1] for verb in verbs})


class Aws(Provider):
    def get_model_prefix(self):
        return "aws_"

    def full_name(self):
        return "registry.terraform.io/hashicorp/aws"

    def get_provider_schema(self, diagnostics):
        tags = schema.Block([schema.Attribute("tags", types.Map(types.String()), optional=True)])
        return schema.Schema(
            attributes=[
                schema.Attribute(name, types.String(), optional=True) for name in ("region", "profile", "alias")
            ],
            block_types=[Listed("default_tags", schema.NestMode.Set, tags)],
        )

    def validate_config(self, *_):
        """Nothing to say."""

    def configure_provider(self, *_):
        """Nothing to do."""

    def get_resources(self):
        return [made(name, block, Resource) for name, block in SCHEMAS.items() if name in NAMES]

    def get_data_sources(self):
        return [
            made(name.removeprefix("data:"), block, DataSource)
            for name, block in SCHEMAS.items()
            if name.startswith("data:") and name in NAMES
        ]

    def get_functions(self):
        return []

    def new_resource(self, kind):
        return kind(self)

    def new_data_source(self, kind):
        return kind(self)


if __name__ == "__main__":
    run_provider(Aws(), sys.argv)
