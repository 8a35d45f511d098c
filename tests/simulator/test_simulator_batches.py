"""The simulator's batch APIs: the providers' own SDKs use them, and the wires read what they tell."""

import io
import json
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from llmkit.catalog import load_seed
from llmkit.errors import Code
from llmkit.providers.wires import BatchItem, BatchState, wire_for
from llmkit.providers.wires.openai_batches import XaiBatches
from llmkit.records import Call, Completion, Failure, HttpResponse, Message, Params, Request
from llmkit.simulator import FAULTS

MODELS = (
    "openai:gpt-6-luna", "openai:gpt-5.4-pro", "anthropic:claude-haiku-5-5", "google:gemini-3.8-flash",
    "mistral:mistral-small-2603", "xai:grok-4.3",
)  # fmt: skip


@pytest.fixture(scope="module")
def catalog():
    """The shipped providers and models, by name and reference."""
    seed = load_seed()
    return seed.providers, seed.models(datetime.now(UTC))


class Account:
    """A provider's account as the wire of one of its models sees it, with a plain HTTP client."""

    def __init__(self, sim, catalog, reference):
        providers, models = catalog
        self.model = models[reference]
        self.wire = wire_for(providers[self.model.provider], self.model)
        self.api = self.wire.batches()
        self._base = sim.url_for(self.model.provider)

    def send(self, request):
        """The response to a request."""
        headers = {**request.headers, **self.wire.auth("secret")}
        if request.body is not None:
            headers["content-type"] = "application/json"
        content = request.content if request.method == "POST" else None
        sent = urllib.request.Request(self._base + request.path, data=content, headers=headers, method=request.method)
        try:
            with urllib.request.urlopen(sent) as response:
                status, told, body = response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            status, told, body = error.code, error.headers, error.read()
        names = {name.lower(): value for name, value in told.items()}
        return HttpResponse(status=status, headers=names, body=body, received_at=datetime.now(UTC))

    def call(self, number):
        """A question."""
        return Call(model=self.model, messages=(Message("user", f"Question {number}?"),), params=Params(max_tokens=90))

    def submit(self, count, name="llmkit-test-1"):
        """The state of a batch of so many questions, just handed in."""
        items = [BatchItem(f"id-{number}", self.wire.build(self.call(number))) for number in range(count)]
        upload = self.api.upload(items)
        file_id = "" if upload is None else self.api.read_upload(self.send(upload))
        return self.api.read(self.send(self.api.create(name, items, file_id)))

    def state(self, batch_id):
        """How a batch stands."""
        return self.api.read(self.send(self.api.poll(batch_id)))

    def replies(self, state):
        """All replies of an ended batch, by custom id."""
        replies, requests = {}, list(self.api.results(state))
        while requests:
            results = self.api.read_results(state, self.send(requests.pop()))
            replies |= results.replies
            requests += [results.more] if results.more else []
        return replies

    def results(self, state):
        """Completions and failures by custom id."""
        return {
            key: reply if isinstance(reply, Failure) else self.wire.parse(self.call(0), reply)
            for key, reply in self.replies(state).items()
        }


@pytest.mark.parametrize("reference", MODELS)
def test_a_batch_is_answered_like_its_requests_alone(sim, catalog, reference):
    """Each request gets a completion with its usage, under its own id; until then the batch is under way."""
    account = Account(sim, catalog, reference)
    sim.set(batch_delay=3600)
    begun = account.submit(3)
    assert (begun.ended, account.state(begun.batch_id).ended) == (False, False)
    assert begun.total in (3, None)
    sim.set(batch_delay=0)
    ended = account.state(begun.batch_id)
    results = account.results(ended)
    assert ended.ended
    assert sorted(results) == ["id-0", "id-1", "id-2"]
    assert all(isinstance(each, Completion) and each.usage.output_tokens > 0 for each in results.values())
    assert sim.count("billed") == 3


