"""Where each item of the owner's five documents lives: the table, and the admin's page that shows it.

A block per document, a `##` line per section, then a line per item: what it is | where it lives | a note. Where is a
list of `route endpoint`, `command words --option`, `setting NAME`, `column table.name`, `table name`, `file path`,
with semicolons between; tests/web/test_coverage.py looks each of them up. A note may begin with one of `STATES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from typing import Literal, cast, get_args

from flask import Blueprint, current_app, render_template, url_for
from werkzeug.routing import BuildError

from app.web.admin.overview import admin_required

blueprint = Blueprint("coverage", __name__, url_prefix="/admin/about")

State = Literal["here", "beyond", "otherwise", "missing"]
STATES: dict[State, str] = {
    "here": "as the document has it",
    "beyond": "named there as a future enhancement",
    "otherwise": "the same is had in another way",
    "missing": "not there yet",
}
KINDS = ("route", "command", "setting", "column", "table", "file")


@dataclass(frozen=True, slots=True)
class Place:
    kind: str
    """One of `KINDS`."""
    name: str


@dataclass(frozen=True, slots=True)
class Item:
    document: str
    section: str
    what: str
    places: tuple[Place, ...]
    state: State
    note: str


_DOCUMENTS = {
    "model-auto-sync-system.md": """
