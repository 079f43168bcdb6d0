"""`rlhf-ext serve`: a gateway in front of models, its keys, and what it keeps."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .parsing import existing, parse
from .unread import refuse_unread

_HELP = """\
usage: rlhf-ext serve --upstream URL | --model DIR | --config gateway.yaml [--host HOST] [--port PORT] ...
       rlhf-ext serve keys add    --name NAME [--requests_per_minute N] [--may_choose True] [--database FILE]
       rlhf-ext serve keys list   [--database FILE]
       rlhf-ext serve keys revoke --key ID_OR_NAME [--database FILE]
       rlhf-ext serve forget      --user USER [--database FILE]

An OpenAI-compatible gateway: point any OpenAI client at http://127.0.0.1:8400/v1. Behind it stands a model server (--upstream), a
model in this process (--model; LoRA adapters on it with --adapters name=folder), or what a configuration says (--config, see
docs/deployment.md). Feedback comes in by POST /v1/feedback and goes out by `rlhf-ext feedback export --database gateway.sqlite`.

"""


@dataclass(kw_only=True)
class DatabaseArguments:
    """Where the gateway keeps things."""

    database: str | None = field(
        default=None,
        metadata={"help": "SQLite file, or a URL such as postgresql+psycopg://user@host/name. [gateway.sqlite]"},
    )


@dataclass(kw_only=True)
class ServeArguments(DatabaseArguments):
    """Arguments of `rlhf-ext serve`."""

    upstream: str | None = field(
        default=None, metadata={"help": "OpenAI-compatible model server, such as http://127.0.0.1:8000/v1."}
    )
    api_key_env: str | None = field(default=None, metadata={"help": "Environment variable with the upstream's key."})
    model: str | None = field(default=None, metadata={"help": "Folder or hub name of a model to run in this process."})
    adapters: list[str] = field(
        default_factory=list, metadata={"help": "LoRA adapters on --model: name=folder, each a model of that name."}
    )
    model_name: str | None = field(
        default=None, metadata={"help": "What clients call --model. By default its folder's name."}
    )
    host: str = field(default="127.0.0.1", metadata={"help": "Where to listen: by default this machine only."})
    port: int = field(default=8400, metadata={"help": "Port; 0 takes a free one."})
    without_keys: bool = field(
        default=False, metadata={"help": "Whether anybody who reaches --host may use the models, without a key."}
    )
    texts: bool | None = field(
        default=None, metadata={"help": "Whether prompts and answers are kept, so that feedback can be exported."}
    )


@dataclass(kw_only=True)
class KeyArguments(DatabaseArguments):
    """Arguments of `rlhf-ext serve keys`."""

    name: str | None = field(default=None, metadata={"help": "What to call a new key."})
    key: str | None = field(default=None, metadata={"help": "Id or name of the key to revoke."})
    requests_per_minute: float | None = field(default=None, metadata={"help": "The key's own limit."})
    max_body: int | None = field(default=None, metadata={"help": "Its largest request in bytes."})
    may_choose: bool = field(
        default=False, metadata={"help": "Whether its requests may choose an experiment's variant (x-variant)."}
    )


@dataclass(kw_only=True)
class ForgetArguments(DatabaseArguments):
    """Arguments of `rlhf-ext serve forget`."""

    user: str | None = field(default=None, metadata={"help": "Whose responses and feedback are deleted."})


def serve(arguments: list[str]) -> None:
    """Serves, or manages keys and what is kept."""
    actions = {"keys": _keys, "forget": _forget}
    if arguments and not arguments[0].startswith("-"):
        if arguments[0] not in actions:
            raise ValueError(f"unknown action {arguments[0]!r}; there are {', '.join(actions)}, or none to serve.")
        actions[arguments[0]](arguments[1:])
        return
    if arguments[:1] and arguments[0] in ("-h", "--help"):
        sys.stdout.write(_HELP)
    config, rest = _config_of(arguments)
    (options,) = parse("serve", [ServeArguments], rest)
    from pydantic import ValidationError

    from ..deployment import gateway
    from ..deployment.gateway.reading import words_of

    try:
        settings = _settings(options, config)
    except ValidationError as error:
        raise ValueError(words_of(error)) from None
    with gateway.listen(options.host, options.port) as at:
        app = gateway.create_gateway(settings)
        host, port = options.host, at.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        sys.stdout.write(f"serving http://{shown}:{port}/v1 until Ctrl-C\n")
        sys.stdout.flush()
        gateway.serve(app, at, options.without_keys)


def _config_of(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """`--config` by itself: it is the gateway's own file, with parts in parts, and no list of flags."""
    rest = list(arguments)
    if "--config" not in rest:
        return None, rest
    at = rest.index("--config")
    if at + 1 == len(rest):
        raise ValueError("--config needs a file. See rlhf-ext serve --help")
    return rest[at + 1], rest[:at] + rest[at + 2 :]


