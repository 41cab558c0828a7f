"""Keys and variables of companies that have no file here, so that no key is offered to a company that did not issue it.

Looked up in 2026-11: Alibaba's and Kimi's coding plans (help.aliyun.com/zh/model-studio/coding-plan-quickstart,
docs.link-ai.tech/platform/maas/coding-plan), MiniMax (MiniMax-AI/MiniMax-M2#96) and Volcengine's host. The other
addresses and prefixes have no looked-up source yet: they only fill in a form, whose owner decides where a key goes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ForeignService:
    """A service that is not among our providers."""

    title: str
    base_url: str = ""
    """Its OpenAI-compatible API, if it has one at the same address for everybody."""
    remark: str = ""
    """What else to know about the address, as a sentence."""


_OTHER_REGION = "Keys made in China need {} instead."
_KIMI_CODE = ForeignService("Kimi Code", "https://api.kimi.com/coding/v1")
_ALIBABA_CODING = ForeignService(
    "Alibaba Cloud Coding Plan",
    "https://coding-intl.dashscope.aliyuncs.com/v1",
    _OTHER_REGION.format("https://coding.dashscope.aliyuncs.com/v1"),
)
_MINIMAX = ForeignService("MiniMax", "https://api.minimax.io/v1", _OTHER_REGION.format("https://api.minimaxi.com/v1"))
_BEDROCK = ForeignService("Amazon Bedrock")
_REQUESTY = ForeignService("Requesty", "https://router.requesty.ai/v1")
_QIANFAN = ForeignService("Baidu Qianfan", "https://qianfan.baidubce.com/v2")
_VOLCENGINE = ForeignService("Volcengine Ark", "https://ark.cn-beijing.volces.com/api/v3")

BY_PREFIX: dict[str, ForeignService] = {
    "sk-kimi-": _KIMI_CODE,
    "sk-sp-": _ALIBABA_CODING,
    "sk-cp-": ForeignService("MiniMax coding plan", _MINIMAX.base_url, _MINIMAX.remark),
    "sk-api-": _MINIMAX,
    "rqsty-": _REQUESTY,
    "ABSK": _BEDROCK,
    "bedrock-api-key-": _BEDROCK,
    "bce-v3/": _QIANFAN,
    "r8_": ForeignService("Replicate"),
    "lsv2_": ForeignService("LangSmith"),
    "AKIA": ForeignService("Amazon Web Services"),
    "ASIA": ForeignService("Amazon Web Services"),
    "sk-lf-": ForeignService("Langfuse"),
    "pk-lf-": ForeignService("Langfuse"),
    "dapi": ForeignService("Databricks"),
    "jina_": ForeignService("Jina AI"),
    "tvly-": ForeignService("Tavily"),
    "pcsk_": ForeignService("Pinecone"),
    "glpat-": ForeignService("GitLab"),
    "dop_v1_": ForeignService("DigitalOcean"),
    "crsr_": ForeignService("Cursor"),
    "SG.": ForeignService("SendGrid"),
    "gho_": ForeignService("GitHub"),
    "ghu_": ForeignService("GitHub"),
    "ghs_": ForeignService("GitHub"),
    "GOCSPX-": ForeignService("Google OAuth"),
}
"""How their keys begin. None of these may begin like a key of a provider."""

BY_VARIABLE: dict[str, ForeignService] = {
    "MINIMAX": _MINIMAX,
    "XIAOMI": ForeignService("Xiaomi MiMo", "https://api.xiaomimimo.com/v1"),
    "MIMO": ForeignService("Xiaomi MiMo", "https://api.xiaomimimo.com/v1"),
    "HUNYUAN": ForeignService("Tencent Hunyuan", "https://api.hunyuan.cloud.tencent.com/v1"),
    "OPENCODE": ForeignService("OpenCode Zen", "https://opencode.ai/zen/v1"),
    "VOLCENGINE": _VOLCENGINE,
    "VOLC": _VOLCENGINE,
    "ARK": _VOLCENGINE,
    "DOUBAO": _VOLCENGINE,
    "REQUESTY": _REQUESTY,
    "QIANFAN": _QIANFAN,
    "STEPFUN": ForeignService("StepFun", "https://api.stepfun.com/v1"),
    "MODELSCOPE": ForeignService("ModelScope", "https://api-inference.modelscope.cn/v1"),
    "BASETEN": ForeignService("Baseten", "https://inference.baseten.co/v1"),
    "INCEPTION": ForeignService("Inception", "https://api.inceptionlabs.ai/v1"),
    "UPSTAGE": ForeignService("Upstage", "https://api.upstage.ai/v1"),
    "MORPH": ForeignService("Morph", "https://api.morphllm.com/v1"),
    "AWS_BEARER": _BEDROCK,
    "BEDROCK": _BEDROCK,
    "ALIBABA_CODING": _ALIBABA_CODING,
    "BAILIAN_CODING": _ALIBABA_CODING,
}
"""How the variables of their keys begin."""

GENERIC_WORDS = frozenset(
    (
        "API",
        "MY",
        "LLM",
        "AI",
        "SECRET",
        "TOKEN",
        "KEY",
        "KEYS",
        "MODEL",
        "MODELS",
        "CHAT",
        "TEST",
        "DEV",
        "PROD",
        "PRODUCTION",
        "STAGING",
        "DEFAULT",
        "APP",
        "SERVICE",
        "AUTH",
        "AUTHORIZATION",
        "ACCESS",
        "BEARER",
        "PRIVATE",
        "PUBLIC",
        "X",
        "PROVIDER",
        "USER",
        "SOME",
        "OTHER",
        "SOMETHING",
        "ELSE",
        "NEW",
        "OLD",
        "MAIN",
        "BACKUP",
        "PROXY",
        "SERVER",
        "CLIENT",
        "CUSTOM",
        "LOCAL",
        "WORK",
        "PERSONAL",
        "COMPATIBLE",
        "APIKEY",
        "VITE",
        "NEXT",
        "REACT",
    )
)
"""Words of variables that name no company: such a variable says nothing about whose the key is."""