## Features
Fetch the latest models from OpenAI, Anthropic, Groq and Google | file app/providers/openai.py; file app/providers/anthropic.py; file app/providers/groq.py; file app/providers/google.py | with some forty providers more
Detect new models that are not in the catalog | column results.new; table canonical_models | on a key's first sync; afterwards also what the key did not list before
Update the cache in the database | table models; table listings |
Sync history | table runs; table results; route history.index |
Manual trigger by a button | route sync.start; route keys.profile |
Cron-ready for a monthly sync of everyone | route models_sync.cron; setting CRON_SECRET |
## Files
`POST /api/models/sync` triggers a sync | route models_sync.start |
`GET /api/models/sync` gives the status of the last sync | route models_sync.last_sync |
Sync button on the profile page (`ModelSyncButton.tsx`) | file templates/sync/_idle.html; file templates/sync/_status.html; file templates/profile.html | otherwise: a server-rendered partial instead of a React component
Migration of the history table (`014_create_model_sync_history.sql`) | file migrations/versions/0001_first_tables.py | otherwise: Alembic instead of Supabase
Source of truth for model metadata (`modelCapabilities.ts`) | table canonical_models; file app/catalog/seed/canonical.jsonl |
## Setup
Run the migration (`supabase db push`) | command setup; command up | `flask up` does it by itself
Put the sync button on the profile page | route keys.profile | it is there
Test a manual sync: press Sync Now, wait, look for new models | route sync.start; route sync.stream; route models.index |
## Sync process
Fetch the user's API keys | table credentials; file app/store/credentials.py | sealed; opened by the worker alone
For each provider call its API | file app/sync/run.py; file app/sync/http/fetch.py | all at once, not one after the other
Filter chat models | file app/catalog/kind.py; column models.kind; column models.kind_reason |
Compare with the catalog | file app/catalog/changes.py; file app/catalog/matching.py |
Find new models | column results.new; column changes.kind |
Update the cache | table models |
Record in the history | table results |
Return the results | route models_sync.start; route models_sync.last_sync | otherwise: the answer is 202 with the run's id, since providers may take long; the last sync's answer holds the results
## Provider-specific logic
OpenAI: endpoint `/v1/models` | file app/providers/openai.py |
OpenAI: excludes embeddings, TTS, DALL-E and Whisper | file app/catalog/kind.py | counted, and shown when asked for
OpenAI: all GPT and o1 models | file app/catalog/kind.py |
Groq: endpoint `/openai/v1/models` | file app/providers/groq.py |
Groq: excludes Whisper, Guard and embeddings | file app/catalog/kind.py |
Groq: all Llama, Mixtral and Gemma models | file app/catalog/kind.py |
Google: endpoint `/v1beta/models` | file app/providers/google.py | the key in a header, never in the address
Google: only Gemini models with `generateContent` | file app/providers/google.py; file app/catalog/kind.py |
Anthropic: no public list, so a known one is used | file app/providers/anthropic.py | otherwise: Anthropic has had a list since; it is read live, and no built-in list is shown as if it were
Anthropic, future: test each model with a small request | | missing: syncs only read lists; a request to each model would cost its key's owner money
## Database schema
`model_sync_history` | table model_sync_history | a view over `runs` and `results`
`model_sync_history.id` | column model_sync_history.id | otherwise: a whole number instead of a UUID
`model_sync_history.user_id` | column model_sync_history.user_id |
`model_sync_history.sync_results` | column model_sync_history.sync_results |
`model_sync_history.total_new_models` | column model_sync_history.total_new_models |
`model_sync_history.synced_at` | column model_sync_history.synced_at |
`model_sync_history.created_at` | column model_sync_history.created_at |
## Cron job
`GET /api/models/sync/cron` (Vercel Cron calls it by GET) | route models_sync.cron |
`POST /api/models/sync/cron` (the workflow calls it by POST) | route models_sync.cron |
Bearer `CRON_SECRET`, else 401 | setting CRON_SECRET; route models_sync.cron | compared in constant time; unset: there is no such endpoint
All users with active API keys | file app/store/credentials.py; column credentials.is_active |
Sync each user | file app/jobs/__init__.py | queued; the answer does not wait
Answer with how many | route models_sync.cron | otherwise: `queued`, since they are not synced yet as it answers
Vercel Cron (`vercel.json`, `0 0 1 * *`) | route models_sync.cron; command schedule | otherwise: any cron that can send a header, or the built-in scheduler
GitHub Actions: monthly, and by hand (`.github/workflows/model-sync.yml`) | file .github/workflows/model-sync.yml |
## Monitoring
`lastSync` and `needsSync` | route models_sync.last_sync |
“Sync recommended” banner | route keys.profile; file templates/profile.html |
SQL: the recent syncs of a user | table model_sync_history |
## UI integration
“New models available!” badge | file templates/_badge.html; route changes.index |
## Troubleshooting
Sync fails: keys, rate limits, network, logs | file app/sync/http/errors.py; command doctor | each failure is one sentence with what to do
New models not showing: cache, catalog, canonical patterns | route catalog.unknown; command catalog match; file app/catalog/matching.py |
Sync history not saving: table, policies, signed in | command doctor; command setup | what belongs to whom is decided in the queries instead of by RLS policies
## Future enhancements
Auto-sync on login if more than 30 days since the last | column users.sync_on_sign_in; route accounts.login | beyond:
E-mail notifications of new models | route notifications.choose; setting SMTP_URL; table subscriptions | beyond: at most one letter a day, of the chosen topics
Model changelog | table changes; route changes.index; route models.one | beyond:
Automatic catalog updates | command catalog refresh; route catalog.refresh; setting CATALOG_REFRESH_HOURS | beyond:
Model testing with a sample request | | missing: as above, it would cost the key's owner money
Cost tracking: estimate costs of new models | file app/catalog/costs.py; route models.one | beyond:
Deprecation warnings when models are removed | column changes.kind; column models.deprecated_at; column models.retires_at | beyond:
## Contributing
Add a provider: a function and a case | file app/providers/__init__.py; command providers record; command providers drift | three steps, no migration, route or form
""",
    "model-catalog-sync.md": """
