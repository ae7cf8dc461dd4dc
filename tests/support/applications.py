"""
What applications write, and how they read it again: one entry for each row of the cookbook.

    application = APPLICATIONS["@47ng/cloak"]
    value = application.write(key, b"app:session:1", b"hello")
    assert application.read(key, b"app:session:1", value) == b"hello"

Nothing here comes from rotator; `layouts` has the families that most of them belong to.
"""

import base64
import json
import struct
from hashlib import sha1, sha256

from support.layouts import (
    BASE64,
    BASE64URL,
    BASE64URL_PADDED,
    HEX,
    RAW,
    Application,
    document,
    expect,
    fixed,
    its_name,
    joined,
    name_without,
    opened,
    row,
    sealed,
    the_name,
    tobase64url,
    unbase64,
    unbase64url,
)


def jwe(header_of):
    """A compact JWE with alg dir and enc A256GCM, and the protected header of *header_of*."""

    def label(key):
        text = json.dumps(header_of(key), separators=(",", ":"))
        return tobase64url(text.encode()).decode()

    def write(key, _name, plaintext):
        head = label(key).encode()
        parts = sealed(key, plaintext, aad=head)
        return b".".join([head, b"", *(tobase64url(parts[part]) for part in "nct")])

    def read(key, _name, value):
        head, wrapped, *texts = value.split(b".")
        expect((head.decode(), wrapped), (label(key), b""))
        parts = dict(zip("nct", map(unbase64url, texts), strict=True))
        return opened(key, parts, head)

    return Application(write, read, label)


PLAIN_HEADER = jwe(lambda _key: {"alg": "dir", "enc": "A256GCM"})
HEADER_WITH_KID = jwe(lambda key: {"alg": "dir", "enc": "A256GCM", "kid": key.name})
NIMBUS_HEADER = jwe(lambda _key: {"enc": "A256GCM", "alg": "dir"})


def number(key):
    """The number in the name of a key: 1 of k1."""
    return int(key.name[-1])


def hexed(label):
    """A label of bytes, as it is written in the configuration."""
    return lambda key: f"hex:{label(key).hex()}"


def tink_id(key):
    """A Tink keyset gives each key a number of four bytes."""
    return struct.pack(">I", 0x0A0B0C00 + number(key))


def cloak_tag(key):
    """Elixir's Cloak writes the length of the tag in front of it."""
    tag = f"AES.GCM.{key.name}".encode()
    return bytes([len(tag)]) + tag


def key_number(key):
    """A key's version as one byte."""
    return bytes([number(key)])


def fingerprint(key):
    """`@47ng/cloak` names a key by the beginning of the hash of its text."""
    text = b"k1.aesgcm256." + base64.urlsafe_b64encode(key.secret)
    return sha256(text).hexdigest()[:8]


def rails(with_reference=False, compressed=False):
    """Active Record Encryption: the payload and, below `h`, the headers."""

    def reference(key):
        short = sha1(key.secret, usedforsecurity=False).hexdigest()[:4]
        return base64.b64encode(short.encode()).decode()

    def rest(key):
        named = {"i": reference(key)} if with_reference else {}
        return {**named, **({"c": True} if compressed else {})}

    def write(key, _name, plaintext):
        parts = sealed(key, plaintext)
        text = {part: base64.b64encode(data).decode() for part, data in parts.items()}
        made = {"p": text["c"], "h": {"iv": text["n"], "at": text["t"], **rest(key)}}
        return json.dumps(made, separators=(",", ":")).encode()

    def read(key, _name, value):
        given = json.loads(value)
        iv, tag = (given["h"].pop(field).encode() for field in ("iv", "at"))
        expect(given["h"], rest(key))
        parts = {"n": iv, "c": given["p"].encode(), "t": tag}
        return opened(key, {part: unbase64(text) for part, text in parts.items()})

    return Application(write, read, *([reference] if with_reference else []))


