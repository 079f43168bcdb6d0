"""What the feedback page is told: its words, its secrets, its limits."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

DEFAULT_FLAGS = ("hate", "violence", "sexual", "self-harm", "illegal", "private data", "false")
DEFAULT_SKIP_REASONS = ("I cannot judge this", "the question is broken", "it upsets me", "all answers are equally bad")


@dataclass(frozen=True)
class FeedbackSettings:
    """Settings of [`create_feedback_app`].

    Args:
        title (`str`, *optional*, defaults to `"Feedback"`):
            Stands at the top of every page.
        guidelines (`str`, *optional*):
            What annotators should judge by, in Markdown. Shown before the first question and behind "Guide".
        flags (`tuple[str, ...]`, *optional*):
            What an answer can be flagged as.
        skip_reasons (`tuple[str, ...]`, *optional*):
            Reasons for a skip; the annotator can always write another.
        admin_password (`str`, *optional*, hidden in the repr):
            Opens the admin's pages, at least 8 characters. Without one there are none.
        secret_key (`str`, *optional*, hidden in the repr):
            Signs sessions, at least 32 characters. Kept the same, sessions outlive a restart; by default a new one.
        public_url (`str`, *optional*, defaults to `"http://127.0.0.1:8421"`):
            How annotators reach the page: the start of invitation links. `https://` marks cookies as `Secure`.
        allowed_hosts (`tuple[str, ...]`, *optional*):
            Names beside loopback's and `public_url`'s that a request may call the page by (against DNS rebinding).
        max_body (`int`, *optional*, defaults to `262_144`):
            Largest form in bytes. A larger one is refused while it comes in.
        body_seconds (`float`, *optional*, defaults to `20.0`):
            Longest time a form may take to come in.
        answers_per_minute (`int`, *optional*, defaults to `120`):
            Forms a minute and annotator, with as many at once.
        logins_per_minute (`int`, *optional*, defaults to `10`):
            Passwords and invitations tried a minute and address.
        session_days (`float`, *optional*, defaults to `30.0`):
            How long an annotator stays signed in. The admin stays for 12 hours.

    Raises:
        ValueError: If one of these is out of range; it is named.

    Example:
    ```python
    >>> from rlhf_ext.deployment.feedback_ui import FeedbackSettings

    >>> FeedbackSettings(title="Which answer is kinder?", admin_password="correct horse").title
    'Which answer is kinder?'

    ```
    """

    title: str = "Feedback"
    guidelines: str = ""
    flags: tuple[str, ...] = DEFAULT_FLAGS
    skip_reasons: tuple[str, ...] = DEFAULT_SKIP_REASONS
    admin_password: str | None = field(default=None, repr=False)
    secret_key: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    public_url: str = "http://127.0.0.1:8421"
    allowed_hosts: tuple[str, ...] = ()
    max_body: int = 262_144
    body_seconds: float = 20.0
    answers_per_minute: int = 120
    logins_per_minute: int = 10
    session_days: float = 30.0

    def __post_init__(self) -> None:
        if self.admin_password is not None and len(self.admin_password) < 8:
            raise ValueError("The admin's password is too short: give at least 8 characters.")
        if len(self.secret_key) < 32:
            raise ValueError(f"`secret_key` has {len(self.secret_key)} characters; give at least 32.")
        if not self.public_url.startswith(("http://", "https://")):
            raise ValueError(f"`public_url` should start with http:// or https://, got {self.public_url!r}.")
        for name in ("max_body", "body_seconds", "answers_per_minute", "logins_per_minute", "session_days"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` should be above 0, got {getattr(self, name)!r}.")

    @property
    def secure(self) -> bool:
        """Whether annotators come by https, so that cookies are never sent in the clear."""
        return self.public_url.startswith("https://")
