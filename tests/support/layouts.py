"""
Layouts of applications: bytes in a row, pieces of text, JSON; each a pair to write and to read.

Everything is done with the bare cipher and the encodings of the standard library; nothing here
comes from rotator. A reader has one key, as an application has that has forgotten the former one,
and refuses what it would not have written: another text in front, another length, another name for
its key.
"""

import base64
import binascii
import json
import os
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TAG = 16


@dataclass(frozen=True)
class Key:
    """A key as an application has it: its 32 bytes, and what the application calls it."""

    secret: bytes
    name: str


def no_label(_key):
    """An application whose values do not name their key."""


@dataclass(frozen=True)
class Application:
    """
    A pair: *write* makes a value of a plaintext, *read* a plaintext of a value.

    Both take a `Key` and the name of the entry. *label* is what a value calls its key, as it stands
    under `labels` in the configuration; None where values name none.
    """

    write: Callable[[Key, bytes, bytes], bytes]
    read: Callable[[Key, bytes, bytes], bytes]
    label: Callable[[Key], str | None] = no_label


def sealed(key, plaintext, nonce_size=12, aad=None):
    """The nonce, the ciphertext and the tag, by the first letters of their names."""
    nonce = os.urandom(nonce_size)
    body = AESGCM(key.secret).encrypt(nonce, plaintext, aad)
    return {"n": nonce, "c": body[:-TAG], "t": body[-TAG:]}


def opened(key, parts, aad=None):
    """The plaintext of what `sealed` makes."""
    return AESGCM(key.secret).decrypt(parts["n"], parts["c"] + parts["t"], aad)


def expect(there, wanted):
    """Refuse what an application would not have written."""
    if there != wanted:
        raise ValueError(f"{there!r} stands where {wanted!r} belongs")


# The encodings: bytes to text and back.


def same(data):
    """The bytes themselves."""
    return data


def unhex(text):
    """Hex, lower case only."""
    expect(text, text.lower())
    return binascii.unhexlify(text)


def unbase64(text):
    """Base64 with its padding."""
    data = base64.b64decode(text, validate=True)
    expect(text, base64.b64encode(data))
    return data


def tobase64url(data):
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def unbase64url(text):
    """The same back."""
    data = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    expect(text, tobase64url(data))
    return data


def unbase64url_padded(text):
    """Base64url with its padding."""
    data = base64.urlsafe_b64decode(text)
    expect(text, base64.urlsafe_b64encode(data))
    return data


RAW = (same, same)
HEX = (binascii.hexlify, unhex)
BASE64 = (base64.b64encode, unbase64)
BASE64URL = (tobase64url, unbase64url)
BASE64URL_PADDED = (base64.urlsafe_b64encode, unbase64url_padded)


# What is authenticated besides, and what names the key.


def nothing(_key, _name):
    """Nothing is authenticated besides."""


def the_name(_key, name):
    """The name of the entry."""
    return name


def fixed(text):
    """The same bytes in every value."""
    return lambda _key, _name: text


def name_without(prefix):
    """The name as the application knows it, before its client puts a prefix in front."""
    return lambda _key, name: name.removeprefix(prefix)


def its_name(key):
    """What the application calls the key."""
    return key.name


# Three families of layouts.


def cut(data, order, nonce_size):
    """Parts that lie in a row; the ciphertext is as long as is left."""
    sizes = {"n": nonce_size, "t": TAG}
    sizes["c"] = len(data) - sum(sizes[part] for part in order if part != "c")
    if sizes["c"] < 0:
        raise ValueError("too short")
    parts, at = {}, 0
    for part in order:
        parts[part] = data[at : at + sizes[part]]
        at += sizes[part]
    return parts


def row(encoding, order, *, nonce=12, head=b"", aad=nothing, label=no_label):
    """Bytes in a row, encoded as a whole; *head* stands in front of them, or is made of the key."""
    encode, decode = encoding
    before = head if callable(head) else lambda _key: head

    def write(key, name, plaintext):
        parts = sealed(key, plaintext, nonce, aad(key, name))
        return encode(before(key) + b"".join(parts[part] for part in order))

    def read(key, name, value):
        data, begin = decode(value), before(key)
        expect(data[: len(begin)], begin)
        return opened(key, cut(data[len(begin) :], order, nonce), aad(key, name))

    return Application(write, read, label)


def joined(encoding, pieces, mark="", *, nonce=12, head="", tail="", aad=nothing, label=no_label):
    """
    Pieces of text with *mark* between them; each piece is some parts in a row, encoded.

    *head* and *tail* are texts around them, or are made of the key.
    """
    encode, decode = encoding
    pieces = pieces.split()

    def around(key):
        return [(text(key) if callable(text) else text).encode() for text in (head, tail)]

    def write(key, name, plaintext):
        parts = sealed(key, plaintext, nonce, aad(key, name))
        texts = [encode(b"".join(parts[part] for part in piece)) for piece in pieces]
        first, last = around(key)
        return first + mark.encode().join(texts) + last

    def read(key, name, value):
        first, last = around(key)
        expect(value[: len(first)], first)
        expect(value[len(value) - len(last) :], last)
        rest = value[len(first) : len(value) - len(last)]
        texts = rest.split(mark.encode()) if mark else [rest]
        parts = {}
        for piece, text in zip(pieces, texts, strict=True):
            parts |= cut(decode(text), piece, nonce)
        expect(len(parts["n"]), nonce)
        return opened(key, parts, aad(key, name))

    return Application(write, read, label)


def document(
    encoding, fields, *, nonce=12, aad=nothing, label=no_label, gaps=(",", ":"), within=RAW
):
    """
    A JSON object.

    *fields* are its names in their order, each with the parts in its text ("n", "ct"), or with what
    stands there (a constant in a list), or with a function of the key. *gaps* are what a writer
    puts between fields and behind their names; *within* is an encoding around the whole.
    """
    encode, decode = encoding

    def constants(key):
        found = {name: what for name, what in fields.items() if not isinstance(what, str)}
        return {name: one(key) if callable(one) else one[0] for name, one in found.items()}

    def write(key, name, plaintext):
        parts = sealed(key, plaintext, nonce, aad(key, name))
        made = {
            field: encode(b"".join(parts[part] for part in what)).decode()
            for field, what in fields.items()
            if isinstance(what, str)
        } | constants(key)
        text = json.dumps({field: made[field] for field in fields}, separators=gaps)
        return within[0](text.encode())

    def read(key, name, value):
        given = json.loads(within[1](value))
        expect(list(given), list(fields))
        fixed_ones = constants(key)
        expect({field: given[field] for field in fixed_ones}, fixed_ones)
        parts = {}
        for field, what in fields.items():
            if isinstance(what, str):
                parts |= cut(decode(given[field].encode()), what, nonce)
        return opened(key, parts, aad(key, name))

    return Application(write, read, label)
