"""What those kinds share that list their models and answer prompts as OpenAI does. Pure."""

from collections.abc import Callable, Mapping

from ebbflow.gateway.kinds.answers import mapping, mappings, name
from ebbflow.gateway.kinds.judging import HOT, another, answered, chosen, nonsense, refused
from ebbflow.gateway.kinds.kind import Ask, Judgement, Said, Wanted


def completion(wanted: Wanted, model: str) -> Ask:
    """One token of a model."""
    return Ask("/v1/completions", "POST", {"model": model, "prompt": wanted.prompt or "Hi", "max_tokens": 1})


def is_completion(data: Mapping[str, object]) -> bool:
    """Whether an object is the answer to that; its text may be empty."""
    choices = mappings(data.get("choices"))
    return bool(choices) and all(isinstance(each.get("text"), str) for each in choices or ())


def listed(
    wanted: Wanted,
    said: Said,
    *,
    is_good: Callable[[Mapping[str, object]], bool],
    prompt: Callable[[str], Ask],
) -> Judgement:
    """What an answer means where a list of models, as OpenAI's, may come before that of the prompt.

    Args:
        wanted: the model must be in the list; the first one is taken where nobody wants one.
        said: the list, or the answer to the prompt.
        is_good: whether an object is an answer of the model.
        prompt: to a model of the list.
    """
    if wanted.prompt_path:
        return answered(wanted, said)
    if (refusal := refused(said)) is not None:
        return refusal
    data = mapping(said) or {}
    if is_good(data):
        return another(wanted, data.get("model")) or HOT
    models = mappings(data.get("data"))
    names = tuple(found for each in models or () if (found := name(each.get("id"))))
    if models is None or len(names) < len(models):
        return nonsense(said)
    return chosen(wanted, names, prompt)
