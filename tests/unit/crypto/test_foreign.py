"""Foreign values: what other tools write, and what looks encrypted at all."""

import base64
import json
import os

import pytest

from rotator.crypto.encoding import Encoding, encode
from rotator.crypto.foreign import BEGINNINGS, foreign, looks_encrypted


def jwe(**header):
    """A JWE in its compact form, with a header of these fields."""
    texts = (json.dumps(header).encode(), b"key", os.urandom(12), os.urandom(40), os.urandom(16))
    return b".".join(encode(Encoding.BASE64URL, text).rstrip(b"=") for text in texts)


def jws(payload=b'{"sub":"1234567890"}', **header):
    """A JWS in its compact form, with a signature of 32 bytes."""
    texts = (json.dumps(header).encode(), payload, os.urandom(32))
    return b".".join(encode(Encoding.BASE64URL, text).rstrip(b"=") for text in texts)


WRITTEN = {
    "Fernet": b"gAAAAA" + base64.urlsafe_b64encode(os.urandom(70)),
    "iron": b"Fe26.2**" + os.urandom(32).hex().encode() + b"*" + os.urandom(60).hex().encode(),
    "OpenSSL": base64.b64encode(b"Salted__" + os.urandom(40)),
    "Vault transit": b"vault:v3:" + base64.b64encode(os.urandom(60)),
    "ASP.NET Data Protection": base64.urlsafe_b64encode(b"\x09\xf0\xc9\xf0" + os.urandom(90)),
    "PASETO": b"v4.local." + base64.urlsafe_b64encode(os.urandom(70)).rstrip(b"="),
    "AWS Encryption SDK": base64.b64encode(b"\x02\x05\x78" + os.urandom(90)),
    "AWS KMS": base64.b64encode(b"\x01\x02\x02\x00\x78" + os.urandom(90)),
    "cachekit": b'CK\x03\x00\x00\x00\x20{"s": "default", "m": {}, "v": 1}' + os.urandom(50),
    "JWE (RSA-OAEP, A256GCM)": jwe(alg="RSA-OAEP", enc="A256GCM"),
    "JWE (dir, A128CBC-HS256)": jwe(alg="dir", enc="A128CBC-HS256"),
}

PLAIN = {
    "nothing": b"",
    "short": b"hello",
    "English": b"a token of forty characters, or nearly so",
    "not ASCII": "Grüße aus München, and a text that is quite long".encode(),
    "no Latin": "日本語のテキストがここにあります。よろしくお願いします".encode(),
    "JSON": b'{"sub": "somebody", "scope": "openid email", "at": "2026-11-24T01:02:03Z"}',
    "dense JSON": b'{"a":1,"b":null,"user":"1","roles":["admin","reader"],"ts":1700000000.5}',
    "HTML": b'<div class="row"><p>Some text, and a <a href="/a/b/index.html">link</a></p></div>',
    "a path": b"/var/log/some/application/path/which_is_long/access.log",
    "a type": b"application/vnd_openxmlformats-officedocument_spreadsheet",
    "camel case": b"com.example.application.AbstractSessionManagerFactoryBean",
    "an identifier": b"SCREAMING_SNAKE_CASE_NAMES_OF_SETTINGS_THAT_ARE_LONG",
    "a word": b"Donaudampfschifffahrtsgesellschaft",
    "a number": b"12345678901234567890123456789012345678901234567890",
    "a UUID": b"550e8400-e29b-41d4-a716-446655440000",
    "a UUID in a name": b'{"session":"user:550E8400-E29B-41D4-A716-446655440000"}',
    "text in base64": base64.b64encode(b"hello world, this is a text in base64"),
    "text in hex": b"hello world, this is a text in hex".hex().encode(),
    "four bytes": b"\x00\x01\x02\x03",
    "text in base64, twice": base64.b64encode(base64.b64encode(b"hello world, this is a text")),
    "a signed token": jws(alg="HS256", typ="JWT"),
    "a signed token in JSON": b'{"token": "%b"}' % jws(alg="HS256", typ="JWT"),
    "two odd bytes far apart": b"\xff" + b"a" * 15 + b"\xff",
}


