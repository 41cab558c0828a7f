"""Zhipu, Z.ai outside of China. Two regions whose keys do not know each other. Nothing was recorded.

Client code (November 2026) reads OpenAI's shape with ids and an owner; whether `created` is a date is not
confirmed, so it is left out. A reading of the international list on 2026-08-15, published in another project's
catalog, names eight text models (glm-4.5 to glm-5.2) and leaves out what else can be called. The vision models
below are in the documentation of Z.ai, whose copy bears no date and names GLM-5.1 (2026-04-07) as the newest; it
names flash and image models too, but not how they are called. `hasMore` is on the Anthropic-like address only.
"""

from __future__ import annotations

import msgspec

from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import DocumentedModels, Page, Provider, bearer
from app.providers.parsing import JsonObject, build_page, decode_json, entries

_AS_OF = "2026-04-07"
_INTERNATIONAL = "https://api.z.ai/api/paas/v4"


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    return msgspec.structs.replace(openai_shape.read_one(entry), created_at=None)


def _documented(model_id: str, name: str) -> ListedModel:
    return ListedModel(
        id=model_id,
        name=name,
        kind_reason="its documentation calls it a vision language model",
        input_modalities=("image", "text"),
        output_modalities=("text",),
        vision=True,
        documented=_AS_OF,
    )


PROVIDER = Provider(
    slug="zhipu",
    title="Zhipu (Z.ai)",
    site="https://z.ai",
    keys_url="https://z.ai/manage-apikey/apikey-list",
    key_hint="xxxxxxxx….xxxxxxxx",
    base_url=_INTERNATIONAL,
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#2d5bd7",
    description="GLM models.",
    regions={"Z.ai (international)": _INTERNATIONAL, "BigModel (China)": "https://open.bigmodel.cn/api/paas/v4"},
    documented=DocumentedModels(
        as_of=_AS_OF,
        source="https://docs.z.ai/guides/overview/overview",
        models=(
            _documented("glm-5v-turbo", "GLM-5V-Turbo"),
            _documented("glm-4.6v", "GLM-4.6V"),
            _documented("glm-4.5v", "GLM-4.5V"),
        ),
    ),
    caveat="leaves out models that can be called, free and vision models among them",
)