## Overview
Syncs models from more than twenty providers | file app/providers/__init__.py; command providers list |
Models refer to their provider by a foreign key | column models.provider_id |
Pricing | column models.input_per_million; column models.output_per_million; column models.pricing_prompt; column models.pricing_completion |
Context length | column models.context_length |
Capabilities | column models.supports_streaming; column models.supports_function_calling; column models.supports_vision |
Health status | route stats.providers; route admin.overview | of the provider; a single model is not called
API names | column models.provider_model_id |
Admin-only access with `ADMIN_API_KEY` | setting ADMIN_API_KEY; file app/api/admin_auth.py | an admin's session or personal token opens too
## Tables
`providers` | table providers |
Name | column providers.name |
Slug, unique | column providers.slug |
Base URL | column providers.base_url |
Variable of the API key | column providers.api_key_env_var |
Primary key | column providers.id |
`models` | table models |
Primary key | column models.id |
Foreign key to providers | column models.provider_id |
Unique `(provider_id, provider_model_id)` | column models.provider_id; column models.provider_model_id |
## Key fields
`models.provider_id` | column models.provider_id |
`models.model_name` | column models.model_name |
`models.provider_model_id` | column models.provider_model_id |
`models.pricing_prompt` | column models.pricing_prompt | USD per token
`models.pricing_completion` | column models.pricing_completion |
`models.context_length` | column models.context_length |
`models.modality` | column models.modality |
`models.supports_streaming` | column models.supports_streaming |
`models.is_active` | column models.is_active |
## Authentication
`ADMIN_API_KEY` in `.env` | setting ADMIN_API_KEY |
`openssl rand -hex 32` makes one | file .env.example | 64 characters; fewer than 32 stop the start
Required for all sync operations of the admin's API | file app/api/admin_auth.py; route model_sync.sync_one; route model_sync.sync_all |
## Python script
`sync_models.py`: all providers | command sync all | `flask sync all`
`--providers openrouter` | command sync all --providers |
`--providers openrouter deepinfra groq` | command sync all --providers |
`--dry-run` | command sync all --dry-run |
`--verbose` | command sync all --verbose |
Works without the API's authentication | command sync all | whoever may run it holds the machine
## API endpoints
`POST /admin/model-sync/provider/{slug}` | route model_sync.sync_one |
`POST /admin/model-sync/all` | route model_sync.sync_all |
`?dry_run=true` | route model_sync.sync_one; route model_sync.sync_all; table plans | a dry run keeps a plan (/admin/plans), which can be applied
`GET /admin/model-sync/providers` | route model_sync.providers |
`GET /admin/model-sync/status` | route model_sync.status |
`Authorization: Bearer <ADMIN_API_KEY>` | file app/api/admin_auth.py |
Answer: `success`, `message`, `details` with `provider`, `provider_id`, `models_fetched`, `models_transformed`, `models_synced` | route model_sync.sync_one; file app/api/sync_report.py |
## Query models
SQL: all models of a provider with prices | table models; table providers |
SQL: search by name | column models.model_name |
SQL: by capability | column models.supports_vision |
SQL: statistics by provider | table models; table providers |
`get_models_by_provider_slug` in code | route api_v1.models; route elsewhere.openai_models | otherwise: by HTTP, for programs in any language
## Supported providers
OpenRouter, DeepInfra, Featherless, Groq, Fireworks, Together AI | file app/providers/openrouter.py; file app/providers/deepinfra.py; file app/providers/featherless.py; file app/providers/groq.py; file app/providers/together.py |
HuggingFace, XAI, Cerebras, Google Vertex, Nebius, Novita | file app/providers/huggingface.py; file app/providers/xai.py; file app/providers/cerebras.py; file app/providers/google_vertex.py; file app/providers/nebius.py; file app/providers/novita.py |
Helicone, AiHubMix, Anannas, AIMO, Near AI, Chutes, Alibaba | file app/providers/helicone.py; file app/providers/aihubmix.py; file app/providers/aimo.py; file app/providers/near.py; file app/providers/alibaba.py |
Image models: Fal.ai, Vercel AI Gateway | file app/providers/fal.py; file app/providers/vercel_ai_gateway.py |
## How it works
Fetch | file app/sync/http/fetch.py |
Transform | file app/catalog/listing.py; file app/providers/parsing.py |
Upsert by `provider_id` and `provider_model_id` | file app/store/models.py | only rows that changed
Complete catalog with prices, capabilities and API names | table models; table canonical_models |
## Security
Admin-only access | file app/api/admin_auth.py |
Key in `.env`, never in git | file .gitignore; setting ADMIN_API_KEY | or in a file that `ADMIN_API_KEY_FILE` names
Constant-time comparison | file app/api/admin_auth.py |
Separate from users' API keys | file app/vault.py; setting ADMIN_API_KEY |
## Best practices
Run syncs periodically | command schedule; setting MODEL_SYNC_INTERVAL_HOURS; file .github/workflows/model-sync.yml |
Dry run first | command sync all --dry-run; command sync run --dry-run |
Monitor the status | route model_sync.status; route stats.models; route stats.providers; route metrics.metrics |
Filter by provider | command sync all --providers; command sync run --provider |
Check logs | setting LOG_LEVEL; command sync all --verbose |
## Troubleshooting
401: compare `ADMIN_API_KEY` with the header | setting ADMIN_API_KEY; file app/api/admin_auth.py | the answer says what to send
No models: the provider is down or its key is missing | command doctor; command providers list | each failed result says which
`OPENROUTER_API_KEY` | setting OPENROUTER_API_KEY |
Models not in queries: `is_active` | column models.is_active |
Activate models by SQL | column models.is_active | otherwise: possible, but the next sync says again what some key lists
""",
    "model-catalog-synchronization-system.md": """