def caddy():
    """A certificate with when it was written, how long it is, and how it was compressed."""

    def write(key, _name, plaintext):
        parts = sealed(key, plaintext)
        made = {
            "value": base64.b64encode(parts["n"] + parts["c"] + parts["t"]).decode(),
            "modified": "2026-05-04T03:02:01.123456789Z",
            "size": len(plaintext),
            "compression": 0,
            "encryption": 1,
        }
        return json.dumps(made, separators=(",", ":")).encode()

    def read(key, _name, value):
        given = json.loads(value)
        expect((given["encryption"], given["compression"]), (1, 0))
        expect(given["modified"], "2026-05-04T03:02:01.123456789Z")
        data = unbase64(given["value"].encode())
        plaintext = opened(key, {"n": data[:12], "c": data[12:-16], "t": data[-16:]})
        expect(len(plaintext), given["size"])
        return plaintext

    return Application(write, read)


def id_in_the_middle():
    """Bytes with the number of the key between tag and ciphertext."""

    def four_bytes(key):
        return struct.pack(">I", number(key))

    def write(key, _name, plaintext):
        parts = sealed(key, plaintext, aad=b"AES256GCM")
        return parts["n"] + parts["t"] + four_bytes(key) + parts["c"]

    def read(key, _name, value):
        expect(value[28:32], four_bytes(key))
        parts = {"n": value[:12], "t": value[12:28], "c": value[32:]}
        return opened(key, parts, b"AES256GCM")

    return Application(write, read, hexed(four_bytes))


HEX_IV_TAG_DATA = joined(HEX, "n t c", ":")
HEX_IV_DATA_TAG = joined(HEX, "n c t", ":")
LONG_HEX_IV_DATA_TAG = joined(HEX, "n c t", ":", nonce=16)
GO_RAW = row(RAW, "nct")
GO_BASE64 = row(BASE64, "nct")
BASE64_IV_TAG_DATA = row(BASE64, "ntc")
LONG_BASE64_IV_TAG_DATA = row(BASE64, "ntc", nonce=16)

