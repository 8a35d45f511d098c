"""Google's generateContent format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.records import WireName
from llmkit.simulator.formats.body_values import integer, mapping, real, schema_of, text_of, texts
from llmkit.simulator.formats.problems import invalid
from llmkit.simulator.formats.refused_parameters import check_gemini
from llmkit.simulator.questions import Answer, Question
from llmkit.simulator.request_schemas import modern


class Gemini:
    """``POST /v1beta/models/{model}:generateContent``."""

    name: WireName = "gemini"

    def read(self, provider: str, model: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
        """What is asked.

        Raises:
            Rejected: the provider would not take it.
        """
        check_gemini(body)
        generation = mapping(body.get("generationConfig"), "generation_config")
        schema = generation.get("responseJsonSchema") or modern(generation.get("responseSchema"))
        json_type = generation.get("responseMimeType") == "application/json"
        return Question(
            provider=provider,
            wire=self.name,
            model=model,
            system=text_of(mapping(body.get("systemInstruction"), "system_instruction").get("parts")),
            messages=_messages(body.get("contents")),
            max_tokens=integer(generation, "maxOutputTokens"),
            temperature=real(generation, "temperature", most=2.0),
            seed=integer(generation, "seed", least=-(2**31)),
            stop=texts(generation.get("stopSequences")),
            effort=_effort(mapping(generation.get("thinkingConfig"), "thinking_config")),
            schema=schema_of(schema, "generation_config.response_schema") if json_type else None,
            wants_json=json_type,
        )

    def write(self, question: Question, answer: Answer, request_id: str) -> dict[str, Any]:
        """The body of a 200. There is no refusal: a model that declines says so, or its answer is filtered."""
        about = {"usageMetadata": _usage(answer), "modelVersion": question.model, "responseId": request_id}
        if answer.blocked:
            return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **about}
        candidate: dict[str, Any] = {"finishReason": "STOP" if answer.finish == "stop" else "MAX_TOKENS", "index": 0}
        if answer.refusal is not None:
            candidate |= {"finishReason": "SAFETY", "finishMessage": answer.refusal}
        content: dict[str, Any] = {"role": "model"}
        if answer.text:
            content["parts"] = [{"text": answer.text}]
        return {"candidates": [{"content": content, **candidate}], **about}


def _messages(contents: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(contents, list) or not contents:
        raise invalid("* GenerateContentRequest.contents: contents is not specified", "contents")
    found = []
    for content in contents:
        entry = mapping(content, "contents")
        role = "assistant" if entry.get("role") == "model" else "user"
        found.append((role, text_of(entry.get("parts"))))
    return tuple(found)


def _effort(thinking: Mapping[str, Any]) -> str | None:
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    if isinstance(level, str):
        return level.lower()
    if not isinstance(budget, int) or budget < 0:
        return None
    return "none" if budget == 0 else "low" if budget <= 1024 else "medium" if budget <= 8192 else "high"


def _usage(answer: Answer) -> dict[str, int]:
    """Thoughts are counted apart from the candidates. Zeros are left out, as protobuf's JSON does."""
    counts = {
        "promptTokenCount": answer.input_tokens,
        "candidatesTokenCount": answer.text_tokens,
        "thoughtsTokenCount": answer.reasoning_tokens,
        "cachedContentTokenCount": answer.cached,
        "totalTokenCount": answer.input_tokens + answer.output_tokens,
    }
    return {name: count for name, count in counts.items() if count}
