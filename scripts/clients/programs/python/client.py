"""
Write and read values as Python libraries do; scripts/clients/runtimes.py describes the protocol.

Each client has `write` and `read`; `label` is what its values call a key, `derive` the key that it
makes of its secret.
"""

import base64
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Key:
    """A key: what the application calls it, and its 32 bytes, which are text as well."""

    id: str
    secret: bytes

    @property
    def number(self):
        """The number in its name."""
        return int(self.id[-1])


class Client:
    """A client whose values name no key, and whose secret is the key."""

    package = "cryptography"

    def label(self, _key):
        """Name no key."""
        return

    def derive(self, key):
        """Take the secret as the key."""
        return key.secret


class Cryptography(Client):
    """`AESGCM` of cryptography: base64 of nonce, ciphertext and tag; *aad* is made of the name."""

    def __init__(self, aad):
        self._aad = aad

    def write(self, key, name, text):
        """Encrypt."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(12)
        return base64.b64encode(nonce + AESGCM(key.secret).encrypt(nonce, text, self._aad(name)))

    def read(self, key, name, value):
        """Decrypt."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        data = base64.b64decode(value)
        return AESGCM(key.secret).decrypt(data[:12], data[12:], self._aad(name))


class Tink(Client):
    """A Tink keyset of one AES256-GCM key; *prefix* is how values begin."""

    package = "tink"

    def __init__(self, prefix):
        self._prefix = prefix

    def _primitive(self, key):
        from tink import aead, proto_keyset_format, secret_key_access
        from tink.proto import aes_gcm_pb2, tink_pb2

        aead.register()
        number = 0x0A0B0C00 + key.number
        keyset = tink_pb2.Keyset(primary_key_id=number)
        entry = keyset.key.add()
        entry.key_id, entry.status = number, tink_pb2.ENABLED
        entry.output_prefix_type = tink_pb2.OutputPrefixType.Value(self._prefix)
        entry.key_data.type_url = "type.googleapis.com/google.crypto.tink.AesGcmKey"
        entry.key_data.key_material_type = tink_pb2.KeyData.SYMMETRIC
        entry.key_data.value = aes_gcm_pb2.AesGcmKey(key_value=key.secret).SerializeToString()
        handle = proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
        return handle.primitive(aead.Aead)

    def write(self, key, _name, text):
        """Encrypt."""
        return self._primitive(key).encrypt(text, b"")

    def read(self, key, _name, value):
        """Decrypt."""
        return self._primitive(key).decrypt(value, b"")

    def label(self, key):
        """Name the key by its number in the keyset."""
        return None if self._prefix == "RAW" else f"hex:{0x0A0B0C00 + key.number:08x}"


class SQLAlchemyUtils(Client):
    """`AesGcmEngine` of SQLAlchemy-Utils, whose key is the SHA-256 of the secret."""

    package = "sqlalchemy-utils"

    def _engine(self, key):
        from sqlalchemy_utils.types.encrypted.encrypted_type import AesGcmEngine

        engine = AesGcmEngine()
        engine._update_key(key.secret.decode())  # noqa: SLF001 - as its column type does
        return engine

    def write(self, key, _name, text):
        """Encrypt."""
        return self._engine(key).encrypt(text.decode()).encode()

    def read(self, key, _name, value):
        """Decrypt."""
        return self._engine(key).decrypt(value.decode()).encode()

    def derive(self, key):
        """Make the key as the engine does."""
        return hashlib.sha256(key.secret).digest()


class PyCryptodome(Client):
    """GCM of PyCryptodome with the nonce that it makes; bytes in a row."""

    package = "pycryptodome"

    def write(self, key, _name, text):
        """Encrypt."""
        from Crypto.Cipher import AES

        cipher = AES.new(key.secret, AES.MODE_GCM)
        ciphertext, tag = cipher.encrypt_and_digest(text)
        return cipher.nonce + tag + ciphertext

    def read(self, key, _name, value):
        """Decrypt."""
        from Crypto.Cipher import AES

        cipher = AES.new(key.secret, AES.MODE_GCM, nonce=value[:16])
        return cipher.decrypt_and_verify(value[32:], value[16:32])