## Features
Dynamic model discovery | file app/sync/run.py |
Provider entries are made if they do not exist | command providers sync; command setup |
Bulk operations: upsert thousands | file app/store/models.py |
Dry run | command sync run --dry-run; command sync all --dry-run; table plans |
One provider or all at once | route model_sync.sync_one; route model_sync.sync_all |
Comprehensive logging | setting LOG_LEVEL; column results.requests; route history.result | each result keeps what was asked: status, bytes, pages, retries
Graceful error handling with detailed reporting | file app/sync/http/errors.py; column results.error_code; column results.error_message; column results.error_action |
## Architecture
Fetch functions, one a provider | file app/providers/__init__.py; file app/providers/contract.py |
Sync service | file app/sync/run.py; file app/sync/persist.py |
Sync routes | file app/api/admin_sync.py |
CLI script for cron jobs and systemd timers | command sync all |
Data flow: API, fetch, sync service, database | file app/sync/run.py |
## Supported providers
The 21 of the list | file app/providers/__init__.py; route admin_providers.index; command providers list |
## API endpoints
Admin authentication of all endpoints under `/admin/model-sync` | file app/api/admin_auth.py |
`GET /admin/model-sync/providers` with `providers` and `count` | route model_sync.providers |
`POST /admin/model-sync/provider/{provider_slug}` | route model_sync.sync_one |
`dry_run` in the query, false by default | route model_sync.sync_one |
Answer: `details.models_skipped` besides | route model_sync.sync_one; file app/api/sync_report.py |
`POST /admin/model-sync/all` | route model_sync.sync_all |
`providers` in the query, several | route model_sync.sync_all |
`dry_run` in the query | route model_sync.sync_all |
Answer: `providers_processed`, `total_models_fetched`, `…_transformed`, `…_skipped`, `…_synced`, `errors` | route model_sync.sync_all; file app/api/sync_report.py |
A provider without a key is an entry of `errors` | file app/sync/server_keys.py; file app/api/sync_report.py |
`GET /admin/model-sync/status` | route model_sync.status |
`providers.in_database`, `with_fetch_functions`, `fetchable_in_db`, `fetchable_not_in_db` | route model_sync.status |
`providers.stats`: `total`, `active`, `healthy` | route model_sync.status; route stats.providers; file app/store/queries/stats.py |
`models.stats`: `total`, `active`, `by_modality` | route model_sync.status; route stats.models; file app/store/queries/stats.py |
## CLI script
Installation (`chmod +x`) | command up | otherwise: `flask` is installed with the app
`--help` | command sync all |
`--providers PROVIDER [PROVIDER ...]` | command sync all --providers |
`--dry-run` | command sync all --dry-run |
`--verbose, -v` | command sync all --verbose |
## Scheduling
crontab: all providers daily at 2 | command sync all | the recipe is in README
crontab: some providers every six hours | command sync all --providers; command providers set --update-frequency | the recipe is in README
systemd service and timer | command sync all | the unit files are in README
GitHub Actions (`sync-models.yml`) | file .github/workflows/sync-models.yml | otherwise: it calls the admin's API instead of writing to the database from GitHub
## How it works
1. The provider's entry with name, slug and description | column providers.name; column providers.slug; column providers.description |
1. Base URL, API key variable | column providers.base_url; column providers.api_key_env_var |
1. Supported capabilities of the provider | | missing: capabilities are facts of each model here, not of a provider
2. Fetch | file app/sync/http/fetch.py |
3. Transform: `provider_id` | column models.provider_id |
3. `model_id` | column models.canonical_id | otherwise: the canonical model that the provider's id means
3. `model_name` | column models.model_name |
3. `provider_model_id` | column models.provider_model_id |
3. `description` | column models.description |
3. `context_length` | column models.context_length |
3. `modality` | column models.modality |
3. `pricing_prompt`, `pricing_completion` as Decimal | column models.pricing_prompt; column models.pricing_completion |
3. `supports_streaming` and further ones | column models.supports_streaming; column models.supports_reasoning; column models.supports_structured_output |
4. Bulk upsert by the unique constraint | file app/store/models.py |
5. Result: `success`, fetched, transformed, skipped, synced, errors | file app/api/sync_report.py; column results.fetched; column results.skipped |
## Error handling
Missing API keys: the provider is skipped with a warning | file app/sync/server_keys.py; command providers list |
API timeouts: logged, others go on | file app/sync/http/errors.py |
Invalid model data: single models are skipped | column results.skipped; column results.skipped_entries |
Database errors: told in detail | file app/store/engine/db_errors.py; command doctor |
All errors are logged | setting LOG_LEVEL | without keys and without what people typed
All errors are in the results | column results.error_message |
One provider's failure does not stop the others | file app/sync/run.py |
## Best practices
Dry run first | command sync all --dry-run |
Some providers more often: every six hours, daily | command providers set --update-frequency; column providers.admin_update_frequency; setting MODEL_SYNC_INTERVAL_HOURS |
Monitor logs: API errors, skipped models, transformation errors | route history.result; route admin.history; route admin_workers.index |
Verbose mode | command sync all --verbose |
Low-traffic hours | command schedule | otherwise: what is due is spread over time, so there is no peak
## Troubleshooting
No models fetched: API key | command providers list; setting OPENROUTER_API_KEY |
Models skipped: required fields | column results.skipped_entries; route history.result |
Upsert fails: connectivity, credentials, constraints | command doctor; route health.ready |
Provider not found: list them | command providers list; route model_sync.providers |
## Monitoring
`GET /admin/model-sync/status` | route model_sync.status |
`GET /models/stats` | route stats.models |
`GET /providers/stats` | route stats.providers |
## Future enhancements
Incremental sync: only what changed | column credentials.validators; column models.facts_hash; column listings.fingerprint | beyond: unchanged lists are not read again, and only rows that changed are written
Webhooks when providers publish models | | missing: no provider offers one; public catalogs are asked daily instead
Parallel fetching | file app/sync/run.py | beyond:
Smart scheduling | column credentials.due_at; file app/sync/schedule.py; command sync due | beyond:
Conflict resolution | route catalog.conflicts; route catalog.settle | beyond:
Sync history | table runs; route admin.history; route admin.export | beyond:
## Related documentation
Provider management API | route admin_providers.index; route api_v1.providers |
Models catalog API | route api_v1.models; route openapi.page |
Database schema | file app/store/schema/tables.py; file app/store/schema/catalog_tables.py |
""",
    "provider-and-model-sync-quick-start.md": """