class TestForeign:
    """What the table of beginnings knows."""

    @pytest.mark.parametrize("name", WRITTEN)
    def test_its_writer_is_named(self, name):
        """What wrote a value is named, with what to use instead, and it looks encrypted."""
        found = foreign(WRITTEN[name])
        assert found is not None
        assert found.name == name
        assert found.instead
        assert looks_encrypted(WRITTEN[name])

    def test_no_beginning_hides_another(self):
        """Each beginning of the table is found: none begins with another tool's."""
        for beginning, written in BEGINNINGS.items():
            assert foreign(beginning + b"rest") is written

    @pytest.mark.parametrize("value", [jwe(alg="dir", enc="A256GCM"), *PLAIN.values()])
    def test_others_are_not_named(self, value):
        """A JWE that a layout describes, and what is no ciphertext, are nobody's."""
        assert foreign(value) is None

    @pytest.mark.parametrize(
        "value",
        [b"eyJ.a.b.c.d", b"eyJhIjpbXX0.....", b"eyJhIjox.a.b.c.d", b"eyI.x..y.z"],
        ids=["no base64", "empty parts", "no JSON", "no object"],
    )
    def test_what_only_resembles_a_jwe(self, value):
        """What has the points of a JWE and no header is nobody's."""
        assert foreign(value) is None

    @pytest.mark.parametrize(
        ("header", "name", "how"),
        [
            ({"alg": "dir", "enc": "A128GCM"}, "JWE (dir, A128GCM)", "another cipher"),
            ({"alg": "A256KW", "enc": "A256GCM"}, "JWE (A256KW, A256GCM)", "it holds or derives a"),
            ({"enc": "A256GCM"}, "JWE (?, A256GCM)", "it holds or derives a key of its own"),
            ({"alg": "a" * 30, "enc": "b" * 30}, f"JWE ({'a' * 24}, {'b' * 24})", "it holds"),
        ],
    )
    def test_jwe(self, header, name, how):
        """Of a JWE its algorithms are told, and whether another key is in the way, or a cipher."""
        found = foreign(jwe(**header))
        assert found.name == name
        assert found.instead.startswith(how)
        assert found.instead.endswith(": decrypt and encrypt with the library that wrote it")

    def test_headers_are_not_shown_as_they_are(self):
        """A header may say anything: what cannot be printed is not repeated."""
        assert foreign(jwe(alg="a\x1b[1m", enc="b")).name == "JWE"


class TestLooksEncrypted:
    """What holds 16 random bytes in a row, and what does not."""

    @pytest.mark.parametrize("name", PLAIN)
    def test_plain_text_does_not(self, name):
        """Words, numbers, identifiers, encoded text and signed tokens do not look encrypted."""
        assert not looks_encrypted(PLAIN[name])

    @pytest.mark.parametrize("encoding", Encoding)
    @pytest.mark.parametrize("around", [b"%b", b"enc:v1:%b:end", b'{"text":"some words","d":"%b"}'])
    def test_random_bytes_do(self, encoding, around):
        """28 random bytes look encrypted in any encoding, wherever they stand."""
        for _ in range(200):
            assert looks_encrypted(around % encode(encoding, os.urandom(28)))

    @pytest.mark.parametrize("encoding", Encoding)
    def test_sixteen_bytes_are_enough(self, encoding):
        """Of 16 random bytes hardly any do not look encrypted: at most 1 of 1,000 here."""
        values = [encode(encoding, os.urandom(16)) for _ in range(1000)]
        assert sum(not looks_encrypted(value) for value in values) <= 1

    def test_random_bytes_behind_words_do(self):
        """Words before and after do not hide what is random."""
        words = b"session-cache-of-the-application-server-and-more-"
        for _ in range(200):
            text = encode(Encoding.BASE64URL, os.urandom(28)).rstrip(b"=")
            assert looks_encrypted(words * 5 + text + b"-" + words)

    @pytest.mark.parametrize(
        "value",
        [
            jws(alg="HS256", enc="A256GCM"),
            jws(typ="JWT"),
            jws(alg="HS256", kid=os.urandom(28).hex()),
            jws(os.urandom(28), alg="HS256"),
        ],
        ids=["a cipher", "no algorithm", "in the header", "in what is signed"],
    )
    def test_tokens(self, value):
        """Only the signature of a signed token may be random; else it may hide a ciphertext."""
        assert looks_encrypted(value)

    def test_controls_do(self):
        """Bytes that happen to be UTF-8, with control characters, may be random."""
        assert looks_encrypted(bytes(range(1, 17)))
        assert looks_encrypted(b"\xff" + b"a" * 14 + b"\xff")

    def test_random_bytes_within_texts_do(self):
        """Ciphertext in a JSON in base64 looks encrypted."""
        inner = json.dumps({"iv": os.urandom(16).hex(), "value": os.urandom(30).hex()})
        assert looks_encrypted(base64.b64encode(inner.encode()))

    def test_deeper_than_one_looks_it_does(self):
        """Text within text within text is in doubt at some depth, so it looks encrypted."""
        value = b"hello world, a text"
        for _ in range(6):
            value = base64.b64encode(value)
        assert looks_encrypted(value)
