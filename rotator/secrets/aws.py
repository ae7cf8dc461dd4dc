"""
AWS Secrets Manager: reads a secret.

The URL is `awssecretsmanager://amazonaws.com?region=us-west-2`. `accessKeyID` and `secretAccessKey`
may be in it, else boto3's usual chain finds them (variables, profile, role of the container or the
instance). The region is that of the ARN in the reference, else `region`, AWS_REGION,
AWS_DEFAULT_REGION or the profile's.

`<name>` is a secret, `<name:jsonKey>` one key of a secret that is a JSON object; an ARN may stand
for the name. A binary secret must be UTF-8 text.

The older form `awssecretsmanager://us-west-2/maverics-secrets` names region and one secret, whose
JSON keys are the references: `<key>`, or `<maverics-secrets.key>`.

Each secret is read once. What boto3 itself reads is followed too: AWS_PROFILE, AWS_CA_BUNDLE,
AWS_ENDPOINT_URL_SECRETS_MANAGER and so on.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import boto3
import requests
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError
from botocore.session import get_session

from rotator.errors import RotatorError, SecretError, SourceError
from rotator.secrets.http import HttpProvider, code_of, is_busy, library_session, patience
from rotator.secrets.provider import ProviderUrl, silence_loggers, text_of
from rotator.tls import client_context

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

silence_loggers("boto3", "botocore", "urllib3")

_PARAMETERS = ("region", "accessKeyID", "secretAccessKey")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d{1,2}")
_ERROR_CODE = re.compile(r"[A-Z][A-Za-z]{3,60}")
_BAD_CREDENTIALS = re.compile(
    "UnrecognizedClientException|InvalidSignatureException|ExpiredTokenException|ExpiredToken"
    "|InvalidClientTokenId|SignatureDoesNotMatch|IncompleteSignature|MissingAuthenticationToken"
)
_THROTTLED = re.compile(r"(?:.*#)?(?:Throttl\w*|TooManyRequests\w*|RequestLimitExceeded|SlowDown)")
_HINTS = {
    "AccessDeniedException": "allow secretsmanager:GetSecretValue on it, kms:Decrypt on its key",
    "DecryptionFailure": "allow kms:Decrypt on the key that the secret is encrypted with",
    "ThrottlingException": "too many requests in this account and region: try again later",
}


class SecretsManager(HttpProvider):
    """
    Secrets Manager: reads the secrets of an account.

    Raises:
        SecretError: The URL is neither of the two forms, or gives half of the credentials.
    """

    title: ClassVar[str] = "secrets manager"
    trust: ClassVar[str] = "set AWS_CA_BUNDLE to a file with its CA"

    def __init__(self, text: str) -> None:
        url = ProviderUrl(text, _PARAMETERS)
        self._keys = url.pair("accessKeyID", "secretAccessKey")
        self._region = url.get("region")
        self._only = "/".join(url.segments)
        if _REGION.fullmatch(url.host):
            self._region = url.host
            if not self._only:
                raise url.refusal(
                    "names a region and no secret",
                    f"write awssecretsmanager://amazonaws.com?region={url.host}",
                )
        elif self._only:
            raise url.refusal(
                "takes no path after amazonaws.com", "the name of the secret goes between < and >"
            )
        super().__init__(
            self._region or "amazonaws.com", library_session(client_context(), _is_busy)
        )
        self._clients: dict[str | None, SecretsManagerClient] = {}
        self._secrets: dict[str, str] = {}

    def get(self, name: str) -> str:
        """
        Return the secret called *name*.

        Raises:
            SecretError: There is no such secret or key in it, or it is not text.
            SourceError: AWS could not be reached, or refused to answer.
        """
        if only := self._only:
            secret, keys = only, [name, *(name.removeprefix(only + mark) for mark in ".:")]
            hint = f"the secret {only}, which the provider's URL names, lacks it"
        else:
            secret, *keys = _parts(name)
            hint = f"the secret {secret} has no JSON key {''.join(keys)}"
        text = self._secret(name, secret)
        if not keys:
            return text
        found = self._json(name, text)
        for key in keys:
            if key in found:
                return text_of(name, found[key], self.source, "quote the value there")
        raise self.unknown(name, hint)

    def _secret(self, name: str, secret: str) -> str:
        """Return the text of one secret, read once."""
        if secret not in self._secrets:
            answer = self._read(name, secret)
            found = answer.get("SecretString", answer.get("SecretBinary"))
            if not isinstance(found, str | bytes):
                raise self.garbled()
            hint = "store it as a text secret; a key as 64 hex characters"
            problem = "is binary, not text,"
            self._secrets[secret] = text_of(name, found, self.source, hint, problem=problem)
        return self._secrets[secret]

    def _read(self, name: str, secret: str) -> Mapping[str, Any]:
        """Return what AWS answers when it is asked for a secret."""
        try:
            with patience():
                return self._client(secret).get_secret_value(SecretId=secret)
        except ClientError as error:
            raise self._refusal(name, error) from None
        except ResponseParserError:
            raise self.garbled() from None
        except (BotoCoreError, requests.RequestException) as error:
            raise self._trouble(error) from None
        except (AttributeError, TypeError, ValueError, RecursionError):
            # botocore stumbles over an answer of another shape
            raise self.garbled() from None

    def _client(self, secret: str) -> SecretsManagerClient:
        """Return a client for the region of an ARN, else for the one that is configured."""
        region = self._region
        if secret.startswith("arn:"):
            region = "".join(secret.split(":")[3:4]) or region
        if region not in self._clients:
            access, key = self._keys or (None, None)
            core = get_session()
            session = boto3.Session(access, key, botocore_session=core)
            # The clients that get credentials are made of the same session.
            trusted = core.get_config_variable("ca_bundle")  # AWS_CA_BUNDLE, or the profile's
            forward: Any = partial(self._forward, trusted)  # its result, not None, is the response
            session.events.register("before-send", forward)
            client = session.client(
                "secretsmanager",
                region_name=region or os.environ.get("AWS_REGION"),
                config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
            )
            self._clients[region] = client
        return self._clients[region]

    def _forward(self, trusted: str | None, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """Send a request of boto3's by the session that asks again, and limits answers."""
        response = self._session.request(
            request.method,
            request.url,
            data=request.body,
            headers=dict(request.headers),
            verify=trusted or True,
            allow_redirects=False,
        )
        body = urllib3.HTTPResponse(io.BytesIO(response.content), preload_content=False)
        headers: Any = response.headers
        return AWSResponse(request.url, response.status_code, headers, body)

    def _refusal(self, name: str, error: ClientError) -> RotatorError:
        """Return the error for an answer that is one; of its text only the code is shown."""
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if not _ERROR_CODE.fullmatch(code):
            if status != 400:
                return self.unexpected(status)
            code = "unknown code"
        if code == "ResourceNotFoundException":
            return self.unknown(name, "is the name right, and is it in this region and account?")
        if code in {"InvalidRequestException", "InvalidParameterException", "ValidationException"}:
            return SecretError(
                f"<{name}>: {self.source} cannot return it ({code})",
                hint="is it marked for deletion, or is this not the name of a secret?",
            )
        if _BAD_CREDENTIALS.fullmatch(code):
            return self.failure(
                f"refused the credentials ({code})",
                "are they of this account, not expired, and is this machine's clock right?",
            )
        return self.failure(
            f"refused to give <{name}> ({code})",
            _HINTS.get(code, "AWS explains the code in its API reference, under GetSecretValue"),
        )

    def _trouble(self, error: Exception) -> RotatorError:
        """Return the error for a request that got no answer."""
        if isinstance(error, NoRegionError):
            return SecretError(
                "the secret provider awssecretsmanager:// has no region",
                hint="add region=us-west-2 (yours) after the ?, or set AWS_REGION",
            )
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return SourceError(
                "no credentials for AWS were found",
                hint="add accessKeyID= and secretAccessKey= to the provider's URL, set"
                " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with a role",
            )
        if isinstance(error, CredentialRetrievalError | ProfileNotFound):
            return SourceError(
                "the credentials for AWS could not be loaded",
                hint="does AWS_PROFILE name a profile, and can its credentials be renewed?"
                " check with: aws sts get-caller-identity",
            )
        return self.unreachable(error)

    def _json(self, name: str, text: str) -> Mapping[str, Any]:
        """Return the JSON object in the text of a secret."""
        with suppress(ValueError):
            if isinstance(found := json.loads(text), dict):
                return found
        raise SecretError(
            f"<{name}>: the secret is not a JSON object in {self.source}",
            hint="refer to the whole secret as <name>, or store key and value pairs",
        )


def _is_busy(response: requests.Response) -> bool:
    """Return whether AWS wants to be asked later; it says so with status 400, too."""
    return is_busy(response) or (
        response.status_code == 400 and code_of(response, _THROTTLED, "__type") != ""
    )


def _parts(name: str) -> list[str]:
    """Return the secret, and the JSON key if there is one; an ARN has six colons, a name none."""
    own = 7 if name.startswith("arn:") else 1
    parts = name.split(":", own)
    return [":".join(parts[:own]), *parts[own:]]