## TL;DR
Providers are always synced on deploy and startup | command setup; command up; command providers sync |
Models are synced every six hours | setting MODEL_SYNC_INTERVAL_HOURS; command schedule | those of the server's own keys; users' keys as often as their provider asks for
## Provider sync
On every push: a migration syncs all 28 providers | command setup | otherwise: `flask setup` mirrors the provider files, with no migration for each
On startup: from the registry | command setup; command up; table providers |
By hand (`seed_providers.py`) | command providers sync |
## Model sync
Background task every six hours | command schedule; file app/sync/schedule.py; column credentials.due_at |
`MODEL_SYNC_INTERVAL_HOURS` | setting MODEL_SYNC_INTERVAL_HOURS |
GitHub Actions every six hours | file .github/workflows/sync-models.yml |
`POST /admin/model-sync/all` | route model_sync.sync_all |
`POST /admin/model-sync/provider/{provider_slug}` | route model_sync.sync_one |
`GET /admin/model-sync/status` | route model_sync.status |
## Add a new provider
Registry entry: name, colour, site | column providers.name; column providers.color; column providers.site_url; file app/providers/contract.py |
Registry entry: priority (“fast”) | | missing: it told a router which provider to ask first; Modelsync routes no requests
Push: it is synced by itself | command setup |
## Force a sync
All, one, status by curl | route model_sync.sync_all; route model_sync.sync_one; route model_sync.status; command sync all |
## Check sync status
SQL: count providers | table providers |
SQL: count models | table models |
SQL: recent syncs by provider | column models.updated_at; column models.provider_id |
## Environment variables
`SUPABASE_URL`, `SUPABASE_KEY` | setting DATABASE_URL | otherwise: PostgreSQL or SQLite directly
`MODEL_SYNC_INTERVAL_HOURS=6` | setting MODEL_SYNC_INTERVAL_HOURS |
`SYNC_MODELS_ON_STARTUP=false` | setting SYNC_MODELS_ON_STARTUP |
`OPENROUTER_API_KEY` | setting OPENROUTER_API_KEY |
`OPENAI_API_KEY` | setting OPENAI_API_KEY |
`ANTHROPIC_API_KEY` and so on | setting ANTHROPIC_API_KEY |
Adjust the frequency, restart | setting MODEL_SYNC_INTERVAL_HOURS; command providers set --update-frequency |
## Monitoring
Logs: “Synced … providers”, “Model sync complete”, errors | setting LOG_LEVEL; route admin.history |
`GET /health` | route health.health | and `/health/ready`, which asks database, migrations, Redis and workers
`GET /admin/model-sync/status` | route model_sync.status |
SQL: count models by provider | table models; table providers |
SQL: recent model updates | column models.updated_at |
SQL: stale models of more than 12 hours | column models.updated_at; column providers.last_synced_at | a model's row is written when a fact changed: how fresh a list is says `providers.last_synced_at`
## Troubleshooting
Provider not showing up: seed, then look | command providers sync; command providers list; table providers |
Models outdated: sync now, look at the status | route model_sync.sync_all; route model_sync.status |
Sync errors: keys, the provider directly, logs | command doctor; command providers record; setting LOG_LEVEL |
## Summary
Provider sync: every push and restart | command setup; command up |
Model sync: background and GitHub Actions | command schedule; file .github/workflows/sync-models.yml |
Manual trigger: anytime | route model_sync.sync_all; command sync all |
Configuration: environment variables | file .env.example; file app/config.py |
""",
    "provider-model-synchronization-guide.md": """
