"""Models as JSON, with whatever names of files and sites' texts hold."""

from __future__ import annotations

import json

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError


def encode(model: BaseModel) -> bytes:
    """JSON of a model. Names of files that are not UTF-8 travel as escaped lone surrogates."""
    try:
        return model.__pydantic_serializer__.to_json(model)
    except PydanticSerializationError:
        return json.dumps(model.model_dump(mode="python"), default=str).encode("ascii")