@pytest.mark.parametrize("reference", MODELS)
def test_requests_of_a_batch_fail_as_they_would_alone(sim, catalog, reference):
    """An error of one request keeps its code, what no batch can give is a server error; the others are answered."""
    account = Account(sim, catalog, reference)
    sim.set(batch_delay=0)
    sim.script(account.model.provider, ["server_error", "rate_limit", None, "too_long", "raw"])
    state = account.state(account.submit(5).batch_id)
    codes = {key: getattr(each, "code", None) for key, each in account.results(state).items()}
    assert codes == {
        "id-0": Code.SERVER_ERROR,
        "id-1": Code.RATE_LIMITED,
        "id-2": None,
        "id-3": Code.CONTEXT_TOO_LONG,
        "id-4": Code.SERVER_ERROR,
    }


@pytest.mark.parametrize("reference", MODELS)
def test_every_fault_of_a_batch_is_told(sim, catalog, reference):
    """Whatever befalls its requests, the results can be downloaded and each is a completion or a failure."""
    account = Account(sim, catalog, reference)
    sim.set(batch_delay=0)
    sim.script(account.model.provider, list(FAULTS))
    state = account.state(account.submit(len(FAULTS)).batch_id)
    results = account.results(state)
    told = {kind: results.get(f"id-{number}", state.unanswered) for number, kind in enumerate(FAULTS)}
    assert all(isinstance(each, Completion | Failure) for each in told.values())
    assert told["error_200"].code == told["server_error"].code == Code.SERVER_ERROR


@pytest.mark.parametrize("reference", MODELS)
@pytest.mark.parametrize("how", ["expired", "cancelled"])
def test_what_a_batch_gave_up_is_told(sim, catalog, reference, how):
    """A request that expired may be asked again; one that was cancelled may be when somebody resumes."""
    account = Account(sim, catalog, reference)
    sim.set(batch_delay=0 if how == "expired" else 3600)
    sim.script(account.model.provider, ["expired", None])
    begun = account.submit(2)
    if how == "cancelled":
        account.send(account.api.cancel(begun.batch_id))
    state = account.state(begun.batch_id)
    results = account.results(state)
    given_up = {f"id-{number}" for number in range(1 if how == "expired" else 2)}
    codes = {results.get(key, state.unanswered).code for key in given_up}
    assert state.ended
    assert codes == {Code.TIMEOUT if how == "expired" else Code.CANCELLED}
    assert sim.count("billed") == 2 - len(given_up)


@pytest.mark.parametrize("reference", MODELS)
def test_a_batch_is_found_in_the_list(sim, catalog, reference):
    """By its name, or where the provider keeps none by its size and time."""
    account = Account(sim, catalog, reference)
    account.submit(1, name="llmkit-other")
    begun = account.submit(2, name="llmkit-mine")
    listed = account.api.read_list(account.send(account.api.listing()))
    assert listed.states[0].batch_id == begun.batch_id
    assert listed.more is None
    assert (listed.states[0].name, listed.states[0].total) == (
        None if account.model.provider == "anthropic" else "llmkit-mine",
        2,
    )


def test_a_batch_leaves_the_limits_of_other_requests_alone(sim, catalog):
    """Neither its requests nor the tokens of its answers count towards what is allowed in a minute."""
    account = Account(sim, catalog, "openai:gpt-6-luna")
    sim.set(batch_delay=0, rpm=100, burst=100, tpm=100_000)
    ended = account.send(account.api.poll(account.submit(3).batch_id))
    assert sim.count("output_tokens") > 0
    left = [ended.headers[f"x-ratelimit-remaining-{unit}"] for unit in ("requests", "tokens")]
    assert left == ["100", "100000"]


@pytest.mark.parametrize("reference", MODELS)
def test_what_is_not_there_or_not_allowed_is_a_failure(sim, catalog, reference):
    """An unknown batch and a wrong body are failures with a code, never exceptions."""
    account = Account(sim, catalog, reference)
    unknown = account.state("batches/nobody" if account.model.provider == "google" else "nobody")
    assert isinstance(unknown, Failure)
    assert unknown.status in (400, 404)
    create = account.api.create("name", [BatchItem("id", account.wire.build(account.call(1)))], "file-unknown")
    empty = account.api.read(account.send(replace(create, body={})))
    assert (empty.code, empty.maybe_billed) == (Code.VALIDATION_ERROR, False)