## Provider configuration
`models_api` of a provider | column providers.models_api; file app/providers/contract.py |
`endpoints` | column providers.models_api; file app/providers/contract.py |
`endpoints[].url` | column providers.models_api |
`endpoints[].endpoint_type` (CHAT_COMPLETIONS, EMBEDDINGS …) | column providers.models_api |
`endpoints[].format` (OPENAI, ANTHROPIC, GEMINI) | column providers.models_api |
`endpoints[].transformer` (openrouter, aihubmix) | column providers.models_api; file app/providers/openrouter.py; file app/providers/aihubmix.py |
`enabled` | column providers.is_active; command providers set --enable; route admin_providers.change |
`update_frequency` (realtime, daily, weekly, manual) | column providers.models_api; column providers.admin_update_frequency; command providers set --update-frequency |
`last_synced` | column providers.last_synced_at |
## Setup
Copy `.env.example` to `.env` | file .env.example |
`OPENAI_API_KEY` | setting OPENAI_API_KEY |
`GROQ_API_KEY` | setting GROQ_API_KEY |
`TOGETHER_API_KEY` | setting TOGETHER_API_KEY |
`DEEPSEEK_API_KEY` | setting DEEPSEEK_API_KEY |
`SILICON_API_KEY` | setting SILICON_API_KEY |
`MISTRAL_API_KEY` | setting MISTRAL_API_KEY |
`PERPLEXITY_API_KEY` | setting PERPLEXITY_API_KEY |
`CHERRYIN_API_KEY` | setting CHERRYIN_API_KEY |
`.env` is never committed | file .gitignore |
Different keys for development and production | setting APP_ENV; setting MODELSYNC_INSTANCE |
Rotate keys | route keys.replace; command vault new | a replaced key of the server is noticed by itself
`.env.example` has the complete list | file .env.example |
## Web UI, per provider
Provider management page (`/providers`) | route admin_providers.index; route admin_providers.moved |
Sync button in the Actions column | route admin_sync.start; file templates/admin/_provider_sync.html |
Progress while it syncs | route admin_sync.progress |
Statistics: fetched, new models, overrides | route admin_sync.progress; file templates/admin/_provider_sync.html |
## Batch sync
`npm run sync:all` | command sync all |
All providers with `models_api.enabled` | command sync all; column providers.is_active |
OpenRouter and AIHubMix are skipped | command sync all; command catalog import |
Delays to avoid rate limits | file app/sync/limits/limiter.py; file app/sync/limits/store.py | otherwise: at most so many requests at a provider at once, and its own Retry-After
Progress logging | command sync all --verbose |
Summary statistics | command sync all |
Report: loaded providers, models, overrides | command sync all |
Report: providers to sync, skipped as authoritative | command sync all |
Report: API keys found and missing, with the variables' names | command sync all; command providers list |
Report: a line for each provider, with fetched, new and overrides | command sync all |
Report: successful and failed, models fetched, added, overrides generated and merged | command sync all |
## Data flow
Provider API, transformer, model | file app/providers/contract.py; file app/catalog/listing.py |
Compare with the catalog | file app/catalog/matching.py |
New model: added | table models; route catalog.unknown; route catalog.accept |
Existing model: an override | table overrides; file app/catalog/overrides.py |
Merge with what is there | file app/store/overrides.py |
## Overrides
Made for all models that a provider serves | table overrides |
Empty override: it serves the model without a difference | table overrides; file app/catalog/overrides.py |
`provider_id`, `model_id` | column overrides.provider_id; column overrides.canonical_id; command overrides export | `model_id` in the exported JSON
`priority` | column overrides.priority |
`pricing` with `per_million_tokens` and `currency` | column overrides.pricing |
`limits.context_window` | column overrides.limits |
Priority below 100: replaced by each sync | file app/store/overrides.py; column overrides.priority |
Priority from 100: kept | command overrides set --priority; column overrides.priority |
`reason` | column overrides.reason; command overrides set --reason |
## Merge strategy
New models are added directly | table models | to the provider's models; to the canonical ones once an admin accepts, or by itself where allowed
Differences make or update an override | file app/catalog/overrides.py |
Manual overrides are preserved | file app/store/overrides.py |
Overrides of sync are replaced | file app/store/overrides.py |
## Transformers
OpenAI-compatible (default), `{ data: [...] }` | file app/providers/openai_shape.py |
Basic inference of capabilities | file app/catalog/kind.py; file app/providers/openai_shape.py |
OpenRouter: ids in lower case | file app/catalog/id_parser.py; file app/catalog/matching.py | otherwise: compared in lower case, kept as the provider writes them, since requests need them so
OpenRouter: the provider out of the id | file app/catalog/matching.py |
OpenRouter: capabilities out of `supported_parameters` | file app/providers/openrouter.py |
OpenRouter: prices per token to per million | file app/providers/openrouter.py; file app/providers/parsing.py |
AIHubMix: ids in lower case | file app/catalog/matching.py | otherwise: as with OpenRouter
AIHubMix: CSV fields (types, features, input_modalities) | file app/providers/aihubmix.py |
AIHubMix: capabilities (thinking means reasoning) | file app/providers/aihubmix.py |
AIHubMix: the provider out of the id | file app/catalog/matching.py |
Adding a custom transformer | file app/providers/__init__.py; file app/providers/contract.py |
## Best practices
OpenRouter and AIHubMix are authoritative sources | file app/catalog/sources/__init__.py; route catalog.overview |
`npm run import:openrouter` | command catalog import |
`npm run import:aihubmix` | command catalog import |
Recommended frequencies by kind of provider | column providers.models_api; command providers set --update-frequency |
Batch script: keys from `.env`, the right one for each provider | setting OPENAI_API_KEY; file app/sync/server_keys.py |
Missing keys warn and stop nothing | command sync all |
Web UI: the same keys, on the server | route admin_sync.start; file app/sync/server_keys.py |
One second between providers | file app/sync/limits/limiter.py | otherwise: providers are asked at once, each with its own bounds
Errors do not stop the others | file app/sync/run.py |
Retry logic (future) | file app/sync/http/retry.py | beyond:
Manual overrides with priority and reason | command overrides set --priority --reason; command overrides import |
## Troubleshooting
Sync fails: `enabled`, address, key, transformer | command providers list; command providers read; command doctor |
Models not appearing: ids, transformer, logs | command providers read; route models.index |
Overrides not generated: base model, differences, merge | command overrides list; command catalog match |
## Future enhancements
API keys in the web UI | route keys.add; route keys.profile | beyond:
Scheduled sync | command schedule; column credentials.due_at | beyond:
Sync history and audit log | table runs; table audit_log; route catalog.log | beyond:
Conflict resolution UI | route catalog.conflicts | beyond:
Retry with exponential backoff | file app/sync/http/retry.py | beyond:
Webhook notifications | | missing: nothing is sent to other servers; /changes and /api/v1/changes tell
Differential sync | column credentials.validators; column listings.fingerprint | beyond:
Registry of provider-specific transformers | file app/providers/__init__.py | beyond:
""",
}


def _items() -> tuple[Item, ...]:
    found = []
    for document, block in _DOCUMENTS.items():
        section = ""
        for line in block.strip().splitlines():
            if line.startswith("## "):
                section = line[3:]
            else:
                found.append(_item(document, section, line))
    return tuple(found)


def _item(document: str, section: str, line: str) -> Item:
    what, where, note = (part.strip() for part in line.split("|"))
    state, _, rest = note.partition(":")
    is_said = state in get_args(State)
    return Item(
        document=document,
        section=section,
        what=what,
        places=tuple(_place(one) for one in where.split(";") if one.strip()),
        state=cast("State", state) if is_said else "here",
        note=rest.strip() if is_said else note,
    )


def _place(text: str) -> Place:
    kind, _, name = text.strip().partition(" ")
    return Place(kind, name)


ITEMS = _items()


# ------------------------------------------------------------------ the page

_NO_PAGE = ("sync.stream",)
"""A browser that opens it waits for ever."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A place as the page shows it."""

    kind: str
    text: str
    href: str
    """Empty where there is nothing to open."""


@blueprint.get("")
@admin_required
def index() -> str:
    """Every item by document and section."""
    documents = [
        (name, [(section, list(of_section)) for section, of_section in groupby(of_document, lambda one: one.section)])
        for name, of_document in groupby(ITEMS, lambda one: one.document)
    ]
    counts = {state: sum(item.state == state for item in ITEMS) for state in STATES}
    return render_template(
        "admin/about.html",
        documents=documents,
        counts=counts,
        states=STATES,
        total=len(ITEMS),
        shown=_shown,
        anchor=lambda name: PurePosixPath(name).stem,
    )


def _shown(place: Place) -> Shown:
    if place.kind == "route":
        return _shown_route(place.name)
    text = f"flask {place.name}" if place.kind == "command" else place.name
    return Shown(place.kind, text, "")


def _shown_route(endpoint: str) -> Shown:
    """Its methods and address; a link where a browser can open it."""
    rule = next(current_app.url_map.iter_rules(endpoint))
    methods = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    try:
        href = url_for(endpoint) if methods == ["GET"] and endpoint not in _NO_PAGE else ""
    except BuildError:  # it needs to know which
        href = ""
    return Shown("route", f"{'/'.join(methods)} {rule.rule}", href)
