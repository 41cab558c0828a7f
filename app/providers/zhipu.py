"""Zhipu, called Z.ai outside of China. Two regions with separate keys. Nothing was recorded.

Client code (November 2026) reads OpenAI's shape with ids and an owner; whether `created` is a date is not confirmed,
so it is ignored. The international list as of 2026-08-15, published in another project's catalog, has eight text
models (glm-4.5 to glm-5.2) and leaves out others that can be called. The vision models below are in Z.ai's
documentation, whose copy bears no date and names GLM-5.1 (2026-04-07) as the newest; it names flash and image models
too, but not how they are called. `hasMore` is on the Anthropic-like address only.
"""

from __future__ import annotations

from app.catalog.listing import ListedModel
from app.providers.contract import DocumentedModels, Provider, key_pattern
from app.providers.field_map import IDS

_AS_OF = "2026-04-07"
_INTERNATIONAL = "https://api.z.ai/api/paas/v4"


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
    docs_url="https://docs.z.ai",
    keys_url="https://z.ai/manage-apikey/apikey-list",
    key_hint="xxxxxxxx….xxxxxxxx",
    key_patterns=(key_pattern(r"[0-9a-f]{32}\.[A-Za-z0-9]{16}"),),
    key_variables=("ZAI_API_KEY", "ZHIPUAI_API_KEY"),
    base_url=_INTERNATIONAL,
    read=IDS,
    colour="#2d5bd7",
    description="GLM models.",
    rank=170,
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