def test_a_batch_is_known_to_its_provider_alone(sim, catalog):
    """Another says that there is none, as it would for any id."""
    sim.set(batch_delay=0)
    batch_id = Account(sim, catalog, "openai:gpt-6-luna").submit(1).batch_id
    other = Account(sim, catalog, "xai:grok-4.3")
    assert other.state(batch_id).status == 404
    assert other.send(Request(method="GET", path=f"/batches/{batch_id}/results")).status == 404


def test_files_keep_the_providers_limits(catalog, sim):
    """Requests are split by number and by size, and none is lost."""
    account = Account(sim, catalog, "openai:gpt-6-luna")
    api = type("Small", (type(account.api),), {"most_requests": 3, "most_bytes": 2_400})()
    bodies = [{"text": "x" * size} for size in (10, 10, 10, 10, 1_500, 1_500)]
    items = [BatchItem(str(n), Request(path="/x", body=body)) for n, body in enumerate(bodies)]
    assert [[item.custom_id for item in batch] for batch in api.split(items)] == [["0", "1", "2"], ["3", "4"], ["5"]]


# --- the providers' own SDKs ------------------------------------------------------------------------------------------


def test_openai_sdk_submits_and_reads_a_batch(sim):
    """A file, a batch, its counts, the file of results; responses as well as chat completions."""
    client = openai.OpenAI(base_url=sim.url_for("openai"), api_key="secret", max_retries=0)
    for url, body in (
        ("/v1/chat/completions", {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Why?"}]}),
        ("/v1/responses", {"model": "gpt-5.4-pro", "input": "Why?"}),
    ):
        line = {"custom_id": "a", "method": "POST", "url": url, "body": body}
        file = client.files.create(file=io.BytesIO(json.dumps(line).encode()), purpose="batch")
        batch = client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h")
        assert batch.request_counts.total == 1
        sim.set(batch_delay=0)
        done = client.batches.retrieve(batch.id)
        (result,) = map(json.loads, client.files.content(done.output_file_id).text.splitlines())
        assert (done.status, result["custom_id"], result["response"]["status_code"]) == ("completed", "a", 200)
    assert len(client.batches.list().data) == 2


def test_anthropic_sdk_submits_and_reads_a_batch(sim):
    """Requests in the body, counts, results line by line; a cancelled batch says so."""
    client = anthropic.Anthropic(base_url=sim.url_for("anthropic"), api_key="secret", max_retries=0)
    params = {"model": "claude-haiku-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Why?"}]}
    sim.set(batch_delay=3600)
    batch = client.messages.batches.create(requests=[{"custom_id": "a", "params": params}])
    assert batch.processing_status == "in_progress"
    sim.set(batch_delay=0)
    done = client.messages.batches.retrieve(batch.id)
    (result,) = client.messages.batches.results(batch.id)
    assert (done.processing_status, done.request_counts.succeeded) == ("ended", 1)
    assert (result.custom_id, result.result.type) == ("a", "succeeded")
    assert result.result.message.usage.service_tier == "batch"
    assert [each.id for each in client.messages.batches.list()] == [batch.id]


def test_genai_sdk_submits_and_reads_a_batch(sim):
    """Inlined requests and responses."""
    client = genai.Client(api_key="secret", http_options=types.HttpOptions(base_url=sim.url_for("google")))
    source = [types.InlinedRequest(contents="Why?", metadata={"key": "a"})]
    job = client.batches.create(model="gemini-3.8-flash", src=source)
    sim.set(batch_delay=0)
    done = client.batches.get(name=job.name)
    assert done.state == types.JobState.JOB_STATE_SUCCEEDED
    assert done.dest.inlined_responses[0].response.text


def test_pages_of_results_that_do_not_name_their_batch():
    """xAI's pages hold results and a token alone; the next one is asked of the batch that they are of."""
    page = HttpResponse(
        status=200, headers={}, body=b'{"results": [], "pagination_token": "T"}', received_at=datetime.now(UTC)
    )
    more = XaiBatches().read_results(BatchState(batch_id="b-1"), page).more
    assert more.path == "/batches/b-1/results?limit=1000&pagination_token=T"