class PyCryptodomeJson(Client):
    """The same with a header that is authenticated, as JSON."""

    package = "pycryptodome"
    fields = ("nonce", "header", "ciphertext", "tag")

    def write(self, key, _name, text):
        """Encrypt."""
        from Crypto.Cipher import AES

        cipher = AES.new(key.secret, AES.MODE_GCM)
        cipher.update(b"header")
        parts = (cipher.nonce, b"header", *cipher.encrypt_and_digest(text))
        encoded = (base64.b64encode(part).decode() for part in parts)
        return json.dumps(dict(zip(self.fields, encoded, strict=True))).encode()

    def read(self, key, _name, value):
        """Decrypt."""
        from Crypto.Cipher import AES

        given = json.loads(value)
        nonce, header, ciphertext, tag = (base64.b64decode(given[field]) for field in self.fields)
        cipher = AES.new(key.secret, AES.MODE_GCM, nonce=nonce)
        cipher.update(header)
        return cipher.decrypt_and_verify(ciphertext, tag)


class Jwe(Client):
    """A compact JWE with alg dir and enc A256GCM."""

    header = json.dumps({"alg": "dir", "enc": "A256GCM"}, separators=(",", ":")).encode()

    def label(self, _key):
        """Name no key: all values have the same header."""
        return base64.urlsafe_b64encode(self.header).rstrip(b"=").decode()


class Joserfc(Jwe):
    """A JWE of joserfc."""

    package = "joserfc"

    def write(self, key, _name, text):
        """Encrypt."""
        from joserfc import jwe
        from joserfc.jwk import OctKey

        header = {"alg": "dir", "enc": "A256GCM"}
        return jwe.encrypt_compact(header, text, OctKey.import_key(key.secret)).encode()

    def read(self, key, _name, value):
        """Decrypt."""
        from joserfc import jwe
        from joserfc.jwk import OctKey

        return jwe.decrypt_compact(value, OctKey.import_key(key.secret)).plaintext


class Jwcrypto(Jwe):
    """A JWE of jwcrypto."""

    package = "jwcrypto"

    def _key(self, key):
        from jwcrypto import jwk

        secret = base64.urlsafe_b64encode(key.secret).rstrip(b"=").decode()
        return jwk.JWK(kty="oct", k=secret)

    def write(self, key, _name, text):
        """Encrypt."""
        from jwcrypto import jwe

        token = jwe.JWE(text, protected=self.header.decode(), recipient=self._key(key))
        return token.serialize(compact=True).encode()

    def read(self, key, _name, value):
        """Decrypt."""
        from jwcrypto import jwe

        token = jwe.JWE()
        token.deserialize(value.decode(), key=self._key(key))
        return token.payload


CLIENTS = {
    "cryptography `AESGCM`, nonce and data in base64": Cryptography(lambda _name: None),
    "cryptography, the entry's name authenticated": Cryptography(str.encode),
    "Tink, AES256_GCM": Tink("TINK"),
    "Tink, AES256_GCM with prefix LEGACY or CRUNCHY": Tink("CRUNCHY"),
    "Tink, AES256_GCM_RAW": Tink("RAW"),
    "SQLAlchemy-Utils, AesGcmEngine": SQLAlchemyUtils(),
    "PyCryptodome, nonce, tag, data": PyCryptodome(),
    "PyCryptodome, JSON with nonce, header, ciphertext, tag": PyCryptodomeJson(),
    "Authlib, joserfc": Joserfc(),
    "jwcrypto": Jwcrypto(),
}


def describe(client, keys):
    """Tell the client's version, what its values call the keys, and the keys that it makes."""
    labels = {key.id: client.label(key) for key in keys if client.label(key) is not None}
    derived = {key.id: client.derive(key).hex() for key in keys}
    return {
        "version": version(client.package),
        "wraps": False,
        "labels": labels,
        "derived": derived,
    }


def read(client, keys, item):
    """Return the text of a value, or None with a word on stderr."""
    for key in keys:
        try:
            value = base64.b64decode(item["value"])
            return client.read(key, item["name"], value).decode()
        except Exception as error:  # noqa: BLE001 - each library raises another one
            print(f"{item['name']}: {type(error).__name__}: {error}", file=sys.stderr)
    return None


def main():
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    client = CLIENTS[request["client"]]
    keys = {name: Key(name, bytes.fromhex(secret)) for name, secret in request["keys"].items()}
    items = request.get("items", [])
    if request["op"] == "describe":
        answer = describe(client, keys.values())
    elif request["op"] == "write":
        answer = [
            base64.b64encode(
                client.write(keys[item["key"]], item["name"], item["text"].encode())
            ).decode()
            for item in items
        ]
    else:
        answer = [read(client, keys.values(), item) for item in items]
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
