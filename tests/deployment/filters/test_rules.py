"""Spans by rule: what is found, and what is left alone."""

import doctest
import importlib

import pytest

from rlhf_ext.deployment.filters import FilterSet, Rule, SpanFilter, personal_data, words


@pytest.mark.parametrize("module", ["rules", "scoring", "filter_set", "stream"])
def test_the_examples_run(module):
    assert doctest.testmod(importlib.import_module(f"rlhf_ext.deployment.filters.{module}")).failed == 0


def redacted(text, rules=None):
    return FilterSet([SpanFilter("rules", rules or personal_data())]).check(text, "output").text


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("ada.b+c@mail.example.co.uk", "email"),
        ("ADA@EXAMPLE.ORG", "email"),
        ("ａda@exam\u200bple.org", "email"),
        ("müller@exämple.de", "email"),
        ("+49 30 1234567", "phone"),
        ("+1 (555) 234-5678", "phone"),
        ("0049-89-123456", "phone"),
        ("(555) 234-5678", "phone"),
        ("030 1234567", "phone"),
        ("4111 1111 1111 1111", "card"),
        ("4111-1111-1111-1111", "card"),
        ("378282246310005", "card"),
        ("5555555555554444", "card"),
        ("６011111111111117", "card"),
        ("DE89 3704 0044 0532 0130 00", "iban"),
        ("GB82WEST12345698765432", "iban"),
        ("fr14 2004 1010 0505 0001 3m02 606", "iban"),
        ("192.168.0.254", "ip"),
        ("2001:db8::8a2e:370:7334", "ip"),
        ("sk-proj-abcdefghijklmnop1234", "key"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "key"),
        ("AKIAIOSFODNN7EXAMPLE", "key"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijklmno", "key"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/=\nabc\n-----END RSA PRIVATE KEY-----", "private_key"),
    ],
)
def test_personal_data_is_found_in_the_middle_and_at_the_ends(text, label):
    assert redacted(text) == f"[{label}]"
    assert redacted(f"It is {text}, he said.") == f"It is [{label}], he said."


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # check digit
        "1234567812345670",  # Luhn's digit fits, no issuer has the beginning
        "GB82WEST12345698765433",
        "On 2024-05-01 at 10:00 we sold 12,345 for 67.89.",
        "pi is 3.14159265358979323846",
        "version 1.2.3, and 256.1.1.1",
        "std::vector<a::b> x; at 12:30:45",
        "user@host and a @ b.c",
        "sk-short, ghp_short",
        "ISBN 978-3-16-148410-0",
        "x = a[10:20]; y = 0.5",
        "",
    ],
)
def test_what_is_none_stays(text):
    assert redacted(text) == text


def test_a_card_is_found_behind_and_before_other_digits():
    assert redacted("1234567 1234567 4111 1111 1111 1111 123") == "1234567 1234567 [card] 123"


def test_words_stand_alone_unless_told_otherwise_or_their_script_has_no_spaces():
    rules = words(["ass", "爆弾", "Blue Heron", "c++"], "word")
    assert (
        redacted("class ASS, ass_et the爆弾を blue\n heron. c++!", rules)
        == "class [word], [word]_et the[word]を [word]. [word]!"
    )
    assert redacted("class", words(["ass"], "word", whole=False)) == "cl[word]"


def test_a_letter_with_its_accent_is_another_letter():
    assert redacted("El año, el ano, ÁÑO", words(["año"], "word")) == "El [word], el ano, ÁÑO"
    assert redacted("an\u0303o", words(["año"], "word")) == "[word]"
    assert redacted("an\u0336o", words(["ano"], "word")) == "[word]"


def test_rules_and_filters_that_say_nothing_are_refused():
    for build, said in (
        (lambda: words([]), "no words"),
        (lambda: words(["\u200b"]), "no word"),
        (lambda: personal_data(["emails"]), "'emails'; there are email"),
        (lambda: personal_data([]), "Unknown"),
        (lambda: Rule("", "a"), "label"),
        (lambda: Rule("a", "a*"), "without bound"),
        (lambda: SpanFilter("a", []), "no rules"),
        (lambda: SpanFilter("", words(["a"])), "name"),
        (lambda: SpanFilter("a", words(["a"]), on="output"), "must list"),
        (lambda: SpanFilter("a", words(["a"]), action="allow"), "action"),
    ):
        with pytest.raises(ValueError, match=said):
            build()
