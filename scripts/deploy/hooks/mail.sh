#!/bin/sh
# Sends by mail what rotator has to tell:
#
#     rotator run --on-change '/etc/rotator/mail.sh ops@example.com'
#
# It needs a sendmail, which Postfix, Exim, msmtp and others bring. Those that hand mail over with
# the rights of a group (setgid) do not work from a systemd unit with NoNewPrivileges=yes.
set -eu

to=${1:?name who is to get the mail}
PATH=$PATH:/usr/sbin:/usr/lib

{
    printf 'To: %s\n' "$to"
    printf 'Subject: %s\n' "$ROTATOR_SUMMARY" | cut -c 1-200
    printf 'MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n'
    printf 'Auto-Submitted: auto-generated\n\n'
    printf '%s\n\n' "$ROTATOR_SUMMARY"
    printf 'event: %s\nexit code: %s\nhost: %s\n' \
        "$ROTATOR_EVENT" "$ROTATOR_EXIT_CODE" "$(uname -n)"
    printf '%s\n' "$ROTATOR_CACHES" | sed 's/^/cache: /'
    if [ -n "$ROTATOR_REPORT" ]; then
        printf 'report: %s\n' "$ROTATOR_REPORT"
    fi
    if [ -n "$ROTATOR_CHANGES" ]; then
        printf '\nverdicts that are others now:\n%s\n' "$ROTATOR_CHANGES"
    fi
} | sendmail -t