def _settings(options: ServeArguments, config: str | None) -> Any:
    from ..deployment import gateway

    given = [name for name in ("upstream", "model") if getattr(options, name) is not None]
    if len(given) + (config is not None) != 1:
        raise ValueError("one of --upstream, --model and --config is needed. See rlhf-ext serve --help")
    _check_used(options)
    if config is not None:
        settings = gateway.load_settings(config)
    elif options.upstream is not None:
        upstream = gateway.UpstreamSettings(url=options.upstream, api_key_env=options.api_key_env)
        settings = gateway.GatewaySettings(upstreams={"upstream": upstream})
    else:
        settings = _local(options, str(options.model))
    store = settings.store
    if options.database is not None:
        store = replace(store, database=options.database)
    if options.texts is not None:
        store = replace(store, texts=options.texts)
    return replace(settings, store=store)


def _check_used(options: ServeArguments) -> None:
    """Refuses flags that would be passed over."""
    for flags, of in ((["api_key_env"], "upstream"), (["adapters", "model_name"], "model")):
        if getattr(options, of) is None:
            refuse_unread(options, flags, f"goes with --{of}; with --config, write it there")


def _local(options: ServeArguments, model: str) -> Any:
    from ..deployment import gateway

    name = options.model_name or Path(model).name or Path(model).resolve().name
    adapters: dict[str, str] = {}
    for one in options.adapters:
        called, _, folder = one.partition("=")
        if not called or not folder:
            raise ValueError(f"--adapters should be name=folder, got {one!r}.")
        if called in (name, *adapters):
            raise ValueError(f"--adapters: {called!r} is taken; each adapter, and --model, needs a name of its own.")
        adapters[called] = folder
    targets = {name: gateway.Target(backend="local")}
    targets |= {called: gateway.Target(backend="local", model=called) for called in adapters}
    local = gateway.LocalSettings(path=model, adapters=adapters)
    return gateway.GatewaySettings(local={"local": local}, models=targets)


def _keys(arguments: list[str]) -> None:
    actions = {"add": _add_key, "list": _list_keys, "revoke": _revoke_key}
    if not arguments or arguments[0] not in actions:
        raise ValueError(f"`rlhf-ext serve keys` needs one of {', '.join(actions)}.")
    (options,) = parse(f"serve keys {arguments[0]}", [KeyArguments], arguments[1:])
    from ..data.store.served import ApiKeys, ServedStore

    database = options.database or "gateway.sqlite"
    if arguments[0] != "add":
        existing(database)
    elif options.name is None:
        raise ValueError("--name is needed: what to call the key.")
    actions[arguments[0]](ApiKeys(ServedStore(database).database), options)


def _add_key(keys: Any, options: KeyArguments) -> None:
    secret = keys.add(options.name, options.requests_per_minute, options.max_body, options.may_choose)
    sys.stdout.write(f"{secret}\n")
    sys.stderr.write("This is the only time that the key is shown: only a hash of it is kept.\n")


def _list_keys(keys: Any, options: KeyArguments) -> None:
    for key in keys.list():
        limit = "" if key.requests_per_minute is None else f"  {key.requests_per_minute:g} requests a minute"
        state = "works" if key.revoked is None else f"revoked {key.revoked:%Y-%m-%d %H:%M} UTC"
        chooses = "  may choose variants" if key.may_choose else ""
        sys.stdout.write(f"{key.id}  {key.name}  {state}{limit}{chooses}\n")


def _revoke_key(keys: Any, options: KeyArguments) -> None:
    if options.key is None:
        raise ValueError("--key is needed: the id or the name of a key.")
    try:
        revoked = keys.revoke(options.key)
    except LookupError as error:
        raise ValueError(str(error)) from error
    sys.stdout.write(f"{revoked.id}  {revoked.name}  revoked\n")


def _forget(arguments: list[str]) -> None:
    (options,) = parse("serve forget", [ForgetArguments], arguments)
    from ..data.store.served import ServedStore

    if not options.user:
        raise ValueError("--user is needed: whose responses and feedback are to be deleted.")
    responses, feedback = ServedStore(existing(options.database or "gateway.sqlite")).forget_user(options.user)
    sys.stdout.write(f"deleted  {responses} responses, {feedback} pieces of feedback\n")
