#!/bin/sh
# Tells a webhook what rotator has to tell:
#
#     rotator run --on-change '/etc/rotator/webhook.sh /etc/rotator/webhook-url'
#
# The file holds the URL and nothing else. It is often a secret by itself, so it is neither an
# argument, which every user of the machine can see, nor in the environment.
set -eu

url=$(cat "${1:?name the file that holds the URL}")

# What may stand in a JSON string; the summary is one line without control characters.
summary=$(printf '%s' "$ROTATOR_SUMMARY" | sed 's/[\\"]/\\&/g')
# Each change is a JSON object on a line of its own.
changes=$(printf '%s' "$ROTATOR_CHANGES" | tr '\n' ',')

printf '{"text": "%s", "event": "%s", "exit_code": %d, "changes": [%s]}\n' \
    "$summary" "$ROTATOR_EVENT" "$ROTATOR_EXIT_CODE" "$changes" |
    curl --silent --show-error --fail --max-time 30 --output /dev/null \
        --header 'Content-Type: application/json' --data-binary @- --config /dev/fd/3 3<<END
url = "$url"
END