APPLICATIONS = {
    # Go
    "Go `crypto/cipher`, `gcm.Seal(nonce, nonce, ...)`": GO_RAW,
    "Go, the same in base64": GO_BASE64,
    "Go, the same in URL-safe base64": row(BASE64URL_PADDED, "nct"),
    "Go, the same in hex": row(HEX, "nct"),
    "Authelia, sessions": GO_RAW,
    "caddy-tlsredis": GO_RAW,
    "caddy-storage-redis": caddy(),
    "Coder, dbcrypt": GO_BASE64,
    "Dapr, state encryption (AES-GCM)": joined(
        BASE64, "nct", tail=lambda key: f"||{key.name}", label=its_name
    ),
    "Kubernetes, aesgcm provider": row(
        RAW,
        "nct",
        head=lambda key: f"k8s:enc:aesgcm:v1:{key.name}:".encode(),
        aad=the_name,
        label=its_name,
    ),
    "NetBird, FieldEncrypt": GO_BASE64,
    "Ory Hydra, AES-GCM": row(BASE64URL_PADDED, "nct"),
    "PocketBase, security.Encrypt": GO_BASE64,
    "Tink, AES256_GCM": row(
        RAW, "nct", head=lambda key: b"\x01" + tink_id(key), label=hexed(tink_id)
    ),
    "Tink, AES256_GCM with prefix LEGACY or CRUNCHY": row(
        RAW, "nct", head=lambda key: b"\x00" + tink_id(key), label=hexed(tink_id)
    ),
    "Tink, AES256_GCM_RAW": GO_RAW,
    # Node
    "@47ng/cloak": joined(
        BASE64URL_PADDED,
        "n ct",
        ".",
        head=lambda key: f"v1.aesgcm256.{fingerprint(key)}.",
        label=fingerprint,
    ),
    "prisma-field-encryption": joined(
        BASE64URL_PADDED,
        "n ct",
        ".",
        head=lambda key: f"v1.aesgcm256.{fingerprint(key)}.",
        label=fingerprint,
    ),
    "@boringnode/encryption, AdonisJS": joined(BASE64URL, "c n t", ".", head="app.v1:"),
    "@devoxa/aes-encryption": LONG_BASE64_IV_TAG_DATA,
    "@noble/ciphers, `managedNonce(gcm)`": GO_RAW,
    "aes-256-gcm": document(BASE64, {"ciphertext": "c", "iv": "n", "tag": "t"}, nonce=16),
    "Formbricks": LONG_HEX_IV_DATA_TAG,
    "jose, panva": PLAIN_HEADER,
    "jose, panva, with `kid`": HEADER_WITH_KID,
    "Langfuse": HEX_IV_DATA_TAG,
    "Lobe Chat, key vaults": HEX_IV_TAG_DATA,
    "Midday": LONG_BASE64_IV_TAG_DATA,
    "next-auth 4, tokens": PLAIN_HEADER,
    "secure-store-redis": joined(HEX, "n t c", ":", nonce=16),
    "Sim": LONG_HEX_IV_DATA_TAG,
    "Strapi 5, encryption service": joined(HEX, "n c t", ":", nonce=16, head="v1:"),
    "ToolJet": GO_BASE64,
    "Trigger.dev, secret store": document(HEX, {"nonce": "n", "ciphertext": "c", "tag": "t"}),
    "typeorm-encrypted": LONG_BASE64_IV_TAG_DATA,
    "Node `createCipheriv`, iv:tag:data in hex": HEX_IV_TAG_DATA,
    "Node, iv:tag:data in hex, iv of 16 bytes": joined(HEX, "n t c", ":", nonce=16),
    "Node, iv:data:tag in hex": HEX_IV_DATA_TAG,
    "Node, iv:tag:data in base64": joined(BASE64, "n t c", ":"),
    "Node, iv.tag.data in base64url": joined(BASE64URL, "n t c", "."),
    "Node, iv.tag.data in base64": joined(BASE64, "n t c", "."),
    "Node, v1.iv.tag.data in base64url": joined(BASE64URL, "n t c", ".", head="v1."),
    "Node, v1:iv:tag:data in base64url": joined(BASE64URL, "n t c", ":", head="v1:"),
    "Node, enc:v1: and iv:tag:data in base64": joined(BASE64, "n t c", ":", head="enc:v1:"),
    "Node, enc:v1: and base64 of iv, tag, data": joined(BASE64, "ntc", head="enc:v1:"),
    "Node, base64 of iv, tag, data": BASE64_IV_TAG_DATA,
    "Node, base64url of iv, tag, data": row(BASE64URL, "ntc"),
    "Node, bytes of iv, tag, data": row(RAW, "ntc"),
    "Node, JSON with iv, tag, data in base64": document(
        BASE64, {"iv": "n", "tag": "t", "data": "c"}
    ),
    "Node, JSON with v, iv, tag, ct in base64": document(
        BASE64, {"v": [1], "iv": "n", "tag": "t", "ct": "c"}
    ),
    "Node, JSON with iv, tag, data in hex": document(HEX, {"iv": "n", "tag": "t", "data": "c"}),
    "Node, JSON with encryptedData, iv, authTag in hex": document(
        HEX, {"encryptedData": "c", "iv": "n", "authTag": "t"}, nonce=16
    ),
    "Node, base64 of JSON with iv, tag, encrypted": document(
        BASE64, {"iv": "n", "tag": "t", "encrypted": "c"}, nonce=16, within=BASE64
    ),
    "Node, keyId:iv:tag:data in hex": joined(
        HEX, "n t c", ":", head=lambda key: f"{key.name}:", label=its_name
    ),
    "Node, keyId:iv:tag:data in base64": joined(
        BASE64, "n t c", ":", head=lambda key: f"{key.name}:", label=its_name
    ),
    "Node, v1.keyId.iv.tag.data in base64url, the key id authenticated": joined(
        BASE64URL,
        "n t c",
        ".",
        head=lambda key: f"v1.{key.name}.",
        aad=lambda key, _name: key.name.encode(),
        label=its_name,
    ),
    "Node, JSON with kid, iv, data, tag in base64": document(
        BASE64, {"kid": its_name, "iv": "n", "data": "c", "tag": "t"}, label=its_name
    ),
    "Node, iv.tag.data in base64, the entry's key authenticated": joined(
        BASE64, "n t c", ".", aad=name_without(b"app:")
    ),
    "WebCrypto, iv and data in base64": GO_BASE64,
    "WebCrypto, iv:data in base64": joined(BASE64, "n ct", ":"),
    # Python
    "cryptography `AESGCM`, nonce and data in base64": GO_BASE64,
    "cryptography, the same in URL-safe base64": row(BASE64URL_PADDED, "nct"),
    "cryptography, the entry's name authenticated": row(BASE64, "nct", aad=the_name),
    "cryptography, ENC: and base64": joined(BASE64, "nct", head="ENC:"),
    "cryptography, JSON with alg, nonce, ciphertext": document(
        BASE64, {"alg": ["AESGCM"], "nonce": "n", "ciphertext": "ct"}, gaps=(", ", ": ")
    ),
    "django-field-encryption": joined(
        BASE64URL_PADDED, "nct", head=lambda key: f"{key.name}:", label=its_name
    ),
    "Authlib, joserfc": PLAIN_HEADER,
    "jwcrypto": PLAIN_HEADER,
    "PyCryptodome, nonce, tag, data": row(RAW, "ntc", nonce=16),
    "PyCryptodome, JSON with nonce, header, ciphertext, tag": document(
        BASE64,
        {"nonce": "n", "header": ["aGVhZGVy"], "ciphertext": "c", "tag": "t"},
        nonce=16,
        aad=fixed(b"header"),
        gaps=(", ", ": "),
    ),
    "SQLAlchemy-Utils, AesGcmEngine": BASE64_IV_TAG_DATA,
    # Ruby
    "Rails, MessageEncryptor": joined(BASE64, "c n t", "--"),
    "Rails, Active Record Encryption": rails(),
    "Rails, Active Record Encryption, compressed": rails(compressed=True),
    "Rails, Active Record Encryption, `store_key_references`": rails(with_reference=True),
    "rom_encrypted_attribute": rails(),
    "Lockbox": GO_RAW,
    "Lockbox, `encode: true`": GO_BASE64,
    "Ruby OpenSSL, base64 of iv, tag, data": BASE64_IV_TAG_DATA,
    # PHP
    "Laravel, Crypt with AES-256-GCM": document(
        BASE64, {"iv": "n", "value": "c", "mac": [""], "tag": "t"}, within=BASE64
    ),
    "PHP `openssl_encrypt`, base64 of iv, tag, data": BASE64_IV_TAG_DATA,
    "PHP, v1: and base64 of iv, tag, data": joined(BASE64, "ntc", head="v1:"),
    "PHP, gcm: and base64 of iv, tag, data": joined(BASE64, "ntc", head="gcm:"),
    # Java
    "Java `AES/GCM/NoPadding`, iv and data in base64": GO_BASE64,
    "Java, iv and data as bytes": GO_RAW,
    "Java, v1. and base64url of iv and data": joined(BASE64URL, "nct", head="v1."),
    "jasypt-spring-boot, GCM": GO_BASE64,
    "Nimbus JOSE + JWT": NIMBUS_HEADER,
    "Spring Security, AesBytesEncryptor with GCM": row(RAW, "nct", nonce=16),
    "Spring Security, Encryptors.delux": row(HEX, "nct", nonce=16),
    # .NET
    ".NET `AesGcm`, base64 of nonce, tag, data": BASE64_IV_TAG_DATA,
    ".NET, bytes of nonce, tag, data": row(RAW, "ntc"),
    ".NET, bytes of nonce, data, tag": GO_RAW,
    ".NET, base64 of version byte, nonce, tag, data": row(BASE64, "ntc", head=b"\x01"),
    ".NET, the version byte names the key": row(
        BASE64, "ntc", head=key_number, label=hexed(key_number)
    ),
    # Elixir, Rust, Swift
    "Elixir, Cloak": row(
        RAW,
        "ntc",
        head=lambda key: b"\x01" + cloak_tag(key),
        aad=fixed(b"AES256GCM"),
        label=hexed(cloak_tag),
    ),
    "Elixir, auth0_ex, token cache": row(BASE64, "ntc", nonce=16, aad=fixed(b"AES256GCM")),
    "Elixir `:crypto`, iv, tag, data": row(RAW, "ntc", nonce=16, aad=fixed(b"AES256GCM")),
    "Elixir, iv, tag, key id of four bytes, data": id_in_the_middle(),
    "Rust aes-gcm, nonce and data": GO_RAW,
    "Rust, enc:v1: and base64 of nonce and data": joined(BASE64, "nct", head="enc:v1:"),
    "Swift CryptoKit, `combined`": GO_RAW,
    "Swift CryptoKit, `combined` in base64": GO_BASE64,
}
